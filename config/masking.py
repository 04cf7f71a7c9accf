"""Secrets of a file that is shown: each is replaced by a mask, and a mask that comes back by its secret.

So a configuration can be read, edited and written back by somebody who never sees what it keeps secret. A mask tells
secrets apart without a hint of what they are (a keyed digest, whose key dies with the process). What is a secret the
schema says (`config.values.section.SECRET`), so that it cannot be forgotten here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from config.document import Document, read
from config.jsonschema import schema_json
from config.values.problems import ConfigError, Loc, Problem

Place = tuple[str | None, ...]
"""Where something may stand in the file; None is any index or key."""
_MASK: Final = re.compile("masked-[0-9a-f]{16}")
_NEAR: Final = 2
"""How far above its place a secret may be written by mistake: a list of entries that have one is two above."""
_ANCHOR: Final = re.compile(r"&\S+\s+")


class Masks:
    """The masks of one process."""

    def __init__(self, key: bytes = b"") -> None:
        self._key = key or secrets.token_bytes(32)

    def hide(self, text: str) -> str:
        """A valid file with masks in place of its secrets."""
        for start, end, mask in sorted(self._spans(text), reverse=True):
            text = text[:start] + mask + text[end:]
        return text

    def reveal(self, text: str, shown: str, source: str) -> str:
        """A text with the secrets that a file was shown without.

        Raises:
            ConfigError: a mask is not one of that file.
        """
        known = {mask: shown[start:end] for start, end, mask in self._spans(shown)}
        strange = next((found for found in _MASK.finditer(text) if found[0] not in known), None)
        if strange is not None:
            line = text.count("\n", 0, strange.start()) + 1
            column = strange.start() - text.rfind("\n", 0, strange.start())
            remedy = "read the configuration again, or write the value itself"
            raise ConfigError([Problem(source, line, column, "", f"{strange[0]} stands for no secret of now", remedy)])
        return _MASK.sub(lambda found: known[found[0]], text)

    def _spans(self, text: str) -> set[tuple[int, int, str]]:
        starts = [0, *(found.end() for found in re.finditer("\r\n|[\n\r\x85\u2028\u2029]", text))]
        spans = set()
        document = read(text, "")
        for loc in _secrets_in(document):
            place = document.places[loc]
            (line, column), (last, after) = place.value, place.end
            start, end = starts[line - 1] + column - 1, starts[last - 1] + after - 1
            anchor = _ANCHOR.match(text, start, end)
            start = anchor.end() if anchor else start
            end = start + len(text[start:end].rstrip())
            digest = hmac.new(self._key, (place.text or "").encode(), hashlib.sha256).hexdigest()
            spans.add((start, end, f"masked-{digest[:16]}"))
        return spans


@cache
def secret_places() -> frozenset[Place]:
    """Where the schema has values that nobody is shown: header fields that are sent, which may be credentials, digests
    of tokens, addresses of webhooks."""
    return frozenset(place for place, described in leaves(schema_json()) if described.get("writeOnly"))


def is_secret(loc: Loc) -> bool:
    """Whether what stands at a place of the file is shown to nobody."""
    return any(_is_at(loc, place) for place in secret_places())


def may_be_meant_as_secret(loc: Loc) -> bool:
    """Whether text at a place that has parts may be a secret that was written in their stead, such as a token for its
    entry, or the secret of a webhook itself for where it is found."""
    below = (place[: len(loc)] for place in secret_places() if len(loc) < len(place) <= len(loc) + _NEAR)
    return loc[-1:] == ("secret",) or any(_is_at(loc, place) for place in below)


def leaves(schema: Mapping[str, Any]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Every place of the file that has a value and no parts, and what the schema says of it. One that may be written in
    several ways comes several times."""
    yield from _leaves(schema, schema["$defs"], (), frozenset())


def _leaves(
    part: Mapping[str, Any], known: Mapping[str, Any], at: Place, within: frozenset[str]
) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    name = part.get("$ref", "").rpartition("/")[2]
    if name:
        if name not in within:
            yield from _leaves(known[name], known, at, within | {name})
        return
    inner: list[tuple[Place, Any]] = [(at, form) for key in ("anyOf", "oneOf", "allOf") for form in part.get(key, ())]
    inner += [((*at, key), value) for key, value in part.get("properties", {}).items()]
    inner += [((*at, None), item) for item in part.get("prefixItems", ())]
    rest = (part.get(key, False) for key in ("additionalProperties", "items"))
    inner += [((*at, None), {} if form is True else form) for form in rest if form is not False]
    for place, form in inner:
        yield from _leaves(form, known, place, within)
    if not inner:
        yield at, part


def _secrets_in(document: Document) -> Iterator[Loc]:
    for loc, place in document.places.items():
        if place.text is not None and is_secret(loc):
            yield loc


def _is_at(loc: Loc, secret: Place) -> bool:
    return len(loc) == len(secret) and all(b is None or a == b for a, b in zip(loc, secret, strict=True))
