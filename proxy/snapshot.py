"""DOWN: the frozen routing facts that the controller pushes and every worker holds.

A snapshot is a value. The controller compiles it from the configuration and the live state of the rollouts, gives it
the next generation number and pushes it; a worker swaps one reference and acknowledges. An exchange keeps the
snapshot that it began with until it ends, so that no request ever sees half of a change.

All that a worker would otherwise compute per request is decided here: weights are cumulative bounds over a circle of
`CIRCLE` parts, times are seconds, names are lower case.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from proxy.capture import Capture

CIRCLE: Final = 1_000_000
"""Parts of the circle that users are hashed onto: weights are exact to one part in a million."""


class Endpoint(msgspec.Struct, frozen=True):
    """One address of a backend: a host and a port, or the `path` of a Unix-domain socket."""

    host: str
    port: int
    tls: bool = False
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Tls(msgspec.Struct, frozen=True):
    """How https endpoints are made sure of. Files are named here and read by whoever connects.

    `contents` is a digest of what the files hold: other contents make another backend, with new connections.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    min_version: Literal["1.2", "1.3"] = "1.2"
    verify: bool = True
    contents: str = ""


class Balancing(msgspec.Struct, frozen=True):
    """Which endpoint serves next. Shares are parts of one; `slow_start_s` 0 is no slow start."""

    policy: Literal["roundRobin", "leastRequest"] = "roundRobin"
    slow_start_s: float = 0.0
    slow_start_share: float = 0.1
    panic_share: float = 0.5


class Outliers(msgspec.Struct, frozen=True):
    """When an endpoint is ejected, and for how long. Counts are of failures in a row; 0 is never."""

    server_errors: int = 5
    gateway_errors: int = 0
    interval_s: float = 10.0
    ejection_s: float = 30.0
    max_ejection_s: float = 300.0
    max_ejected_share: float = 0.5
    min_health_share: float = 0.0


class Backend(msgspec.Struct, frozen=True):
    """One deployed version of a model. `max_connections` and `max_pending` are per worker and endpoint.

    `max_requests` is what one connection serves; 0 is no bound. `dns_refresh_s` is how often names are resolved.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    idle_timeout_s: float = 55.0
    max_connections: int = 1024
    max_pending: int = 1024
    max_requests: int = 0
    balancing: Balancing = Balancing()
    outliers: Outliers | None = None
    tls: Tls = Tls()
    dns_refresh_s: float = 5.0


class StringMatch(msgspec.Struct, frozen=True):
    """How a text must look. A regex must match the whole text, as in the Gateway API; a suffix is its end."""

    kind: Literal["exact", "prefix", "suffix", "regex"]
    value: str


class NamedMatch(msgspec.Struct, frozen=True):
    """A header field, query parameter or cookie that must be there and match."""

    name: str
    match: StringMatch


class Match(msgspec.Struct, frozen=True):
    """Conditions that must all hold. A path prefix matches whole segments: `/a` matches `/a/b` and not `/ab`."""

    path: StringMatch | None = None
    method: str | None = None
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    cookies: tuple[NamedMatch, ...] = ()


class Key(msgspec.Struct, frozen=True):
    """Where the key of a sticky user is read: the first source of a route's list that is present is used."""

    source: Literal["header", "cookie", "queryParam", "sourceIp"]
    name: str = ""


class RowRef(msgspec.Struct, frozen=True):
    """A row of the ledger and the tenant (one stage of one backend in one route) that it is lent to.

    Index -1 means that nothing is recorded.
    """

    index: int = -1
    tenant: int = 0


class Arm(msgspec.Struct, frozen=True):
    """A version that live traffic of a route can meet. `backend` indexes `Snapshot.backends`."""

    backend: int
    row: RowRef = RowRef()
    mirrored: bool = True
    """Whether copies are made of what it serves: a candidate under judgement is not copied to a shadow."""
    role: str = ""


class Segment(msgspec.Struct, frozen=True):
    """A part of the circle, from the previous segment's bound up to `upper` (exclusive), and the arm that owns it."""

    upper: int
    arm: int


