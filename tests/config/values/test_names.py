"""Names of things, and names as HTTP has them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from config.values.names import Name, token

NAME = TypeAdapter(Name)


@pytest.mark.parametrize("name", ["a", "fraud-v1", "Fraud_2.1", "9", "a" * 63])
def test_names(name: str) -> None:
    """A usual name would be refused."""
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a.", "a b", "a/b", "a" * 64, "naïve", "a\n"])
def test_names_that_would_break_urls_metrics_or_headers(name: str) -> None:
    """A name would be cut or need escaping in the admin API, in metrics or in x-understudy-backend."""
    with pytest.raises(ValidationError):
        NAME.validate_python(name)


def test_tokens() -> None:
    """A header that no request can carry would be matched against, in vain."""
    kind = token("the name of a header field")
    assert kind.parse("x-user-id") == "x-user-id"
    with pytest.raises(ValueError, match="is not the name of a header field"):
        kind.parse("x user")
