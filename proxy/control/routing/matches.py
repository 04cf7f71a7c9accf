"""From what the file says of requests and users to what a worker looks for in them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from config import schema
from config.values import matching
from proxy import snapshot

INFERENCE: Final[Mapping[str, tuple[str, ...]]] = {"open-inference": ("/infer", "/generate", "/generate_stream")}
"""How the paths of inference end, by protocol. A model server that speaks it takes other requests too, to load and to
unload models, which a shadow would carry out."""


def match_of(match: matching.Match) -> snapshot.Match:
    """The conditions of a request; names of header fields are in lower case."""
    return snapshot.Match(
        path=None if match.path is None else _text(match.path),
        method=match.method,
        headers=_named({name.lower(): text for name, text in match.headers.items()}),
        query=_named(match.query),
        cookies=_named(match.cookies),
    )


def copied(route: schema.Route, mirror: schema.MirrorRef) -> tuple[snapshot.Match, ...]:
    """Which requests of a route are copied; none given means all. Where the file does not say, and it is known what is
    inference, nothing else is."""
    if mirror.match:
        return tuple(match_of(match) for match in mirror.match)
    ends = () if route.predictions is None else INFERENCE.get(route.predictions.protocol, ())
    return tuple(snapshot.Match(path=snapshot.StringMatch("suffix", end), method="POST") for end in ends)


def keys_of(affinity: matching.SessionAffinity | None) -> tuple[snapshot.Key, ...]:
    """Where the key of a user is read, in order."""
    if affinity is None:
        return ()
    return tuple(snapshot.Key(source, name.lower() if source == "header" else name) for source, name in affinity.keys)


def _named(texts: Mapping[str, matching.StringMatch]) -> tuple[snapshot.NamedMatch, ...]:
    return tuple(snapshot.NamedMatch(name, _text(text)) for name, text in texts.items())


def _text(text: matching.StringMatch) -> snapshot.StringMatch:
    return snapshot.StringMatch(text.kind, text.value)
