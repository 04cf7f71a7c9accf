"""An exchange and a copy that may be captured: they keep the bodies that go by, up to a bound.

Both are classes of their own, chosen where a route is captured: where none is, nothing of this costs anything. Bodies
are kept as the pieces that are passed on, and are nobody's but the exchange's until it is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import monotonic, time
from typing import Final

from proxy.capture import Kind
from proxy.data.copies.repeating import Triple
from proxy.data.copies.shadow import Shadow, mirror
from proxy.data.exchanges.attempt import HEAD, Client
from proxy.data.exchanges.logged import LoggedExchange, request_id
from proxy.data.logs.access_log import AccessLog
from proxy.data.requests.router import Head
from proxy.data.routing.capturing import Answer, Body, CapturePlan, Captures, Taken, is_json
from proxy.data.routing.routing import Context, MirrorPlan, RoutePlan
from proxy.data.wire.bodies import Piece
from proxy.data.wire.gathering import gather
from proxy.data.wire.http1 import Headers, ResponseHead
from proxy.faults import Fault, Skip, counts_against
from proxy.ledger.reading import Reading

_NONE: Final = Fault.NONE
"""Looked up once: see `proxy.data.exchanges.reply`."""
_SWITCHED: Final = 101


class CapturedExchange(LoggedExchange):
    """An exchange that may be captured, and logged."""

    __slots__ = ("_answered", "_captures", "_drawn", "_taped")

    def __init__(self, client: Client, context: Context, head: Head, log: AccessLog | None, captures: Captures) -> None:
        super().__init__(client, context, head, log)
        self._captures = captures
        self._drawn = False
        self._answered: Headers = []
        self._taped: list[Piece] | None = None
        """The answer's body; None where nobody may want it, or over the bound."""

    def _choose(self, plan: RoutePlan, delayed: bool) -> None:
        self._drawn = plan.capture is not None and plan.capture.drawn()
        super()._choose(plan, delayed)

    def response_head(self, head: ResponseHead) -> None:
        """Keep what follows, if it may be wanted."""
        super().response_head(head)
        plan, arm = self._plan, self._arm
        self._answered, self._taped = [], None
        if plan is None or arm is None or plan.capture is None or self._answer != HEAD:
            return  # of an answer that is not passed on, as another attempt is made, nothing follows
        wanted = plan.capture.settings
        failed = head.status >= 500 or self._retrying is not None
        paired = bool(plan.mirrors) and arm.mirrored and (wanted.disagreements or wanted.errors)
        if self._drawn or paired or (wanted.errors and failed):
            self._answered = head.headers
            self._taped = [] if is_json(head.headers) else None

    def response_body(self, data: Piece) -> None:
        """Keep a piece of the answer's body."""
        super().response_body(data)
        taped = self._taped
        if taped is not None and self._plan is not None and self._plan.capture is not None:
            self._taped = gathered(taped, data, self._bytes_out, self._plan.capture)

    def _take_back(self) -> None:
        super()._take_back()
        self._answered, self._taped, self._bytes_out = [], None, 0

    def _mirror(self, plan: RoutePlan, readings: Sequence[Reading], latency_s: float, fault: Fault) -> Sequence[str]:
        capture, arm = plan.capture, self._arm
        if capture is None or arm is None or not (capture.settings.disagreements or capture.settings.errors):
            return super()._mirror(plan, readings, latency_s, fault)
        body = self._kept if self._request_complete else None
        beside = Beside(capture, self._captures, self.head, self._request(capture), self._answer_of(fault))
        make = partial(CapturedShadow, beside=beside)
        self._copies = mirror(self._context, plan, self.head, body, readings, latency_s, fault, arm.upstream, make)
        return self._copies

    def _finish(self, fault: Fault, keep: bool) -> None:
        super()._finish(fault, keep)
        plan, arm = self._plan, self._arm
        capture = None if plan is None else plan.capture
        if capture is None or arm is None or self._draw is None or not arm.judged or self._status == _SWITCHED:
            return
        failed = self._retrying is not None or counts_against(fault, self._status)
        kind: Kind = "error" if failed and capture.settings.errors else "sample"
        if kind == "error" or self._drawn:
            attempts = 1 if self._retrying is None else 1 + self._retrying.retries
            taken = Taken(
                capture, kind, time(), self.head, request_id(self.head), self._request(capture),
                [self._answer_of(fault)], attempts,
            )  # fmt: skip
            self._captures.offer(taken, monotonic())

    def _request(self, capture: CapturePlan) -> Body:
        """The request's body, as far as it may be kept."""
        whole = self._request_complete and self._body_bytes <= capture.max_body_bytes
        return Body(self.head.headers, self._body_bytes, self._kept if whole else None)

    def _answer_of(self, fault: Fault) -> Answer:
        """What the version that was asked first answered, or whichever answered in its place."""
        name, role = ("", "") if self._arm is None else (self._arm.upstream.backend.name, self._arm.role)
        pieces = self._taped if fault is _NONE else None
        body = Body(self._answered, self._bytes_out, pieces)
        return Answer(name, role, self._status, fault, monotonic() - self._arrived_s, body)


