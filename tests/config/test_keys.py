"""What was probably meant by an unknown key."""

import doctest

import pytest

from config import keys
from config.keys import homes, known_keys, meant


@pytest.mark.parametrize(
    ("key", "loc", "answer"),
    [
        ("backend_refs", ("routes", 0), "backendRefs"),
        ("backend-refs", ("routes", 0), "backendRefs"),
        ("addres", ("listen", 0), "address"),
        ("setweight", ("routes", 3, "strategy", "canary", "steps", 7), "setWeight"),
        ("reg", ("routes", 0, "match", 0, "headers", "x-tier"), "regex"),
        ("colour", ("routes", 0), None),
    ],
)
def test_the_nearest_known_key(key: str, loc: tuple[str | int, ...], answer: str | None) -> None:
    """A misspelt key would be refused without saying which one was meant."""
    assert meant(key, loc) == answer


def test_keys_under_either_form_of_a_value() -> None:
    """Where a value may be a text or a mapping, the keys of the mapping would be unknown."""
    assert list(known_keys(("routes", 0, "sessionAffinity", "fallback", 0))) == [
        "header",
        "cookie",
        "queryParam",
        "sourceIp",
    ]
    assert list(known_keys(("routes", 0, "analysis", "breaker"))) == ["errorsAbove"]


def test_where_a_key_is_at_home() -> None:
    """A key that is indented wrongly would be called unknown, with no word of where it belongs."""
    assert homes("steps") == ["routes[].strategy.canary"]
    assert homes("nowhere") == []
    assert doctest.testmod(keys).failed == 0