class Mirror(msgspec.Struct, frozen=True):
    """A version that is sent copies. `share` is in parts of `CIRCLE`. Its answers never reach a client.

    `repeat_share` is the part of the copies whose request the live version is asked a second time. Copies are made of
    requests for which one of `matches` holds; none given means all. Names of header fields are in lower case.
    """

    backend: int
    share: int
    row: RowRef = RowRef()
    methods: tuple[str, ...] = ("GET", "HEAD", "POST")
    timeout_s: float = 10.0
    max_concurrency: int = 64
    max_body_bytes: int = 1 << 20
    matches: tuple[Match, ...] = ()
    set_headers: tuple[tuple[str, str], ...] = ()
    remove_headers: tuple[str, ...] = ()
    repeat_share: int = 0


class RateLimit(msgspec.Struct, frozen=True):
    """A token bucket per key: `requests` come in evenly over `per_s`, and it holds up to `burst`.

    Requests for which one of `matches` holds are counted; none given means all. `keys` empty means one bucket for all.
    """

    requests: int
    per_s: float
    burst: int
    keys: tuple[Key, ...] = ()
    matches: tuple[Match, ...] = ()
    max_keys: int = 10_000


class Injection(msgspec.Struct, frozen=True):
    """Faults that are injected on purpose; shares are in parts of `CIRCLE`.

    `backend` indexes `Snapshot.backends`; below 0 faults come before a version is chosen.
    """

    delay_s: float = 0.0
    delay_share: int = 0
    abort_status: int = 0
    abort_share: int = 0
    backend: int = -1
    matches: tuple[Match, ...] = ()


class TableRef(msgspec.Struct, frozen=True):
    """A table of label texts in the ledger, and the (route, output) that it is lent to."""

    index: int = -1
    tenant: int = 0


class Output(msgspec.Struct, frozen=True):
    """One prediction to read from each answer. `path` is used by the `json` protocol: names and list indexes.

    `privacy` is what becomes of labels before they are written down; hash and mask need `Snapshot.label_key`, and drop
    has no table.
    """

    name: str
    kind: Literal["category", "number"]
    path: tuple[str | int, ...] = ()
    low: float = 0.0
    high: float = 1.0
    tolerance: float = 0.0
    table: TableRef = TableRef()
    privacy: Literal["keep", "hash", "mask", "drop"] = "keep"


class Predictions(msgspec.Struct, frozen=True):
    """How predictions are read from the answers of a route."""

    protocol: Literal["open-inference", "json"]
    outputs: tuple[Output, ...]
    max_body_bytes: int = 1 << 20


Condition = Literal["connect-failure", "refused-stream", "reset", "gateway-error", "5xx"]
CONDITIONS: Final[tuple[Condition, ...]] = get_args(Condition)


class Retries(msgspec.Struct, frozen=True):
    """When a failed attempt of a route's request is made again: what failures, how often, of which methods.

    `statuses` are answers that count as such failures beside those that `conditions` name. `try_timeout_s` 0 is no
    limit for one attempt but that for all. Of requests in flight `budget_share` may be retries, and `budget_floor` in
    any case; both are per worker and backend.
    """

    attempts: int
    conditions: tuple[Condition, ...]
    statuses: tuple[int, ...] = ()
    methods: tuple[str, ...] = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
    try_timeout_s: float = 0.0
    base_interval_s: float = 0.025
    max_interval_s: float = 0.25
    budget_share: float = 0.2
    budget_floor: int = 3


class Hold(msgspec.Struct, frozen=True):
    """How requests of a route wait, in each worker. `at_least_s` is how long the hold takes at least, 0 if unknown;
    `release_rate` is per second, of all workers together. The first of `priorities` comes first."""

    max_requests: int = 1000
    max_bytes: int = 64 << 20
    timeout_s: float = 30.0
    at_least_s: float = 0.0
    release_rate: float = 20.0
    priorities: tuple[tuple[Match, ...], ...] = ()


