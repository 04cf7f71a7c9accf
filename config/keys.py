"""Which keys are known where, so that an unknown one can be answered with the one that was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from config.jsonschema import schema_json
from config.values.problems import Loc, dotted

_REF: Final = "#/$defs/"


def known_keys(loc: Loc) -> dict[str, dict[str, Any]]:
    """The keys that a mapping at this place may have, with what the JSON Schema says of each.

    >>> sorted(known_keys(("store",)))
    ['instance', 'maxBytes', 'retention', 'url']
    """
    return _properties(_at(loc))


def meant(key: str, loc: Loc) -> str | None:
    """The known key that an unknown one at this place most likely stands for."""
    plain = {_plain(known): known for known in known_keys(loc)}
    close = get_close_matches(_plain(key), plain, 1, 0.65)
    return plain[close[0]] if close else None


def homes(key: str) -> list[str]:
    """The places of the file where a key is known, with `[]` for any item of a list.

    >>> homes("streamIdle")
    ['routes[].timeouts']
    """
    return [place for place, keys in _map().items() if key in keys]


def _plain(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "", key.lower())


def _at(loc: Loc) -> dict[str, Any]:
    schema = _resolved(schema_json())
    for part in loc:
        if isinstance(part, int):
            schema = _resolved(_list_of(schema).get("items", {}))
        else:
            other = schema.get("additionalProperties") or {}
            schema = _resolved(_properties(schema).get(part, other if isinstance(other, dict) else {}))
    return schema


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference; of several forms the one with keys, or else the list."""
    while "$ref" in schema:
        schema = schema_json()["$defs"][schema["$ref"].removeprefix(_REF)]
    for kind in ("properties", "items"):
        for form in map(_resolved, schema.get("anyOf", [])):
            if kind in form:
                return form
    return schema


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return schema if "items" in schema else {}


def _properties(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = schema.get("properties", {})
    return found


@cache
def _map() -> dict[str, frozenset[str]]:
    return {place: frozenset(_properties(schema)) for place, schema in places()}


def places() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping of the file with keys of its own: its place and its part of the JSON Schema, in reading order."""
    waiting: list[tuple[Loc, dict[str, Any]]] = [((), _resolved(schema_json()))]
    while waiting:
        loc, schema = waiting.pop(0)
        yield dotted(loc).replace("[0]", "[]"), schema
        inner: list[tuple[Loc, dict[str, Any]]] = []
        for key, value in _properties(schema).items():
            part, below = (*loc, key), _resolved(value)
            if "items" in below:
                part, below = (*part, 0), _resolved(below["items"])
            elif isinstance(below.get("additionalProperties"), dict):
                part, below = (*part, "NAME"), _resolved(below["additionalProperties"])
            if "properties" in below:
                inner.append((part, below))
        waiting[:0] = inner
