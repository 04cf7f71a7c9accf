"""Which route a request takes and which version serves it. Pure: a request's facts in, a choice out.

Matching follows the Gateway API: the first route whose match holds is taken, all conditions of a match must hold, and
a path prefix matches whole segments. A version is chosen by the place of the user's key on a circle of a million
parts. Each version owns a part of it, the candidate's from zero on, so that raising its weight only adds users and
lowering it only removes those that were added last. The place is a hash of the route's seed and the key: it is the
same in every worker, after every restart, and for every route with the same seed.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from random import random
from typing import Final
from urllib.parse import unquote_plus

from xxhash import xxh3_64_digest

from proxy.data.wire.http1 import Headers
from proxy.data.wire.paths import canonical
from proxy.snapshot import CIRCLE, Key, Match, NamedMatch, Route, StringMatch

_ANONYMOUS: Final = -1


class Head:
    """The head of a request. `peer` is the client's address as text (`trust`), `length` None where no length
    was given, `modern` says HTTP/1.1, whose clients understand chunks; not HTTP/1.0."""

    __slots__ = (
        "chunked",
        "expects",
        "forwarded",
        "headers",
        "hop",
        "keep_alive",
        "length",
        "method",
        "modern",
        "noted",
        "own",
        "peer",
        "sent",
        "target",
        "trailers",
        "upgrade",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        peer: str,
        length: int | None = None,
        chunked: bool = False,
        modern: bool = True,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.peer = peer
        self.length = length
        self.chunked = chunked
        self.modern = modern
        self.keep_alive = keep_alive
        self.expects = False
        """The client waits with its body until it is told to go on."""
        self.forwarded = b""
        """The lines that tell a backend who the client is."""
        self.noted = True
        """It may have fields that `proxy.data.requests.heads` has to look at before they are passed on."""
        self.own: frozenset[bytes] | None = None
        """Fields that are not passed on; None until that was found out."""
        self.sent = b""
        """The target as it is forwarded, where `target`, which is matched, has another form (`wire.paths`)."""
        self.trailers: Headers | None = None
        """Fields after the body, if there were any; complete when the request is."""
        self.hop = b""
        """Lines for the next connection alone, which a copy goes without."""
        self.upgrade = b""
        """The protocols that the client asks to switch to, as one value."""

    @property
    def path(self) -> str:
        """The path of the target, in the form that is matched."""
        return self.target.partition(b"?")[0].decode("utf-8", "replace")

    def parameter(self, name: str) -> str | None:
        """The first value of a parameter of the URL, or None. What has another name is not decoded: a query may have
        thousands of them, and a route may ask for several."""
        wanted = name.encode()
        for piece in self.target.partition(b"?")[2].split(b"&"):
            key, _, value = piece.partition(b"=")
            plain = key.find(b"%") < 0 and key.find(b"+") < 0
            if piece and (key == wanted if plain else unquote_plus(key.decode("latin-1")) == name):
                return unquote_plus(value.decode("latin-1"))
        return None

    def cookie(self, name: str) -> str | None:
        """The value of a cookie, or None; of several with one name the first counts (RFC 6265, section 5.4)."""
        wanted = name.encode("latin-1", "replace")
        for field, value in self.headers:
            if field == b"cookie" and value.find(wanted) >= 0:
                for part in value.split(b";"):
                    key, equals, text = part.strip().partition(b"=")
                    if equals and key == wanted:
                        return text.strip(b'"').decode("latin-1")
        return None

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, or None. The name is in lower case."""
        for field, value in self.headers:
            if field == name:
                return value
        return None


Condition = Callable[[Head], bool]


@dataclass(init=False)
class Draw:
    """Where a request's user stands: `place` on the circle, `user` slot and `group` of the ledger (-1: unknown)."""

    __slots__ = ("group", "place", "user")

    place: int
    user: int
    group: int

    def __init__(self, place: int, user: int, group: int) -> None:
        self.place = place
        self.user = user
        self.group = group


def conditions(match: Match) -> tuple[Condition, ...]:
    """A match as predicates, the cheapest first."""
    found: list[Condition] = []
    if match.method is not None:
        method = match.method.encode("latin-1")
        found.append(lambda head: head.method == method)
    if match.path is not None and match.path != StringMatch("prefix", "/"):
        found.append(_path(match.path))
    found += [_header(named) for named in match.headers]
    found += [_query(named) for named in match.query]
    found += [_cookie(named) for named in match.cookies]
    return tuple(found)


def any_of(matches: tuple[Match, ...]) -> Condition | None:
    """Whether one of several matches holds; None where every request would do."""
    found = tuple(conditions(match) for match in matches)
    if not found or not all(found):
        return None
    return lambda head: _one_holds(found, head)