class Beside:
    """A request with its live answer, beside which a copy's answer may come to be captured."""

    __slots__ = ("answer", "body", "capture", "captures", "head")

    def __init__(self, capture: CapturePlan, captures: Captures, head: Head, body: Body, answer: Answer) -> None:
        self.capture = capture
        self.captures = captures
        self.head = head
        self.body = body
        self.answer = answer


class CapturedShadow(Shadow):
    """A copy that may be captured, with the live answer beside its own."""

    __slots__ = ("_answered", "_beside", "_bytes", "_taped")

    def __init__(
        self,
        context: Context,
        plan: RoutePlan,
        copy: MirrorPlan,
        readings: Sequence[Reading],
        latency_s: float,
        triple: Triple | None,
        beside: Beside,
    ) -> None:
        super().__init__(context, plan, copy, readings, latency_s, triple)
        self._beside = beside
        self._answered: Headers = []
        self._taped: list[Piece] | None = None
        self._bytes = 0

    def response_head(self, head: ResponseHead) -> None:
        """Keep what follows."""
        super().response_head(head)
        self._answered, self._bytes = head.headers, 0
        self._taped = [] if is_json(head.headers) else None

    def response_body(self, data: Piece) -> None:
        """Keep a piece of the answer's body."""
        super().response_body(data)
        self._bytes += len(data)
        if self._taped is not None:
            self._taped = gathered(self._taped, data, self._bytes, self._beside.capture)

    def _finish(self, fault: Fault, skip: Skip | None, now_s: float) -> None:
        super()._finish(fault, skip, now_s)
        beside = self._beside
        wanted = beside.capture.settings
        differs = self._differs()
        kind: Kind = "error" if counts_against(fault, self._status) else "disagreement"
        if kind == "error" and not wanted.errors:
            return
        if kind == "disagreement" and not (wanted.disagreements and differs):
            return
        body = Body(self._answered, self._bytes, self._taped if fault is _NONE else None)
        own = Answer(self._upstream.backend.name, "shadow", self._status, fault, now_s - self._arrived_s, body)
        taken = Taken(
            beside.capture, kind, time(), beside.head, request_id(beside.head), beside.body, [beside.answer, own],
            differs=differs,
        )  # fmt: skip
        beside.captures.offer(taken, now_s)

    def _differs(self) -> list[str]:
        """The outputs that the two answers disagree on."""
        predictions = self._plan.route.predictions
        if predictions is None:
            return []
        return [predictions.outputs[output].name for output, differ, _ in self._compared if differ]


def gathered(taped: list[Piece], data: Piece, length: int, capture: CapturePlan) -> list[Piece] | None:
    """A body with another piece, so long by now; None where that is longer than what may be kept."""
    if length > capture.max_body_bytes:
        return None
    gather(taped, data)
    return taped
