"""Every way a request can fail: which side failed, what the client is told, and whether it counts against the version.

The set is closed. Code that treats faults one by one uses `match` and ends with `assert_never`, so that a new
fault cannot be forgotten anywhere. The integer values are the cell numbers of the ledger and never change.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Side(enum.Enum):
    """Who caused a fault."""

    CLIENT = "client"
    PROXY = "proxy"
    UPSTREAM = "upstream"


class Fault(enum.IntEnum):
    """A named way to fail; the value is its cell in the ledger (0 to 31)."""

    NONE = 0
    BAD_REQUEST = 1
    NO_ROUTE = 2
    CLIENT_GONE = 3
    CONNECT_FAILED = 4
    CONNECT_TIMEOUT = 5
    REQUEST_TIMEOUT = 6
    STREAM_IDLE = 7
    UPSTREAM_RESET = 8
    BAD_RESPONSE = 9
    RESPONSE_CUT = 10
    OVERFLOW = 11
    NO_BACKEND = 12
    DRAINING = 13
    BODY_TOO_LARGE = 14
    HEAD_TOO_LARGE = 15
    CLIENT_TIMEOUT = 16
    UNSUPPORTED = 17
    URI_TOO_LONG = 18
    RATE_LIMITED = 19
    INJECTED = 20
    NO_ENDPOINT = 21
    TLS_FAILED = 22
    PROXY_HEADER = 23
    HANDSHAKE = 24
    HOLD_FULL = 25
    HOLD_TIMEOUT = 26


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a fault before it happens.

    `flag` is the short word in logs and metrics, `status` what a client is told while nothing of an answer was sent,
    `retryable` whether a route may ask for another attempt, `counts` whether it is evidence against the
    version that served the request.
    """

    flag: str
    side: Side
    status: int
    retryable: bool
    counts: bool
    text: str


FACTS: dict[Fault, Facts] = {
    Fault.NONE: Facts("-", Side.PROXY, 0, False, False, "no fault"),
    Fault.BAD_REQUEST: Facts("bad-request", Side.CLIENT, 400, False, False, "the request is not valid HTTP/1.1"),
    Fault.NO_ROUTE: Facts("no-route", Side.CLIENT, 404, False, False, "no route matches the request"),
    Fault.CLIENT_GONE: Facts("client-gone", Side.CLIENT, 499, False, False, "the client left before its answer"),
    Fault.CONNECT_FAILED: Facts(
        "connect-failed", Side.UPSTREAM, 503, True, True, "no connection to the backend could be made"
    ),
    Fault.CONNECT_TIMEOUT: Facts(
        "connect-timeout", Side.UPSTREAM, 504, True, True, "the backend did not accept a connection in time"
    ),
    Fault.REQUEST_TIMEOUT: Facts(
        "request-timeout", Side.UPSTREAM, 504, True, True, "the backend did not answer in time"
    ),
    Fault.STREAM_IDLE: Facts(
        "stream-idle", Side.UPSTREAM, 504, False, True, "the backend's answer stood still for too long"
    ),
    Fault.UPSTREAM_RESET: Facts(
        "upstream-reset", Side.UPSTREAM, 502, True, True, "the backend closed the connection before it answered"
    ),
    Fault.BAD_RESPONSE: Facts(
        "bad-response", Side.UPSTREAM, 502, True, True, "the backend's answer is not valid HTTP/1.1"
    ),
    Fault.RESPONSE_CUT: Facts(
        "response-cut", Side.UPSTREAM, 502, False, True, "the backend's answer ended before it was complete"
    ),
    Fault.OVERFLOW: Facts(
        "overflow", Side.UPSTREAM, 503, True, True, "all connections to the backend are busy and its queue is full"
    ),
    Fault.NO_BACKEND: Facts("no-backend", Side.PROXY, 503, False, False, "the route has no backend to serve it"),
    Fault.DRAINING: Facts("draining", Side.PROXY, 503, False, False, "this proxy is shutting down"),
    Fault.BODY_TOO_LARGE: Facts(
        "body-too-large", Side.CLIENT, 413, False, False, "the request's body is over the limit"
    ),
    Fault.HEAD_TOO_LARGE: Facts(
        "head-too-large", Side.CLIENT, 431, False, False, "the request's header fields are over the limit"
    ),
    Fault.CLIENT_TIMEOUT: Facts(
        "client-timeout", Side.CLIENT, 408, False, False, "the client did not send its request in time"
    ),
    Fault.UNSUPPORTED: Facts(
        "unsupported", Side.CLIENT, 501, False, False, "the proxy does not do what the request asks for"
    ),
    Fault.URI_TOO_LONG: Facts("uri-too-long", Side.CLIENT, 414, False, False, "the request's target is over the limit"),
    Fault.NO_ENDPOINT: Facts(
        "no-endpoint", Side.UPSTREAM, 503, False, True, "no endpoint of the backend is usable: all are down or ejected"
    ),
    Fault.RATE_LIMITED: Facts(
        "rate-limited", Side.CLIENT, 429, False, False, "the client sent more than its rate limit"
    ),
    Fault.PROXY_HEADER: Facts(
        "proxy-header", Side.CLIENT, 400, False, False, "the connection does not begin with a sound PROXY header"
    ),
    Fault.HANDSHAKE: Facts(
        "tls-handshake", Side.CLIENT, 400, False, False, "the client and this listener did not agree on TLS"
    ),
    Fault.HOLD_FULL: Facts(
        "hold-full", Side.PROXY, 503, False, False, "the route is held, and too many requests wait already"
    ),
    Fault.HOLD_TIMEOUT: Facts(
        "hold-timeout", Side.PROXY, 503, False, False, "the route is held for longer than the request can wait"
    ),
    Fault.INJECTED: Facts("injected", Side.PROXY, 503, False, False, "this fault was injected on purpose"),
    Fault.TLS_FAILED: Facts(
        "tls-failed", Side.UPSTREAM, 503, True, True, "no TLS connection to the backend could be made"
    ),
}


