"""Requests that wait while their route is held, as people read of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.admin.words import count

_WORDS: Final = {
    "waiting": "Wait now",
    "total": "Had to wait",
    "released": "Went on",
    "expired": "Waited too long: 503",
    "displaced": "Gave way to a higher priority: 503",
    "left": "Left by their clients",
    "refused": "Turned away at once, for want of room or time: 503",
}


def facts(held: Mapping[str, int]) -> list[tuple[str, str]]:
    """What there is to say: a line, and its number. How many wait, had to and went on is always said."""
    always = ("waiting", "total", "released")
    return [(text, count(held[name])) for name, text in _WORDS.items() if held[name] or name in always]
