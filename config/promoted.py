"""The configuration file after a promotion, with every character that the promotion is not about as people wrote it.

The candidate becomes the route's stable version; the old one, and the strategy that has done its work, leave the route.
Backends stay: whoever removes a deployment removes its backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config import loader
from config.document import Document, read
from config.editing.cutting import CannotCutError
from config.editing.edits import Edits, SharedError, edited
from config.values.problems import ConfigError, Loc


class CannotEditError(Exception):
    """The file cannot be edited so; the message says why, and what to do by hand where that helps."""


def promoted(text: str, route: str, candidate: str) -> str:
    """The text of a file in which a route's candidate is its stable version; the same text if it is so already.

    Raises:
        CannotEditError: there is no such route or version, the result would not be valid, or it would mean more than
            the promotion.
    """
    document = _checked(text)
    number, found = _route(document.data, route)
    refs = found["backendRefs"]
    place = next((place for place, ref in enumerate(refs) if ref["name"] == candidate), None)
    if place is None:
        raise CannotEditError(f"route {route!r} of the file has no version {candidate!r}")
    if "strategy" not in found and refs[place].get("role", "stable") == "stable":
        return text
    edits = _edits(("routes", number), found, place)
    by_hand = _by_hand(document, edits, number, candidate)
    try:
        after = edited(text, document.data, edits)
    except SharedError as error:
        raise CannotEditError(str(error)) from error
    except CannotCutError as error:
        raise CannotEditError(f"{error}\n{by_hand}") from error
    try:
        loader.loads(after, "the edited file")
    except ConfigError as error:
        raise CannotEditError(f"the edited file would be refused:\n{error}\n{by_hand}") from error
    if _checked(after).data != edits.applied(document.data):
        raise CannotEditError(f"the edited file would not mean this promotion alone\n{by_hand}")
    return after


def _checked(text: str) -> Document:
    """What a text means, which the loader takes: its parts are of the kinds that the schema gives them."""
    try:
        loader.loads(text, "the file")
    except ConfigError as error:
        raise CannotEditError(f"the file has problems, mend them first:\n{error}") from error
    return read(text.removeprefix("\ufeff"), "the file")


def _route(data: Any, name: str) -> tuple[int, Mapping[str, Any]]:
    for number, route in enumerate(data["routes"]):
        if route["name"] == name:
            return number, route
    raise CannotEditError(f"the file has no route {name!r}")


def _edits(top: Loc, route: Mapping[str, Any], place: int) -> Edits:
    """What the promotion of a version changes in its route."""
    refs = route["backendRefs"]
    left = {other for other, ref in enumerate(refs) if other != place and ref.get("role", "stable") != "shadow"}
    gone = {(*top, "backendRefs", other) for other in left}
    if "strategy" in route:
        gone.add((*top, "strategy"))
    # Mirrors that say how copies for these are made: of the candidate, and of stable in a bake.
    judged = {refs[other]["name"] for other in (place, *left)}
    mirrors = route.get("mirrors") or ()
    leaving = {(*top, "mirrors", other) for other, mirror in enumerate(mirrors) if mirror["backend"] in judged}
    gone |= {(*top, "mirrors")} if leaving and len(leaving) == len(mirrors) else leaving
    said = refs[place].get("role", "stable")
    return Edits(frozenset(gone), () if said == "stable" else (((*top, "backendRefs", place, "role"), "stable"),))


def _by_hand(document: Document, edits: Edits, number: int, candidate: str) -> str:
    """What to do where the text cannot be edited."""
    line = document.place(("routes", number)).value[0]
    words = [f"give {candidate} `role: stable`", "take the other versions out of `backendRefs` (shadows may stay)"]
    keys = {str(loc[2]) for loc in edits.gone}
    words += ["take `strategy` away"] if "strategy" in keys else []
    words += ["take the mirrors of these versions away"] if "mirrors" in keys else []
    return f"by hand, in the route in line {line}: {'; '.join(words)}"
