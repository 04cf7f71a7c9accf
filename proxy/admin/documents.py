"""What the admin API answers, member by member: the models of the OpenAPI document.

Answers are made by the controller's own views, not from these models, so that a reader of the code finds one way from
a fact to its place in an answer. The tests hold real answers to the models, in both directions: no member that is not
described, none that is described and missing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from config.values.described import Described
from proxy.admin.document import Count, Document, Moment, Percent
from proxy.admin.latched import Latched


class Problem(Described):
    """An error (RFC 9457). Some have more members."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    type: str
    """What kind of error, for machines: `urn:understudy:problem:KIND`."""
    title: str
    """The status in words."""
    status: Annotated[int, Field(ge=400, le=599)]
    """The status."""
    detail: str
    """What is wrong, and what to do about it."""
    instance: str
    """The path that was asked for."""


class Health(Document):
    """That all is well."""

    status: Literal["ok", "ready"]


class Entry(Document):
    """A line of the journal."""

    id: Count
    at: Moment
    route: str
    """Empty for what concerns all of them."""
    kind: str
    actor: str
    text: str
    details: dict[str, Any]
    """Of a decision: the state that it led to, and the numbers that it was made on."""
    config: str
    """The digest of the configuration that was live; empty in entries of releases that did not say."""
    hash: str
    """Covers the entry, and the hash of the one before."""


class Page(Document):
    """Entries of the journal, newest first."""

    entries: list[Entry]
    next_before: Annotated[int, Field(ge=1)] | None
    """`before` of the next page; null on the last one."""
    next: str | None
    """Where the next page is; null on the last one."""


class Summary(Document):
    """A route and its rollout in a line."""

    name: str
    strategy: str
    """The key under `strategy` in the file; empty where the route has no rollout."""
    stable: str
    candidate: str
    """Of several the one that is in front: the best proven, or the first that is in the race."""
    racing: list[str]
    """Of several candidates those that are in the race; empty where there is one."""
    phase: str
    verdict: str
    winner: Literal["", "candidate", "stable", "none"]
    """Of an abTest that has ended."""
    reason: str
    step: Count
    steps: list[str]
    stage: Count
    weight: Percent
    mirror: Percent


class Routes(Document):
    """All routes, in order of precedence."""

    routes: list[Summary]


class Quantiles(Document):
    """Latencies in milliseconds."""

    p50: float | None
    p95: float | None
    p99: float | None


class Numbers(Document):
    """A predicted number."""

    mean: float
    sd: float
    n: float


class ArmFeedback(Document):
    """What was told of the answers of a version, over the whole rollout."""

    truths: Count
    wrong: Annotated[float, Field(ge=0, le=1)] | None
    """Share of those that are known to be right or wrong."""
    log_loss: float | None
    """Mean."""


class Feedback(Document):
    """How truths come in."""

    window: float
    """How long after its request a truth is taken, in seconds."""
    waiting: Count
    """Truths that were taken, and that no slice of the evidence holds yet."""


class Arm(Document):
    """A version in a role."""

    backend: str
    role: str
    weight: Percent
    requests: Count
    failed: Count
    """Requests whose first attempt failed: what is judged."""
    failed_to_clients: Count
    late: Count
    lost: Count
    in_flight: int
    users: Count | None
    statuses: dict[str, int]
    faults: dict[str, int]
    retries: dict[str, int]
    skips: dict[str, int]
    repeats: dict[str, int]
    """Of a shadow: requests that stable was asked a second time, by what became of it."""
    latency_ms: Quantiles
    labels: dict[str, dict[str, float]]
    numbers: dict[str, Numbers]
    feedback: ArmFeedback | None
    """Null where no truths are told."""


class EndpointPlace(Document):
    """An endpoint of a version that is replaced, or that takes its place."""

    backend: str
    address: str
    status: Literal["serving", "warming", "leaving", "stopped", "starting"]
    """warming: it serves, and starts slowly. leaving: no request goes there any more, and those under way end."""


class Metric(Document):
    """What the evidence says of one metric."""

    name: str
    kind: str
    role: str
    weight: float
    unit: str
    stable: float | None
    candidate: float | None
    effect: float | None
    low: float | None
    high: float | None
    margin: str
    effective_margin: str
    subject: str
    """What the numbers are about, of a category the label that differs most; else empty."""
    control: str = "stable"
    """What `stable` and `nStable` are of: stable, or baseline. Verdicts that an earlier release kept do not say."""
    evidence_harm: float | None
    evidence_pass: float | None
    needed_pass: float | None
    n_stable: float
    n_candidate: float
    n_effective: float
    passed: bool
    harmed: bool
    text: str


