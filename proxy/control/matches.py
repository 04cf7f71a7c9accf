"""From what the file says of requests and users to what a worker looks for in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from config import matching
from proxy import snapshot


def match_of(match: matching.Match) -> snapshot.Match:
    """The conditions of a request; names of header fields are in lower case."""
    return snapshot.Match(
        path=None if match.path is None else _text(match.path),
        method=match.method,
        headers=_named({name.lower(): text for name, text in match.headers.items()}),
        query=_named(match.query),
        cookies=_named(match.cookies),
    )


def keys_of(affinity: matching.SessionAffinity | None) -> tuple[snapshot.Key, ...]:
    """Where the key of a user is read, in order."""
    if affinity is None:
        return ()
    return tuple(snapshot.Key(source, name.lower() if source == "header" else name) for source, name in affinity.keys)


def _named(texts: Mapping[str, matching.StringMatch]) -> tuple[snapshot.NamedMatch, ...]:
    return tuple(snapshot.NamedMatch(name, _text(text)) for name, text in texts.items())


def _text(text: matching.StringMatch) -> snapshot.StringMatch:
    return snapshot.StringMatch(text.kind, text.value)