def _one_holds(matches: tuple[tuple[Condition, ...], ...], head: Head) -> bool:
    """Whether all conditions of one of several matches hold. Loops, since a generator is never compiled."""
    for match in matches:
        for holds in match:
            if not holds(head):
                break
        else:
            return True
    return False


def _text(match: StringMatch) -> Callable[[str], bool]:
    value = match.value
    if match.kind == "exact":
        return lambda text: text == value
    if match.kind == "prefix":
        return lambda text: text.startswith(value)
    if match.kind == "suffix":
        return lambda text: text.endswith(value)
    pattern = re.compile(value)
    return lambda text: pattern.fullmatch(text) is not None


def _written(value: str) -> bytes:
    """A path of the settings in the form that is matched. One that no request can have matches none."""
    path = value.encode()
    try:
        return canonical(path)
    except ValueError:
        return path


def _path(match: StringMatch) -> Condition:
    if match.kind == "exact":
        exact = _written(match.value)
        return lambda head: head.target.partition(b"?")[0] == exact
    if match.kind == "prefix":
        stem = _written(match.value).rstrip(b"/")
        size = len(stem)
        ends = (b"", b"/", b"?")
        return lambda head: head.target.startswith(stem) and head.target[size : size + 1] in ends
    if match.kind == "suffix":
        end = _written(match.value)
        return lambda head: head.target.partition(b"?")[0].endswith(end)
    holds = _text(match)
    return lambda head: holds(head.path)


def _header(named: NamedMatch) -> Condition:
    name, holds = named.name.lower().encode("latin-1"), _text(named.match)
    return lambda head: (value := head.header(name)) is not None and holds(value.decode("latin-1"))


def _query(named: NamedMatch) -> Condition:
    holds = _text(named.match)
    return lambda head: (value := head.parameter(named.name)) is not None and holds(value)


def _cookie(named: NamedMatch) -> Condition:
    holds = _text(named.match)
    return lambda head: (value := head.cookie(named.name)) is not None and holds(value)


KeyReader = Callable[[Head], bytes | None]


def key_readers(keys: tuple[Key, ...]) -> tuple[KeyReader, ...]:
    """Functions that read a user's key, in the order in which they are tried."""
    return tuple(_key_reader(key) for key in keys)


def _key_reader(key: Key) -> KeyReader:
    match key.source:
        case "header":
            name = key.name.lower().encode("latin-1")
            return lambda head: head.header(name)
        case "cookie":
            return lambda head: value.encode("latin-1") if (value := head.cookie(key.name)) else None
        case "queryParam":
            return lambda head: value.encode() if (value := head.parameter(key.name)) else None
        case "sourceIp":
            return lambda head: head.peer.encode("latin-1")


def place(seed: int, key: bytes) -> Draw:
    """Where a key stands on the circle, with the independent slots that the ledger keeps of its user.

    >>> place(0, b"u1") == place(0, b"u1"), place(0, b"u1") == place(1, b"u1")
    (True, False)
    """
    # The lowest 32 bits times CIRCLE over 2**32, 15 bits, and the highest 6. In small steps: in compiled code a product
    # of larger numbers is an object, and so is a number of 64 bits.
    digest = xxh3_64_digest(key, seed)
    high, low = digest[4] << 8 | digest[5], digest[6] << 8 | digest[7]
    return Draw(high * CIRCLE + (low * CIRCLE >> 16) >> 16, (digest[1] & 0x7F) << 8 | digest[2], digest[0] >> 2)


class Choice:
    """The choosing half of a route: match, place, arm."""

    __slots__ = ("_arms", "_bounds", "_matches", "_readers", "_seed")

    def __init__(self, route: Route) -> None:
        self._matches = tuple(conditions(match) for match in route.matches) or ((),)
        self._readers = key_readers(route.keys)
        self._seed = route.seed
        self._bounds = tuple(segment.upper for segment in route.segments)
        self._arms = tuple(segment.arm for segment in route.segments)

    def matches(self, head: Head) -> bool:
        """Whether the request belongs to this route."""
        return _one_holds(self._matches, head)

    def draw(self, head: Head) -> Draw:
        """The place of the request: its user's, or a fresh one where no key is found."""
        for read in self._readers:
            key = read(head)
            if key:
                return place(self._seed, key)
        return Draw(int(random() * CIRCLE), _ANONYMOUS, _ANONYMOUS)  # noqa: S311 - a share of traffic, not a secret

    def arm(self, place: int) -> int:
        """The arm that owns a place, or -1 where no arm does."""
        arms = self._arms
        if len(arms) == 1:
            return arms[0]
        at = bisect_right(self._bounds, place)
        return arms[at] if at < len(arms) else -1
