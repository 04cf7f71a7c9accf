"""TLS with clients: which certificate is shown, and what is asked of clients."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest

from config import files
from proxy.data.routing import serving
from proxy.data.routing.serving import Serving, server_context
from proxy.snapshot import Certificate, ServerTls
from tests.support.certificates import Authority, Pair


def certificate(pair: Pair) -> Certificate:
    path = str(pair.certificate)
    return Certificate(path, str(pair.key), files._names(path))


def meet(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """A handshake in memory; the client's side of it. Raises ssl.SSLError if it fails."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    with contextlib.suppress(ssl.SSLWantReadError):
        theirs.read(1)  # in TLS 1.3 a server refuses a client's certificate after the client is done
    return theirs


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("a.test", "a.test"),
        ("A.TEST", "a.test"),
        ("b.test", "b.test"),
        ("x.b.test", "b.test"),
        ("c.test", "c.test"),
    ],
)
def test_the_certificate_for_the_name(authority: Authority, asked: str, shown: str) -> None:
    """Every host but the first would be shown a certificate for another one."""
    pairs = [authority.issue("a.test"), authority.issue("b.test", "*.b.test"), authority.issue("c.test", "b.test")]
    context = server_context(ServerTls(tuple(map(certificate, pairs))))
    met = meet(context, trusting(authority), asked)
    assert met.getpeercert()["subject"] == ((("commonName", shown),),)


@pytest.mark.parametrize("asked", ["d.test", "x.y.b.test"])
def test_other_names_get_the_first(authority: Authority, asked: str) -> None:
    """A client that asks for a name that nobody has would get no answer at all, or one at random."""
    pairs = [authority.issue("a.test"), authority.issue("b.test", "*.b.test")]
    client = trusting(authority)
    client.check_hostname = False
    met = meet(server_context(ServerTls(tuple(map(certificate, pairs)))), client, asked)
    assert met.getpeercert()["subject"] == ((("commonName", "a.test"),),)


@pytest.mark.parametrize(
    ("least", "highest", "met"), [("1.2", "1.2", True), ("1.3", "1.2", False), ("1.3", "1.3", True)]
)
def test_the_lowest_version(authority: Authority, least: str, highest: str, met: bool) -> None:
    """A version that the file forbids would be spoken."""
    context = server_context(ServerTls((certificate(authority.issue("a.test")),), min_version=least))  # type: ignore[arg-type]
    client = trusting(authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2 if highest == "1.2" else ssl.TLSVersion.TLSv1_3
    if met:
        assert meet(context, client, "a.test").version() == f"TLSv{highest}"
    else:
        with pytest.raises(ssl.SSLError):
            meet(context, client, "a.test")


def test_http_1_is_what_is_offered(authority: Authority) -> None:
    """A browser would take it for HTTP/2."""
    client = trusting(authority)
    client.set_alpn_protocols(["h2", "http/1.1"])
    met = meet(server_context(ServerTls((certificate(authority.issue("a.test")),))), client, "a.test")
    assert met.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("second", [False, True], ids=["first name", "second name"])
def test_clients_show_who_they_are(authority: Authority, tmp_path: Path, highest: ssl.TLSVersion, second: bool) -> None:
    """Anybody could call a model that only known clients may call; or call it by the name of another certificate."""
    pairs = (certificate(authority.issue("a.test")), certificate(authority.issue("b.test")))
    context = server_context(ServerTls(pairs, client_ca_file=str(authority.certificate)))
    stranger = Authority(tmp_path, "another").issue("worker", client=True)
    name = "b.test" if second else "a.test"
    for shown in (None, stranger, authority.issue("worker", client=True, expired=True)):
        client = trusting(authority)
        client.maximum_version = highest
        if shown is not None:
            client.load_cert_chain(shown.certificate, shown.key)
        with pytest.raises(ssl.SSLError):
            meet(context, client, name)
    client = trusting(authority)
    client.maximum_version = highest
    client.load_cert_chain(*authority.issue("worker", client=True))
    assert meet(context, client, name).version()


def test_ciphers(authority: Authority) -> None:
    """A cipher that somebody's rules forbid would be spoken."""
    context = server_context(ServerTls((certificate(authority.issue("a.test")),), ciphers="ECDHE+CHACHA20"))
    client = trusting(authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    name, _, _ = meet(context, client, "a.test").cipher()  # type: ignore[misc]
    assert "CHACHA20" in name


def test_what_cannot_be_used_leaves_what_was(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate that is renewed by halves would end all new connections."""
    clock = 100.0
    monkeypatch.setattr(serving, "monotonic", lambda: clock)
    old, new = authority.issue("a.test"), authority.issue("a.test", stem="new")
    before = Serving(ServerTls((certificate(old),), contents="1"), None)
    key = new.key.read_bytes()
    new.key.write_bytes(old.key.read_bytes())
    after = Serving(ServerTls((certificate(new),), contents="2"), before)
    assert after.context() is before.context()
    assert "certificates not usable" in capsys.readouterr().err
    new.key.write_bytes(key)
    assert after.context() is before.context(), "not for every client"
    clock += serving.AGAIN_S
    assert after.context() is not before.context()
    assert meet(after.context(), trusting(authority), "a.test").version()  # type: ignore[arg-type]


def test_without_any_certificate_there_is_no_context(tmp_path: Path) -> None:
    """A listener would speak without TLS."""
    gone = Certificate(str(tmp_path / "a.pem"), str(tmp_path / "a.key"))
    assert Serving(ServerTls((gone,)), None).context() is None
