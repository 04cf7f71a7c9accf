"""What the admin API answers about the process, member by member: as `documents`, for what is of no single route."""

from __future__ import annotations

from typing import Literal

from config.listeners.access import Role
from proxy.admin.configured import ConfigProblem
from proxy.admin.document import Count, Document, Moment
from proxy.admin.documents import Summary


class Me(Document):
    """Who asks."""

    name: str
    """Of the token or the certificate; empty where none is asked for."""
    role: Role
    actor: str
    """What the journal calls whoever gives a command like this."""


class LastError(Document):
    """Why the file was refused."""

    at: Moment
    problems: list[ConfigProblem]


class LiveConfig(Document):
    """The configuration that is live."""

    path: str
    digest: str
    loaded_at: Moment
    generation: Count
    last_error: LastError | None


class StoreState(Document):
    """The store, and why it fails."""

    url: str
    instance: str
    """Whose state it is."""
    error: str | None
    bytes: Count | None
    """What it takes; null before it was looked at. It is looked at once a minute."""
    max_bytes: Count | None
    removed: dict[str, Count]
    """What retention took away since the start: recordings, evidence, configs, entries (of the journal), captures."""


class Worker(Document):
    """A worker by its own cells."""

    index: Count
    pid: int
    generation: Count
    connections: int
    in_flight: int
    alive: bool


class EndpointState(Document):
    """How an endpoint stands."""

    address: str
    state: Literal["healthy", "unhealthy", "ejected", "unknown"]
    reason: str
    since: Moment | None
    checked_at: Moment | None
    in_flight: int
    ejected_by: Count
    ejected_until: Moment | None
    ejections: Count
    share: float
    out: Literal["", "leaving", "stopped", "starting"]
    """Of an endpoint that a rollingUpdate replaces and that gets no request: how far that is."""


class Backend(Document):
    """A backend with its endpoints. `panic` counts the workers that ignore their health."""

    name: str
    panic: Count
    endpoints: list[EndpointState]


class Injected(Document):
    """A fault that is injected on purpose."""

    route: str
    injects: str


class Difference(Document):
    """Where what is live is not what the file says."""

    route: str
    text: str
    remedy: str


class Status(Document):
    """The process, its configuration, store and workers, the endpoints of backends, a summary of each route."""

    version: str
    pid: int
    started_at: Moment
    config: LiveConfig
    store: StoreState
    workers: list[Worker]
    backends: list[Backend]
    routes: list[Summary]
    restart_needed: list[str]
    differences: list[Difference]
    fault_injection: list[Injected]