class Route(msgspec.Struct, frozen=True):
    """A match that leads to one model. `segments` cover the circle; `keys` empty means a fresh draw per request.

    `first_byte_s` 0 is no limit but that of `request_timeout_s`. `direct` index the backends that a client may ask for;
    `names_backend` and `server_timing` say what answers tell of the way that they came. While there is a
    `hold`, no request goes on.
    """

    name: str
    matches: tuple[Match, ...]
    arms: tuple[Arm, ...]
    segments: tuple[Segment, ...]
    seed: int
    keys: tuple[Key, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    connect_timeout_s: float = 1.0
    request_timeout_s: float = 10.0
    stream_idle_s: float = 60.0
    tunnel_idle_s: float = 3600.0
    first_byte_s: float = 0.0
    max_body_bytes: int = 0
    predictions: Predictions | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    retries: Retries | None = None
    injection: Injection | None = None
    feedback: bool = False
    """Whether answers are named, so that truths can be told of them."""
    direct: tuple[int, ...] = ()
    names_backend: bool = True
    server_timing: bool = False
    hold: Hold | None = None
    capture: Capture | None = None


class Limits(msgspec.Struct, frozen=True):
    """What clients may ask of a worker. `max_connections_per_address` and `min_body_rate` (bytes/s) 0 are no limit."""

    max_head_bytes: int = 64 << 10
    max_headers: int = 200
    max_target_bytes: int = 16 << 10
    head_timeout_s: float = 15.0
    body_timeout_s: float = 10.0
    keep_alive_idle_s: float = 75.0
    max_connections: int = 16_384
    max_connections_per_address: int = 0
    min_body_rate: int = 0


class Certificate(msgspec.Struct, frozen=True):
    """What a listener shows: two files, which workers read, and the host names of the certificate."""

    cert_file: str
    key_file: str
    names: tuple[str, ...] = ()


class ServerTls(msgspec.Struct, frozen=True):
    """TLS with clients. `contents` is a digest of what the files hold: other contents are shown to new connections."""

    certificates: tuple[Certificate, ...]
    min_version: Literal["1.2", "1.3"] = "1.2"
    client_ca_file: str = ""
    ciphers: str = ""
    contents: str = ""


class Listener(msgspec.Struct, frozen=True):
    """How clients come in on one listening socket. `closed` takes none: nothing is known of it.

    `trusted` are the networks of proxies whose word about a client is taken, or `unix`. With `proxy_protocol` each
    connection begins with a PROXY header.
    """

    address: str = ""
    closed: bool = False
    trusted: tuple[str, ...] = ()
    proxy_protocol: bool = False
    tls: ServerTls | None = None


class AccessLog(msgspec.Struct, frozen=True):
    """What is written of requests. `share` is in parts of `CIRCLE`; names of header fields are in lower case."""

    path: str
    share: int
    errors_always: bool = True
    headers: tuple[str, ...] = ("user-agent",)
    query: bool = False
    max_buffer_bytes: int = 4 << 20


class Snapshot(msgspec.Struct, frozen=True):
    """All that a worker needs to know. Routes are in order of precedence: the first that matches wins.

    `listeners` are in the order of the sockets that the worker inherits.
    `unhealthy` are (backend, endpoint) by number. It is no part of `Backend`: what is equal there keeps its pools.
    `out` are likewise those that no request goes to, well or not: they are being replaced.
    `feedback_key` seals the names of answers (`proxy.answer_id`); it is empty where no route wants them. `label_key` is
    what labels are hashed with; it is empty where none are, and as long as the store that has it was never read.
    """

    generation: int
    backends: tuple[Backend, ...] = ()
    routes: tuple[Route, ...] = ()
    digest: str = ""
    limits: Limits = Limits()
    listeners: tuple[Listener, ...] = (Listener(),)
    unhealthy: tuple[tuple[int, int], ...] = ()
    out: tuple[tuple[int, int], ...] = ()
    access_log: AccessLog | None = None
    feedback_key: bytes = b""
    label_key: bytes = b""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """The snapshot in its wire form (MessagePack)."""
    return _ENCODER.encode(snapshot)


def decode(data: bytes) -> Snapshot:
    """The snapshot of a wire form.

    Raises:
        msgspec.DecodeError: the bytes are not a snapshot of this release.
    """
    return _DECODER.decode(data)
