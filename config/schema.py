"""The one definition of every setting: what the file may say, its defaults, and what each key means.

Keys are camelCase in the file and snake_case here. Durations are seconds (floats), percents are 0 to 100, addresses and
margins are small types of their own. A `Config` comes from `config.loader`, which also checks what the parts must
agree upon.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.backends.balancing import LoadBalancer
from config.backends.health import HealthCheck, OutlierDetection
from config.backends.pooling import ConnectionPool
from config.backends.reaching import BackendTls, Dns
from config.listeners.access import Admin
from config.listeners.access_log import AccessLog
from config.listeners.limits import Limits
from config.listeners.listening import Listen
from config.listeners.storing import Store
from config.rollouts.metrics import Analysis
from config.rollouts.strategy import Strategy
from config.routes.answers import ResponseHeaders
from config.routes.capture import Capture
from config.routes.fault_injection import FaultInjection
from config.routes.feedback import Feedback
from config.routes.hold import Hold
from config.routes.mirror_headers import MirrorHeaders
from config.routes.predictions import Predictions
from config.routes.rate_limits import RateLimit
from config.routes.repeating import Repeat
from config.routes.retries import Retries
from config.routes.webhooks import Webhook
from config.values.addresses import Endpoint
from config.values.durations import duration, format_duration
from config.values.matching import Match, Method, SessionAffinity
from config.values.names import Name, Text
from config.values.numbers import Percent, whole
from config.values.problems import Finding
from config.values.section import Section, refusals

DurationS = Annotated[float, duration(0.001, 86_400)]
DelayS = Annotated[float, duration(0.0, 3600)]
Weight = Annotated[int, whole(0, 1_000_000)]
LiveRole = Literal["stable", "canary", "baseline", "shadow"]


class Backend(Section):
    """One deployed version of a model."""

    name: Name = Field(examples=["fraud-v2"])
    """Its name in routes, metrics and reports."""

    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=1, max_length=64)] = Field(
        examples=["[http://10.0.0.11:8080]"]
    )
    """Where it answers, one or more: `http://host:port`, `https://host:port` or `unix:/PATH` of a Unix-domain socket. A
    host is an address or a name; IPv6 addresses stand in brackets."""

    version: Text | None = None
    """What is deployed there, such as a build or an image digest. A new text is a new version: its rollout begins
    again, with fresh evidence."""

    connection_pool: ConnectionPool = ConnectionPool()
    """How many connections it is given."""

    load_balancer: LoadBalancer = LoadBalancer()
    """Which of its endpoints serves next."""

    health_check: HealthCheck | None = None
    """How its endpoints are asked whether they are well. Without it they are not."""

    outlier_detection: OutlierDetection | None = None
    """When an endpoint is left out because its answers fail. Without it none is."""

    tls: BackendTls | None = None
    """How its https endpoints are made sure of. Without it the authorities of the system have to vouch for them."""

    dns: Dns = Dns()
    """How names of its endpoints are resolved."""

    @model_validator(mode="after")
    def _tls_has_a_use(self) -> Self:
        if self.tls is not None and all(endpoint.scheme != "https" for endpoint in self.endpoints):
            remedy = "write https:// in `endpoints`, or take `tls` away"
            raise refusals(Finding(("tls",), "has no endpoint to apply to: none is https", remedy))
        return self

    def digest(self) -> str:
        """What identifies this version (16 hex digits): evidence and decisions belong to it, and how it is reached may
        change without a new version."""
        facts = self.model_dump(mode="json", by_alias=True, include={"name", "endpoints", "version"})
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class BackendRef(Section):
    """A version that plays a part in a route."""

    name: Name = Field(examples=["fraud-v2"])
    """The name of a backend."""

    role: LiveRole = "stable"
    """stable: serves. canary: a candidate of the strategy; a `canary` takes several at once. baseline: a fresh instance
    of stable's version, which gets as much of stable's traffic as a candidate does, and with which candidates are
    compared in place of stable; it serves nobody but in the steps of a `canary`. shadow: gets a copy of every
    request."""

    weight: Weight | None = None
    """Its share of live traffic relative to the other weights of a route without a strategy."""


class MirrorRef(Section):
    """A version that gets copies of a route's requests. Its answers reach nobody, and it can slow down nobody."""

    backend: Name = Field(examples=["fraud-v3"])
    """The name of a backend. For the candidate of a strategy this says how copies are made; when and how many is said
    by the steps."""

    percent: Percent = 100.0
    """How much of what stable versions serve is copied; after a promotion, of what the promoted version serves."""

    methods: Annotated[tuple[Method, ...], Field(min_length=1, max_length=8)] = ("GET", "HEAD", "POST")
    """Requests with other methods are not copied."""

    timeout: DurationS = 10.0
    """How long a copy may take."""

    max_concurrency: Annotated[int, whole(1, 100_000)] = 64
    """Copies in flight per worker; what comes beyond is skipped and counted."""

    max_body_bytes: Annotated[int, whole(0, 1 << 30)] = 1 << 20
    """Requests with a larger body are not copied, and counted."""

    match: Annotated[tuple[Match, ...], Field(max_length=64)] = ()
    """Which of the route's requests are copied: one of these must hold, on top of `methods`, and `percent` is of those.
    Without it, and with the protocol open-inference, inference alone is (`POST …/infer`, `…/generate`,
    `…/generate_stream`), since a shadow would also load and unload models. With no protocol or json nobody can say what
    is inference, and every request of the route is copied: name its paths where a route takes more than these."""

    repeat: Repeat | None = None
    """For a model that answers the same request in different ways: stable is asked some of them a second time, byte by
    byte as they are copied, and `pair` metrics count only what a candidate differs beyond that. Copies go out when the
    client has its answer, with `timeout` and `maxConcurrency` of this mirror, and only while stable needs less than
    half of its connections. Where a candidate has all traffic and stable its copies, nothing is asked twice. Without
    `repeat` the noise of stable is taken as 0."""

    headers: MirrorHeaders = MirrorHeaders()
    """What is changed in the header of a copy. `x-understudy-shadow: true` is there in any case."""


