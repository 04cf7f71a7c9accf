"""Captured requests of a worker: which are taken, how they are written down by the rules, and how they go up.

    exchange, copy ─▶ `offer` (bucket, queue) ─▶ sweep: `pump` (rules, JSON) ─▶ channel ─▶ controller

What is offered is what an exchange holds anyway: pieces of bodies that went by. It is read and written anew in the
sweep, some milliseconds of it at a time, so that no answer waits for it. Queue and channel have bounds; what finds no
room is dropped and counted, and requests notice nothing.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import random
from time import perf_counter
from typing import Any, Final

import msgspec

from proxy import channel
from proxy.capture import KINDS, Capture, Captured, Kind
from proxy.data.answers.predictions import plain
from proxy.data.answers.redaction import Rules
from proxy.data.requests.router import Head
from proxy.data.wire.bodies import Piece
from proxy.data.wire.http1 import Headers
from proxy.faults import FACTS, Fault
from proxy.ledger.guards import CAPTURE_DROPPED, CAPTURE_LIMITED, RouteCounts
from proxy.snapshot import CIRCLE

QUEUE: Final = 64
QUEUE_BYTES: Final = 4 << 20
"""What may wait in a worker, for its turn or while there is no controller."""
PUMP_S: Final = 0.002
"""How long one sweep may take over it; one at least has its turn."""
UNSENT_BYTES: Final = 1 << 20
"""While the controller leaves so much unread nothing more is sent."""
AT_ONCE_S: Final = 10.0
"""A bucket holds what comes to a worker in this time, and one at least."""
VALUE_CHARS: Final = 1024
"""Of a path or a header field."""
_MEDIA_TYPE: Final = re.compile(rb"\s*([a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60})\s*(?:;|$)")
_UNREADABLE: Final = object()


class Body:
    """A body that went by: `pieces` None where it was not gathered, or is longer than it may be."""

    __slots__ = ("headers", "length", "pieces")

    def __init__(self, headers: Headers, length: int, pieces: Sequence[Piece] | None) -> None:
        self.headers = headers
        self.length = length
        self.pieces = pieces

    def settle(self) -> None:
        """Let go of the reads that the pieces are of: a view of some bytes holds all that came with them."""
        if self.pieces:
            self.pieces = [b"".join(self.pieces)]


class Answer:
    """What a version did with the request. `status` 0 is no answer."""

    __slots__ = ("backend", "body", "fault", "latency_s", "role", "status")

    def __init__(self, backend: str, role: str, status: int, fault: Fault, latency_s: float, body: Body) -> None:
        self.backend = backend
        self.role = role
        self.status = status
        self.fault = fault
        self.latency_s = latency_s
        self.body = body


class Taken:
    """A request with its answers, as they came; `differs` are the outputs that the answers disagree on."""

    __slots__ = ("answers", "at_s", "attempts", "body", "differs", "head", "kind", "plan", "request_id")

    def __init__(
        self,
        plan: CapturePlan,
        kind: Kind,
        at_s: float,
        head: Head,
        request_id: str,
        body: Body,
        answers: Sequence[Answer],
        attempts: int = 1,
        differs: Sequence[str] = (),
    ) -> None:
        self.plan = plan
        self.kind: Kind = kind
        self.at_s = at_s
        self.head = head
        self.request_id = request_id
        self.body = body
        self.answers = answers
        self.attempts = attempts
        self.differs = differs

    @property
    def bodies(self) -> Iterator[Body]:
        """Of the request and of the answers."""
        yield self.body
        for answer in self.answers:
            yield answer.body


@dataclass(slots=True)
class Bucket:
    """How many of a kind a worker may take: `rate` in a second, `size` at once."""

    rate: float
    size: float
    level: float = 0.0
    at_s: float = 0.0

    def take(self, now_s: float) -> bool:
        """Whether there is one left, which is gone then."""
        self.level = max(0.0, self.level - (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        if self.level + 1.0 > self.size:
            return False
        self.level += 1.0
        return True


class CapturePlan:
    """What is captured of a route in one worker of several."""

    __slots__ = ("_buckets", "counts", "key", "max_body_bytes", "route", "rules", "settings")

    def __init__(self, route: str, settings: Capture, key: bytes, counts: RouteCounts, workers: int) -> None:
        self.route = route
        self.settings = settings
        self.key = key
        self.counts = counts
        self.rules = Rules(settings.fields, settings.other, key)
        self.max_body_bytes = settings.max_body_bytes
        rate = settings.per_minute / 60.0 / workers
        self._buckets: dict[Kind, Bucket] = {kind: Bucket(rate, max(1.0, rate * AT_ONCE_S)) for kind in KINDS}

    def drawn(self) -> bool:
        """Whether chance takes a live request."""
        return random() * CIRCLE < self.settings.share  # noqa: S311 - a share of traffic, not a secret

    def has_room(self, kind: Kind, now_s: float) -> bool:
        """Whether another one of a kind may be taken, which is counted either way."""
        if self._buckets[kind].take(now_s):
            return True
        self.counts.add(CAPTURE_LIMITED)
        return False


def plan_of(
    route: str, settings: Capture, key: bytes, counts: RouteCounts, workers: int, held: CapturePlan | None
) -> CapturePlan:
    """The plan of a route; one that a new snapshot leaves as it was goes on with its buckets."""
    if held is not None and held.settings == settings and held.key == key:
        return held
    return CapturePlan(route, settings, key, counts, workers)


@dataclass(slots=True)
class Captures:
    """What was taken in a worker and has not gone up yet. The newest find no room where it is full: of an outage the
    first requests tell most."""

    _waiting: deque[tuple[Taken, int]] = field(default_factory=deque)
    _bytes: int = 0

    def offer(self, taken: Taken, now_s: float) -> None:
        """Take a request, if there is room."""
        plan = taken.plan
        if not plan.has_room(taken.kind, now_s):
            return
        size = sum(len(piece) for body in taken.bodies for piece in body.pieces or ())
        if len(self._waiting) >= QUEUE or self._bytes + size > QUEUE_BYTES:
            plan.counts.add(CAPTURE_DROPPED)
            return
        for body in taken.bodies:
            body.settle()
        self._waiting.append((taken, size))
        self._bytes += size

    def pump(self, send: Callable[[bytes], None], unsent: Callable[[], int]) -> None:
        """Write some of them down, and send them up."""
        end_s = perf_counter() + PUMP_S
        while self._waiting and unsent() < UNSENT_BYTES:
            taken, size = self._waiting.popleft()
            self._bytes -= size
            data = msgspec.json.encode(document(taken))
            send(channel.encode(Captured(taken.plan.route, taken.kind, taken.at_s, data)))
            if perf_counter() >= end_s:
                break


# --- by the rules


def document(taken: Taken) -> dict[str, Any]:
    """What is written down of a request: its JSON as people read it."""
    plan, head = taken.plan, taken.head
    settings, rules = plan.settings, plan.rules
    target = (head.sent or head.target).partition(b"?")[0]
    request: dict[str, Any] = {
        "method": head.method.decode("latin-1"),
        "path": rules.text(target[:VALUE_CHARS].decode("utf-8", "replace"), settings.path),
        "headers": _fields(plan, head.headers, taken.request_id),
        "body": _body(plan, taken.body),
    }
    answers = [
        {
            "backend": answer.backend,
            "role": answer.role,
            "status": answer.status,
            "fault": FACTS[answer.fault].flag if answer.fault else "",
            "latencyMs": round(answer.latency_s * 1000, 3),
            "headers": _fields(plan, answer.body.headers, ""),
            "body": _body(plan, answer.body),
        }
        for answer in taken.answers
    ]
    return {"attempts": taken.attempts, "differs": list(taken.differs), "request": request, "answers": answers}


def _fields(plan: CapturePlan, headers: Headers, request_id: str) -> dict[str, str]:
    """Header fields by the rules; of those that come more than once the first. A request has the id that its version
    was told."""
    found = {}
    for name, policy in plan.settings.headers:
        values = (value.decode("latin-1") for field, value in headers if field == name.encode("latin-1"))
        value = request_id if request_id and name == "x-request-id" else next(values, None)
        written = None if value is None else plan.rules.text(value[:VALUE_CHARS], policy)
        if written is not None:
            found[name] = written
    return found


def _body(plan: CapturePlan, body: Body) -> dict[str, Any]:
    """A body by the rules: `why` says why there is nothing of it but its length and type."""
    value: msgspec.Raw | None = None
    cut, why = False, ""
    if not is_json(body.headers):
        why = "not JSON" if body.length else ""
    elif body.pieces is None:
        why = "too long" if body.length > plan.max_body_bytes else "not complete" if body.length else ""
    elif body.pieces:
        document = _decoded(body.headers, b"".join(body.pieces), plan.max_body_bytes)
        if document is _UNREADABLE:
            why = "unreadable"
        else:
            try:
                found, cut = plan.rules.apply(document)
                value = None if found is None else msgspec.Raw(msgspec.json.encode(found))
                why = "dropped" if found is None else ""
            except (ValueError, OverflowError, TypeError, RecursionError):  # what JSON cannot say has no way up
                why = "unreadable"
    return {"bytes": body.length, "type": _media_type(body.headers), "value": value, "cut": cut, "why": why}


def _decoded(headers: Headers, body: bytes, max_bytes: int) -> Any:
    text = plain(headers, body, max_bytes)
    if text is None:
        return _UNREADABLE
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        try:
            return json.loads(text)  # NaN and Infinity, which Python servers write
        except (ValueError, RecursionError):
            return _UNREADABLE


def is_json(headers: Headers) -> bool:
    """Whether a body may be JSON by what is said of it."""
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            return kind == b"application/json" or kind.endswith(b"+json")
    return True


def _media_type(headers: Headers) -> str:
    """What kind a body is said to be, if it is said as it should be; its parameters are of no kind."""
    for name, value in headers:
        if name == b"content-type":
            match = _MEDIA_TYPE.match(value.lower())
            return match[1].decode("ascii") if match is not None else ""
    return ""