class Ratio(Document):
    """Whether traffic is split as it should be."""

    evidence: float | None
    flagged: bool
    expected_share: float | None
    observed_share: float | None
    checked: str
    text: str


class Confusion(Document):
    """Stable's labels in rows, the shadow's in columns."""

    rows: list[str]
    cells: list[list[int]]


class Pair(Document):
    """How often both versions gave the same answer."""

    compared: Count
    disagreed: Count
    repeated: Count
    """Those of the compared whose request stable was asked a second time."""
    stable_disagreed: Count
    """Those of them where stable differs from itself."""
    confusion: Confusion


class Pairs(Document):
    """Requests that both versions answered."""

    compared: Count
    outputs: dict[str, Pair]


class Distance(Document):
    """How far the two versions are apart in one metric: sizes for people; two are of values in order."""

    name: str
    psi: float
    jensen_shannon: float
    wasserstein: float | None
    ks: float | None


class Webhook(Document):
    """A webhook of a route, and what came of it."""

    name: str
    type: str
    answer: str
    """What it answered last, in words; empty before it was asked, and where it is only told."""
    answered_at: Moment | None
    waiting: Count
    """What it has yet to be told."""
    told: Count
    given_up: Count
    """Since the controller began."""


class Held(Document):
    """Requests of a route that is or was held, in all workers since the process began."""

    waiting: Count
    """How many wait now."""
    total: Count
    """How many had to wait; each ends in one of the next four, unless its worker dies."""
    released: Count
    expired: Count
    """Their time was over before the hold was."""
    displaced: Count
    """They gave way to one of a higher priority."""
    left: Count
    """Their clients went away."""
    refused: Count
    """How many could not wait at all, for want of room or of time."""


class Ramp(Document):
    """What a weight that rises by evidence has cost, and may be. Shares are fractions."""

    budget: float
    spent: float
    worst: Annotated[float, Field(ge=0, le=1)]
    """The largest share of the candidate's requests that may be bad, as far as evidence tells."""
    at_stake: float
    """What would be spent before a decision takes effect, if it is that bad."""
    allowed: Annotated[float, Field(ge=0, le=1)]
    next: float | None
    needed: float | None
    """How low `worst` must be for the next weight."""
    wait_s: float | None
    per_second: float
    evidence: float
    evidence_needed: float
    text: str


class Bound(Document):
    """Effects of a metric beyond which it is harm, in its unit; null for a side that does none."""

    low: float | None
    high: float | None


class Evidence(Document):
    """What the evidence says of a candidate."""

    metrics: list[Metric]
    bounds: dict[str, Bound]
    """By the name of the metric."""
    ratio: Ratio | None
    missing: list[str]
    forecast_seconds: float | None
    abort_evidence: float | None
    abort_needed: float | None


class Candidate(Evidence):
    """One of several candidates, and what the evidence says of it alone."""

    name: str
    racing: bool
    weight: Percent
    verdict: str
    """`Failed`: it has left for its harm. `Inconclusive`: an operator has taken it out (`decidedBy` is `operator`).
    `Not chosen`: another one takes over. Of that one, the verdict of the rollout. Empty as long as it is open."""
    decided_by: str
    reason: str
    left_at: Moment | None
    pairs: Pairs | None


class Offer(Document):
    """A command that the rollout's phase allows, and that would change something."""

    verb: Literal["promote", "abort", "pause", "resume", "retry", "undo"]
    full: bool
    candidate: str
    """Of several candidates the one that is meant; empty for none in particular."""
    text: str
    """What would come of it, in words."""


class Route(Summary, Evidence):
    """All that is known of a route. Of several candidates metrics, ratio, missing and pairs are those of the one that
    is in front, and each has its own among `candidates`."""

    match: list[str]
    decided_by: str
    baseline: str
    """The version that stands for stable in the comparison; empty where stable itself is compared."""
    attempt: Count
    started_at: Moment | None
    stage_started_at: Moment | None
    ended_at: Moment | None
    arms: list[Arm]
    endpoints: list[EndpointPlace]
    """Of both versions, where a rollingUpdate replaces them one by one; else empty."""
    contest: str
    """What an abTest has found so far, in words."""
    ramp: Ramp | None
    """Null where the weight does not follow a budget."""
    candidates: list[Candidate]
    latched: list[Latched]
    """Empty where there is one."""
    pairs: Pairs | None
    feedback: Feedback | None
    """Null where no truths are told."""
    held: Held | None
    """Null where nothing holds the route, or ever has."""
    distances: list[Distance]
    error: str
    commands: list[Offer]
    webhooks: list[Webhook]


class Report(Route):
    """A route with its history."""

    history: list[Entry]
