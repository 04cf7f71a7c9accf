"""What answers tell clients of the proxy, in header fields of its own."""

from __future__ import annotations

from config.values.section import Section


class ResponseHeaders(Section):
    """What answers tell clients of the way that they came."""

    backend: bool = True
    """`x-understudy-backend`, the version that answered. Without it nobody sees from outside that there are several."""

    server_timing: bool = False
    """`Server-Timing` with two durations in milliseconds, which browsers and tracing tools show: `understudy` is the
    time from the request to the attempt that was answered (waits for a connection and earlier attempts included),
    `backend` the time from there to the first byte of its answer. It is added to what the backend says there."""
