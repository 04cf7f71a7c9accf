"""Networks, as the file names those that are trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from config.listeners.listening import Listen
from config.values.networks import TrustedAt

TRUSTED = TypeAdapter(TrustedAt)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("unix", "unix"),
    ],
)
def test_networks(text: str, network: str) -> None:
    """A proxy in front could not be named."""
    assert str(TRUSTED.validate_python(text)) == network
    assert TRUSTED.dump_python(TRUSTED.validate_python(text)) == network


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10.1.2.3/8", "write 10.0.0.0/8, or 10.1.2.3 for it alone"),
        ("10.0.0.0/33", "write a network such as 10.0.0.0/8"),
        ("lb.internal", "write a network such as 10.0.0.0/8"),
        ("*", "write a network such as 10.0.0.0/8"),
        (8, "write a network such as 10.0.0.0/8"),
    ],
)
def test_what_is_no_network(text: object, remedy: str) -> None:
    """A slip would make the whole world trusted, or nobody."""
    with pytest.raises(ValidationError) as caught:
        TRUSTED.validate_python(text)
    assert remedy in caught.value.errors()[0]["ctx"]["remedy"]


@given(st.text() | st.integers() | st.none() | st.floats())
def test_anything_else_is_refused_in_words(value: object) -> None:
    """A text that is no network would raise something that nobody catches."""
    try:
        TRUSTED.validate_python(value)
    except ValidationError:
        return
    assert isinstance(value, str)


def test_nobody_is_trusted_by_default() -> None:
    """What a client says would be believed without anybody having asked for it."""
    assert Listen.model_validate({"address": "127.0.0.1:0"}).trusted_proxies == ()
