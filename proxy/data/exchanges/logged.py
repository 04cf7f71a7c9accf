"""An exchange that is noted for the access log.

It is a class of its own, chosen where a log is on, or requests are captured: where neither is, nothing of this costs
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Final

from proxy.data.backends.connection import Connection
from proxy.data.exchanges.attempt import Client
from proxy.data.exchanges.exchange import Exchange
from proxy.data.logs.access_log import AccessLog, Line, moment
from proxy.data.requests.router import Head
from proxy.data.routing.routing import Context, RoutePlan
from proxy.data.wire.bodies import Piece
from proxy.data.wire.http1 import ResponseHead
from proxy.faults import ENVOY_FLAGS, FACTS, Fault, counts_against
from proxy.ledger.reading import Reading

_DELAYED: Final = "DI"
_EXHAUSTED: Final = "URX"


class LoggedExchange(Exchange):
    """An exchange with what only the log wants to know."""

    __slots__ = ("_asked", "_begun_s", "_bytes_out", "_copies", "_first_byte_s", "_log")

    def __init__(self, client: Client, context: Context, head: Head, log: AccessLog | None) -> None:
        super().__init__(client, context, head)
        self._log = log
        self._asked = self._bytes_out = 0
        self._copies: Sequence[str] = ()
        self._begun_s = self._first_byte_s = 0.0

    def start(self) -> None:
        """Note when the request has its turn: a delay that is injected before a version is chosen is a part of it."""
        self._begun_s = monotonic()
        super().start()

    def _ask(self) -> None:
        self._asked = 1
        super()._ask()

    def upstream_ready(self, connection: Connection) -> None:
        """Note when an attempt began."""
        self._sent_s = monotonic()
        super().upstream_ready(connection)

    def response_head(self, head: ResponseHead) -> None:
        """Note when the answer began."""
        self._first_byte_s = monotonic()
        super().response_head(head)

    def response_body(self, data: Piece) -> None:
        """Note how long the answer is."""
        self._bytes_out += len(data)
        super().response_body(data)

    def _mirror(self, plan: RoutePlan, readings: Sequence[Reading], latency_s: float, fault: Fault) -> Sequence[str]:
        self._copies = super()._mirror(plan, readings, latency_s, fault)
        return self._copies

    def _finish(self, fault: Fault, keep: bool) -> None:
        super()._finish(fault, keep)
        log = self._log
        if log is not None and log.wants(fault, self._status):
            log.write(self._line(log, fault, monotonic() - self._begun_s))

    def _line(self, log: AccessLog, fault: Fault, duration_s: float) -> Line:
        head, arm = self.head, self._arm
        named = self._sent_s and self._first_byte_s >= self._sent_s
        return Line(
            moment(duration_s),
            request_id=request_id(head),
            trace_id=_trace_id(head),
            client=head.peer,
            method=head.method.decode("latin-1"),
            path=log.path(head.sent or head.target),
            route="" if self._plan is None else self._plan.route.name,
            backend="" if arm is None else arm.upstream.backend.name,
            role="" if arm is None else arm.role,
            status=self._status,
            flags=self._flags(fault),
            fault=FACTS[fault].flag if fault else "",
            bytes_in=self._body_bytes,
            bytes_out=self._bytes_out,
            duration_ms=round(duration_s * 1000, 3),
            upstream_ms=round((self._first_byte_s - self._sent_s) * 1000, 3) if named else None,
            attempts=self._asked + (0 if self._retrying is None else self._retrying.retries),
            mirrored_to=tuple(self._copies),
            headers=log.values(head.headers),
        )

    def _flags(self, fault: Fault) -> str:
        flags = [ENVOY_FLAGS[fault]] if fault else []
        if self._arm is not None and self._arm.is_delayed:
            flags.append(_DELAYED)
        if self._retrying is not None and counts_against(fault, self._status):
            flags.append(_EXHAUSTED)
        return ",".join(flags)


def request_id(head: Head) -> str:
    """What the backend was told, or else what the client has said."""
    told = head.forwarded.rpartition(b"x-request-id: ")[2] if b"x-request-id: " in head.forwarded else None
    value = told.partition(b"\r\n")[0] if told is not None else head.header(b"x-request-id") or b""
    return value[:128].decode("latin-1")


def _trace_id(head: Head) -> str:
    """The second part of traceparent (W3C Trace Context)."""
    parts = (head.header(b"traceparent") or b"").split(b"-")
    return parts[1][:32].decode("latin-1") if len(parts) > 1 else ""
