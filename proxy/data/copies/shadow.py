"""Copies of live requests to versions that only rehearse.

A copy goes out when the client has its answer, so it can neither delay nor change it, and its answer is read,
compared and thrown away. It has a bound on how many are under way and a deadline of its own. Every copy that is not
sent, or not compared, is counted by reason: what was skipped is part of what the comparison means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random
from time import monotonic
from typing import Final

from proxy.data.backends.pool import Pool
from proxy.data.backends.upstream import Upstream
from proxy.data.copies.copying import Copy
from proxy.data.copies.repeating import Compared, SecondRequest, Triple, room
from proxy.data.requests.heads import to_shadow
from proxy.data.requests.router import Head
from proxy.data.routing.routing import Context, MirrorPlan, RoutePlan
from proxy.data.wire.bodies import Piece
from proxy.faults import FACTS, Fault, Repeat, Side, Skip, counts_against
from proxy.ledger.reading import Reading
from proxy.snapshot import CIRCLE

_NONE: Final = Fault.NONE
"""Looked up once: see `proxy.data.exchanges.reply`."""

Make = Callable[[Context, RoutePlan, MirrorPlan, Sequence[Reading], float, Triple | None], "Shadow"]
"""Whoever makes a copy, of what `Shadow` is made of."""


def mirror(
    context: Context,
    plan: RoutePlan,
    head: Head,
    body: list[Piece] | None,
    readings: Sequence[Reading],
    latency_s: float,
    fault: Fault,
    upstream: Upstream | None = None,
    make: Make | None = None,
) -> Sequence[str]:
    """Send the copies that a finished request is due; the names of the versions that get one.

    `body` is None where it was not kept. `latency_s` is stable's, 0 where stable failed and there is nothing to
    compare with. A `fault` of the client's says that there was no whole request, or nobody to answer it. `upstream` is
    who answered, and may be asked again. `make` makes other copies than `Shadow` does.
    """
    gone = fault is not _NONE and FACTS[fault].side is Side.CLIENT and fault is not Fault.BODY_TOO_LARGE
    sent = []
    for copy in plan.mirrors:
        writer = context.writer
        if head.upgrade:
            writer.skip(copy.row, Skip.UPGRADE)
            continue
        if head.method not in copy.methods:
            writer.skip(copy.row, Skip.METHOD)
            continue
        if copy.matches is not None and not copy.matches(head):
            writer.skip(copy.row, Skip.NOT_MATCHED)
            continue
        share = copy.mirror.share
        if share < CIRCLE and random() * CIRCLE >= share:  # noqa: S311 - a share of traffic, not a secret
            continue
        if gone:
            writer.skip(copy.row, Skip.CLIENT_GONE)
        elif context.draining:
            writer.skip(copy.row, Skip.DRAINING)
        elif body is None or sum(map(len, body)) > copy.mirror.max_body_bytes:
            writer.skip(copy.row, Skip.BODY_TOO_LARGE)
        elif copy.upstream.copies >= copy.mirror.max_concurrency:
            writer.skip(copy.row, Skip.BUSY)
        else:
            _send(context, plan, copy, head, b"".join(body), readings, latency_s, upstream, make)
            sent.append(copy.upstream.backend.name)
    return sent


def _send(
    context: Context,
    plan: RoutePlan,
    copy: MirrorPlan,
    head: Head,
    body: bytes,
    readings: Sequence[Reading],
    latency_s: float,
    upstream: Upstream | None,
    make: Make | None,
) -> None:
    """Send one copy, and at times the same to stable again."""
    request = to_shadow(head, len(body), copy.changed, copy.field_lines, context.request_id) + body
    timeout_s, share = copy.mirror.timeout_s, copy.mirror.repeat_share
    triple: Triple | None = None
    pool: Pool | None = None
    if share and latency_s and readings and upstream is not None and random() * CIRCLE < share:  # noqa: S311 - a share
        pool = room(copy, upstream)
        if pool is None:
            context.writer.repeats.skip(copy.row, Repeat.BUSY)
        else:
            triple = Triple(context.writer.repeats, copy.row)
    arrived_s = monotonic()
    context.writer.arrive(copy.row, arrived_s)
    if triple is not None:
        triple.begin(arrived_s)
    if make is None:
        shadow = Shadow(context, plan, copy, readings, latency_s, triple)
    else:
        shadow = make(context, plan, copy, readings, latency_s, triple)
    shadow.start(request, arrived_s, timeout_s)
    if triple is None or pool is None or upstream is None:
        return
    if triple.pointless:
        triple.stable(Repeat.UNPAIRED, (), arrived_s)
    else:
        SecondRequest(context, plan, upstream, pool, readings, triple).start(request, arrived_s, timeout_s)


class Shadow(Copy):
    """The copy for a version that rehearses, under way."""

    __slots__ = ("_compared", "_copy", "_latency_s", "_readings", "_triple")

    def __init__(
        self,
        context: Context,
        plan: RoutePlan,
        copy: MirrorPlan,
        readings: Sequence[Reading],
        latency_s: float,
        triple: Triple | None,
    ) -> None:
        super().__init__(context, plan, copy.upstream, copy.upstream.pool())
        self._copy = copy
        self._readings = readings
        self._latency_s = latency_s
        self._triple = triple
        self._compared: Compared = ()

    def _finish(self, fault: Fault, skip: Skip | None, now_s: float) -> None:
        context, copy, reader = self._context, self._copy, self._plan.reader
        readings: list[Reading] = []
        compared: Compared = ()
        if skip is not None:
            context.writer.skip(copy.row, skip)
        elif fault is _NONE:
            readings = self._read()
        failed = self._status >= 500 if fault is _NONE else counts_against(fault, self._status)
        if self._latency_s and not failed:
            ratio = (now_s - self._arrived_s) / self._latency_s
            if reader is not None and self._readings and readings:
                compared = reader.compare(self._readings, readings)
            if reader is not None and not compared:
                context.writer.skip(copy.row, Skip.UNREADABLE)
            self._compared = compared
            context.writer.pair(copy.row, self._arrived_s, now_s, ratio, compared)
        if self._triple is not None:
            self._triple.shadow(compared, now_s)
        context.writer.finish(copy.row, self._arrived_s, now_s, failed, self._status, fault, -1, readings)
