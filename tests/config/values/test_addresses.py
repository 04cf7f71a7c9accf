"""Where to listen and where backends answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from config.values.addresses import Address, AddressAt, Endpoint, ListenAt, SocketPath, StoreUrl, Url

ADDRESS = TypeAdapter(AddressAt)
ENDPOINT = TypeAdapter(Endpoint)
STORE = TypeAdapter(StoreUrl)
LISTEN = TypeAdapter(ListenAt)


@given(st.ip_addresses() | st.sampled_from(["localhost", "fraud-v1.models.svc"]), st.integers(0, 65535))
def test_every_address_can_be_written_and_read(host: object, port: int) -> None:
    """An IPv6 address would be cut at the wrong colon."""
    address = Address(str(host), port)
    assert ADDRESS.validate_python(str(address)) == address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://10.0.0.11:8080", Url("10.0.0.11", 8080)),
        ("http://10.0.0.11:8080/", Url("10.0.0.11", 8080)),
        ("http://models.svc", Url("models.svc", 80)),
        ("http://[::1]:9000", Url("::1", 9000)),
        ("http://[::1]", Url("::1", 80)),
        ("https://models.svc", Url("models.svc", 443, "https")),
        ("https://[::1]:8443/", Url("::1", 8443, "https")),
        ("unix:/run/model.sock", Url("", 0, "unix", "/run/model.sock")),
        ("unix:///run/model.sock", Url("", 0, "unix", "/run/model.sock")),
    ],
)
def test_endpoints(text: str, url: Url) -> None:
    """A backend would be looked for somewhere else than the file says."""
    assert ENDPOINT.validate_python(text) == url
    assert ENDPOINT.validate_python(str(url)) == url


@given(st.text() | st.integers() | st.none())
def test_nothing_else_is_an_endpoint(value: object) -> None:
    """A text that is no URL would raise something that nobody catches."""
    try:
        ENDPOINT.validate_python(value)
    except ValidationError:
        return
    assert str(value).startswith(("http://", "https://", "unix:/"))


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql"])
def test_no_password_gets_into_a_message(scheme: str) -> None:
    """A refused file would put a password into the log."""
    for kind in (ENDPOINT, STORE):
        with pytest.raises(ValidationError) as caught:
            kind.validate_python(f"{scheme}://user:hunter2@db:1/x")
        assert "hunter2" not in str(caught.value.errors(include_input=False))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///u.db",
        "sqlite:////var/lib/u.db",
        "sqlite:///state/u.db",
        "postgresql://u@db:5433/a?ssl=verify-full",
        "postgres://db/a",
        "postgresql://u@/a?host=/run/postgresql",
    ],
)
def test_stores(url: str) -> None:
    """A store that is documented would be refused."""
    assert STORE.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://u.db",
        "sqlite:///",
        "sqlite:///a/",
        "sqlite:///:memory:",
        "mysql://a/b",
        "postgresql://a",
        "postgresql://a/",
        "postgresql:///a",
        "postgresql://a/b?sslmode=require",
    ],
)
def test_stores_that_would_lose_everything_or_do_not_exist(url: str) -> None:
    """A rollout would be forgotten at the first restart."""
    with pytest.raises(ValidationError):
        STORE.validate_python(url)


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@db/a", "postgresql://u@db/a?password=hunter2"])
def test_a_password_is_no_part_of_the_file(url: str) -> None:
    """A password would be on the command line of the controller, in status, and in every copy of the file."""
    with pytest.raises(ValidationError, match="a password stands in it") as caught:
        STORE.validate_python(url)
    assert "hunter2" not in str(caught.value.errors(include_input=False))


def test_where_to_listen() -> None:
    """A path would be taken for a host, or a host for a path."""
    assert LISTEN.validate_python("unix:/run/u.sock") == SocketPath("/run/u.sock")
    assert LISTEN.validate_python("127.0.0.1:80") == Address("127.0.0.1", 80)
    assert LISTEN.dump_python(SocketPath("/run/u.sock")) == "unix:/run/u.sock"
    for bad in ("unix:u.sock", "unix:", "unix:/", f"unix:/{'a' * 107}", "unix:/a\0b", 8080, None, "/run/u.sock"):
        with pytest.raises(ValidationError):
            LISTEN.validate_python(bad)
