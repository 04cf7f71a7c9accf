"""Which route takes the requests of another one, by what both match. Pure.

Routes are asked in the order of the file, and the first that matches is taken. Whether a match holds wherever another
does can be said of what the file writes: of paths by whole segments, of texts that are equal or begin alike. Where it
cannot be said, as of two regular expressions, it is not claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from config.schema import Route
from config.values.matching import Match, StringMatch

_ALL: Final = Match()
_ANY_PATH: Final = (None, StringMatch("prefix", "/"))


@dataclass(frozen=True, slots=True)
class Heir:
    """The route that takes all requests of another; None if there is none that surely does. `before` are routes that
    are asked first, and may take some of them."""

    route: Route | None
    before: tuple[str, ...]


def heir(route: Route, among: Sequence[Route]) -> Heir:
    """Who takes the requests of a route among others."""
    before: list[str] = []
    for other in among:
        if takes_all(other, route):
            return Heir(other, tuple(before))
        if any(_meet(one, two) for one in _matches(other) for two in _matches(route)):
            before.append(other.name)
    return Heir(None, tuple(before))


def takes_all(wide: Route, narrow: Route) -> bool:
    """Whether a route matches whatever another one does."""
    return all(any(_covers(one, two) for one in _matches(wide)) for two in _matches(narrow))


def _matches(route: Route) -> tuple[Match, ...]:
    return route.match or (_ALL,)


def _covers(wide: Match, narrow: Match) -> bool:
    """Whether a request that matches the one matches the other as well."""
    return (
        wide.method in (None, narrow.method)
        and (wide.path in _ANY_PATH or (narrow.path is not None and _path_covers(wide.path, narrow.path)))
        and _named(_lower(wide.headers), _lower(narrow.headers))
        and _named(wide.query, narrow.query)
        and _named(wide.cookies, narrow.cookies)
    )


def _meet(one: Match, two: Match) -> bool:
    """Whether there may be a request that matches both."""
    if one.method and two.method and one.method != two.method:
        return False
    if one.path and two.path and not _may_be_both(one.path, two.path, _path_covers):
        return False
    pairs = ((_lower(one.headers), _lower(two.headers)), (one.query, two.query), (one.cookies, two.cookies))
    return all(
        _may_be_both(first[name], second[name], _text_covers)
        for first, second in pairs
        for name in first.keys() & second.keys()
    )


def _may_be_both(one: StringMatch, two: StringMatch, covers: Callable[[StringMatch, StringMatch], bool]) -> bool:
    return "regex" in (one.kind, two.kind) or covers(one, two) or covers(two, one)


def _named(wide: Mapping[str, StringMatch], narrow: Mapping[str, StringMatch]) -> bool:
    return all(name in narrow and _text_covers(text, narrow[name]) for name, text in wide.items())


def _lower(headers: Mapping[str, StringMatch]) -> dict[str, StringMatch]:
    return {name.lower(): text for name, text in headers.items()}


def _text_covers(wide: StringMatch, narrow: StringMatch) -> bool:
    begins_alike = wide.kind == "prefix" and narrow.kind != "regex" and narrow.value.startswith(wide.value)
    return wide == narrow or begins_alike


def _path_covers(wide: StringMatch, narrow: StringMatch) -> bool:
    folder = wide.value.rstrip("/") + "/"
    within = narrow.kind != "regex" and f"{narrow.value.rstrip('/')}/".startswith(folder)
    return wide == narrow or (wide.kind == "prefix" and within)
