"""What clients may ask of a worker: sizes, times and numbers, each with a default that holds without being set."""

from __future__ import annotations

from typing import Annotated

from config.values.durations import duration
from config.values.numbers import whole
from config.values.section import Section

ClientWaitS = Annotated[float, duration(1.0, 86_400)]


class Limits(Section):
    """What clients may ask for. A change is live at once, for open connections too."""

    max_head_bytes: Annotated[int, whole(1024, 1 << 20)] = 64 << 10
    """Target and header fields of a request together; beyond it the answer is 431. nginx and Envoy stop at 32 and
    60 KiB; tokens and cookies of large sites come close to that."""

    max_headers: Annotated[int, whole(1, 10_000)] = 200
    """Header fields of a request; beyond it the answer is 431. Envoy stops at 100; each field costs time in every
    match."""

    max_target_bytes: Annotated[int, whole(64, 1 << 20)] = 16 << 10
    """Path and query of a request; beyond it the answer is 414. RFC 9112 asks for at least 8000."""

    head_timeout: ClientWaitS = 15.0
    """From the first byte of a request to the end of its head; later the answer is 408. A head is one or two packets,
    unless somebody means harm. Exact to a second."""

    body_timeout: ClientWaitS = 10.0
    """How long a body may stand still; later the answer is 408. While a backend is too slow to take it the time of the
    route counts. A steady upload may last as long as it likes, unless there is a `minBodyRate`."""

    min_body_rate: Annotated[int, whole(0, 1 << 30)] = 0
    """Bytes per second that a body has to come at, on average, after `bodyTimeout`; if it is slower the answer is 408.
    Against clients that send a byte now and then to hold a connection. Time in which they are not read, since a backend
    is slow, does not count, and nor does that after an answer has begun. 0 is no limit; 100 is below any network that
    still works. Exact to a second."""

    keep_alive_idle: ClientWaitS = 75.0
    """A connection without a request is closed after this time, as in nginx. Keep it above that of a load balancer in
    front, which is often 60s, so that it is the one that closes."""

    max_connections: Annotated[int, whole(1, 1_000_000)] = 16_384
    """Connections of clients per worker; one more is closed at once, and counted as turned away. Once fewer than a
    sixteenth are left, those that have been idle for longest are closed to make room. An idle one takes some 12 KiB and
    one descriptor of those that `ulimit -n` allows."""

    max_connections_per_address: Annotated[int, whole(0, 1_000_000)] = 0
    """The same for one client address and worker, where all addresses of an IPv6 /64 are one; 0 is no limit, since
    behind a load balancer all connections come from a few addresses. It does not hold for `trustedProxies`."""
