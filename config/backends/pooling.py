"""How many connections a backend is given, and who waits for them."""

from __future__ import annotations

from typing import Annotated

from config.values.durations import duration
from config.values.numbers import whole
from config.values.section import Section


class ConnectionPool(Section):
    """Connections to a backend. All bounds are per worker and endpoint. A change opens new connections; those in use
    are closed once their answers are out."""

    max_connections: Annotated[int, whole(1, 65_536)] = 1024
    """Connections at a time, each with one request. Lower it to what the model server takes: beyond that a queue here
    is better than one there, as it has an end."""

    max_pending_requests: Annotated[int, whole(0, 1_000_000)] = 1024
    """Requests that may wait for a connection; what comes beyond is answered 503 with Retry-After, and counts against
    the version. As in Envoy, as many as there are connections: the wait is then about one answer's time."""

    max_requests_per_connection: Annotated[int, whole(0, 1_000_000_000)] = 0
    """After so many requests a connection is closed, such as to spread load over new replicas behind a service address;
    0 is no bound."""

    idle_timeout: Annotated[float, duration(0.1, 86_400)] = 55.0
    """Idle connections are closed after this. Keep it below what the model server does; many close after 60s."""