class Timeouts(Section):
    """How long things may take."""

    request: DurationS = 10.0
    """From the request to the first byte of the answer. A long stream is not cut by it."""

    first_byte: DurationS | None = None
    """From the request sent whole to the first byte of the answer: unlike `request` it leaves out the wait for a
    connection, and cannot be longer. Without it `request` alone counts."""

    connect: DurationS = 1.0
    """To make a connection to a backend."""

    stream_idle: DurationS = 60.0
    """How long an answer that has begun may stand still."""

    tunnel_idle: DurationS = 3600.0
    """How long a tunnel (WebSocket, or what else a request upgraded to) may be silent in both directions before it is
    closed. Unlike an answer it may be silent while all is well; this only clears away what nobody will ever close."""

    @model_validator(mode="after")
    def _within_request(self) -> Self:
        parts = {"connect": self.connect, "firstByte": self.first_byte or 0.0}
        found = [
            Finding(
                (key,),
                f"{format_duration(time_s)} is longer than request, {format_duration(self.request)}",
                "lower it, or raise `request`",
            )
            for key, time_s in parts.items()
            if time_s > self.request and (key != "connect" or "connect" in self.model_fields_set)
        ]
        if found:
            raise refusals(*found)
        return self


class Route(Section):
    """Requests that lead to one model. The first route that matches is taken."""

    name: Name = Field(examples=["fraud"])
    """Its name in the admin API, metrics and reports."""

    match: Annotated[tuple[Match, ...], Field(max_length=64)] = ()
    """Which requests: one of these must hold. Without it every request is taken."""

    backend_refs: Annotated[tuple[BackendRef, ...], Field(min_length=1, max_length=32)] = Field(
        examples=["[{name: fraud-v1}]"]
    )
    """The versions of the model."""

    session_affinity: SessionAffinity | None = None
    """What makes a user the same user next time. Without it each request is drawn by itself."""

    mirrors: Annotated[tuple[MirrorRef, ...], Field(max_length=8)] = ()
    """Versions that get copies."""

    timeouts: Timeouts = Timeouts()
    """How long things may take."""

    retries: Retries | None = None
    """When a request that failed is sent again. Without it none is, apart from those that met a connection which the
    backend closed for its age."""

    max_body_bytes: Annotated[int, whole(0, 1 << 40)] = 0
    """Requests with a larger body are answered 413. 0 is no limit: bodies are passed on as they come and take no memory
    here, and the model server knows best what it can take."""

    rate_limits: Annotated[tuple[RateLimit, ...], Field(max_length=16)] = ()
    """How many requests are let through; what comes beyond is answered 429. All of these must let a request through."""

    fault: FaultInjection | None = None
    """Faults that are injected on purpose, for game days."""

    direct_access: bool = False
    """Whether clients may ask for a version of this route by its name, shadows and candidates without traffic too, with
    the field `x-understudy-backend: NAME`; for smoke tests and debugging. Such requests are evidence neither for nor
    against any version and are not copied; they are counted apart. A name that the route does not have is answered 404.
    Whoever may send requests may then choose: leave it off where clients are strangers. Without it the field means
    nothing. It is never passed on."""

    response_headers: ResponseHeaders = ResponseHeaders()
    """What answers tell clients of the way that they came."""

    hold: Hold = Hold()
    """How requests wait while a strategy holds the route, as `recreate` does."""

    predictions: Predictions | None = None
    """What is read from answers. Without it versions are compared by errors and latency alone."""

    feedback: Feedback | None = None
    """What clients may tell later of the answers that they got: `{}` takes every default. Without it this is on where a
    metric compares what is told (`feedback.accuracy`, `feedback.logLoss`), and off where none does."""

    capture: Capture | None = None
    """Which requests are kept to be looked at, with their answers. Without it nothing of a payload is ever stored."""

    strategy: Strategy | None = None
    """How a candidate takes over. Without it the weights of `backendRefs` hold."""

    analysis: Analysis = Analysis()
    """How versions are compared."""

    webhooks: Annotated[tuple[Webhook, ...], Field(max_length=32)] = ()
    """Who is asked before the rollout goes on, and who is told of it."""

    seed: Text | None = None
    """What users are hashed with, by default the route's name. Routes with the same seed send a user to the same
    side."""

    @property
    def takes_feedback(self) -> Feedback | None:
        """What holds of feedback; None where it is off."""
        asked = any(metric.family in ("accuracy", "loss") for metric in self.analysis.metrics)
        return self.feedback or (Feedback() if asked else None)

    @property
    def cohort_seed(self) -> str:
        """The seed that holds."""
        return self.name if self.seed is None else self.seed