ENVOY_FLAGS: dict[Fault, str] = {
    Fault.NONE: "",
    Fault.BAD_REQUEST: "DPE",
    Fault.NO_ROUTE: "NR",
    Fault.CLIENT_GONE: "DC",
    Fault.CONNECT_FAILED: "UF",
    Fault.CONNECT_TIMEOUT: "UF",
    Fault.REQUEST_TIMEOUT: "UT",
    Fault.STREAM_IDLE: "SI",
    Fault.UPSTREAM_RESET: "UC",
    Fault.BAD_RESPONSE: "UPE",
    Fault.RESPONSE_CUT: "UC",
    Fault.OVERFLOW: "UO",
    Fault.NO_BACKEND: "NC",
    Fault.DRAINING: "LR",
    Fault.BODY_TOO_LARGE: "DPE",
    Fault.HEAD_TOO_LARGE: "DPE",
    Fault.CLIENT_TIMEOUT: "SI",
    Fault.UNSUPPORTED: "DPE",
    Fault.URI_TOO_LONG: "DPE",
    Fault.RATE_LIMITED: "RL",
    Fault.INJECTED: "FI",
    Fault.NO_ENDPOINT: "UH",
    Fault.TLS_FAILED: "UF",
    Fault.PROXY_HEADER: "DPE",
    Fault.HANDSHAKE: "DPE",
    Fault.HOLD_FULL: "UO",
    Fault.HOLD_TIMEOUT: "UT",
}
"""Each fault as Envoy's access log would have it (%RESPONSE_FLAGS%), or the nearest where Envoy has none of its own."""


class Skip(enum.IntEnum):
    """Why a copy was not sent to a shadow, or was sent and not compared; the value is its cell (0 to 15)."""

    BODY_TOO_LARGE = 0
    BUSY = 1
    NO_CONNECTION = 2
    METHOD = 3
    TIMEOUT = 4
    CLIENT_GONE = 5
    UNREADABLE = 6
    DRAINING = 7
    NOT_MATCHED = 8
    UPGRADE = 9


SKIP_FLAGS: dict[Skip, str] = {skip: skip.name.lower().replace("_", "-") for skip in Skip}


class Repeat(enum.IntEnum):
    """What became of a request that stable was asked a second time, for its own noise; the value is its cell (0 to 15).

    Those of AGREED and DISAGREED are compared: with stable's first answer, beside the shadow's.
    """

    AGREED = 0
    DISAGREED = 1
    """In any output."""
    BUSY = 2
    """Not sent: as many are under way as may be, or live traffic needs the connections."""
    NO_CONNECTION = 3
    TIMEOUT = 4
    FAILED = 5
    UNREADABLE = 6
    UNPAIRED = 7
    """Answered, while the shadow's copy has no answer to compare: noise counts beside a candidate alone."""


REPEAT_FLAGS: dict[Repeat, str] = {repeat: repeat.name.lower().replace("_", "-") for repeat in Repeat}


class Retry(enum.IntEnum):
    """What became of an attempt after the first, or why none was made; the value is its cell (0 to 8).

    Each attempt that ends counts once in RESENT to ABANDONED, each failure that could have been tried again and was not
    once in the others.
    """

    RESENT = 0
    """The pooled connection was stale, which is nobody's failure: the request went out again at once."""
    SUCCEEDED = 1
    """The client has the answer of this attempt: it does not see that the first one failed."""
    FAILED = 2
    ABANDONED = 3
    """The client left, or the rest of its request could not be read."""
    EXHAUSTED = 4
    OVER_BUDGET = 5
    NOT_REPLAYABLE = 6
    """The body was too large to be kept."""
    METHOD = 7
    """The request may have been acted upon, and its method does not say that this may happen twice."""
    LATE = 8
    """The time of the whole request would be over."""


RETRY_FLAGS: dict[Retry, str] = {retry: retry.name.lower().replace("_", "-") for retry in Retry}
ATTEMPTED: tuple[Retry, ...] = (Retry.RESENT, Retry.SUCCEEDED, Retry.FAILED, Retry.ABANDONED)
"""Results of attempts that were made; the others are reasons why none was."""


def counts_against(fault: Fault, status: int) -> bool:
    """Whether an outcome is an error of the version that served it.

    True for a fault that counts, and for any answer of status 500 and above. A 4xx is the client's doing.
    """
    return FACTS[fault].counts or status >= 500