class Config(Section):
    """All settings of one Understudy."""

    listen: Annotated[tuple[Listen, ...], Field(min_length=1, max_length=16)] = Field(
        examples=["[{address: 0.0.0.0:8080}]"]
    )
    """Where clients come in. An address that is added, changed or taken away needs a restart; the rest of a listener is
    live at once, for new connections."""

    admin: Admin = Admin()
    """Where the admin API is, and who may do what there."""

    store: Store = Store()
    """Where state is kept, and for how long."""

    workers: Annotated[int | Literal["auto"], whole(1, 256, "auto")] = "auto"
    """Processes that serve traffic; auto is one per processor. A change needs a restart."""

    drain_delay: DelayS = 5.0
    """How long new connections are still taken after SIGTERM, while `/readyz` answers 503 and every answer tells its
    client to go elsewhere. Kubernetes and load balancers need seconds to hear that an address is gone. 0s where nothing
    balances over several of these; Ctrl-C never waits. A change needs a restart."""

    drain_timeout: DurationS = 30.0
    """How long answers that are under way may take to end after that; what is left is cut. Kubernetes kills after 30s
    in all: set terminationGracePeriodSeconds above `drainDelay` and this together. A change needs a restart."""

    limits: Limits = Limits()
    """What clients may ask for."""

    access_log: AccessLog | None = None
    """What is written of requests. Without it nothing is."""

    backends: Annotated[tuple[Backend, ...], Field(min_length=1, max_length=1024)] = Field(
        examples=["[{name: fraud-v1, endpoints: [http://10.0.0.11:8080]}]"]
    )
    """The versions that exist."""

    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=1024)] = Field(
        examples=["[{name: fraud, backendRefs: [{name: fraud-v1}]}]"]
    )
    """Which requests go where. The first route that matches is taken."""
