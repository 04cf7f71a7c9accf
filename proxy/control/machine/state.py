"""The words of a rollout: its phases and its state, the events that reach it, and the actions that it asks for."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from proxy.control.machine.gates import UNASKED, Answers
from proxy.control.machine.places import Places
from proxy.snapshot import CIRCLE

if TYPE_CHECKING:
    from analysis.verdict import Verdict


class Phase(enum.StrEnum):
    """Where a rollout stands."""

    WAITING = "Waiting"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    BAKING = "Baking"
    SWAPPING = "Swapping"
    REVERTING = "Reverting"
    SUCCEEDED = "Succeeded"
    ABORTED = "Aborted"
    FAILED = "Failed"


TERMINAL: Final = frozenset({Phase.SUCCEEDED, Phase.ABORTED, Phase.FAILED})
TAKEN_OVER: Final = frozenset({Phase.PROMOTING, Phase.BAKING})
"""The candidate has all of the traffic, and harm still takes it back."""


@dataclass(frozen=True, slots=True)
class Runner:
    """One of several candidates. `digest` names its version. With a verdict it has left the race: what decided that,
    why and when is said beside it."""

    name: str
    digest: str
    verdict: Literal["", "Failed", "Inconclusive", "Not chosen"] = ""
    """`Inconclusive`: an operator has taken it out."""
    decided_by: str = ""
    reason: str = ""
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A rollout at one moment; all that must survive a restart, besides the evidence.

    Times are wall clock seconds. `started_s` is the first sample's time (while Waiting: since when it waits). `step`
    counts from 0; `len(plan.steps)` is the analysis implied at the end. `stage` 0 has neither weight nor mirror. The
    mirror copies stable's requests to the candidate, or the candidate's to stable once it has all of the weight.
    `attempt` counts from 1. `verdict` "Inconclusive" while Progressing says that an operator goes on regardless.
    Where there are several candidates they are the `race`, `weight_ppm` and `mirror_ppm` are of each that is in it,
    `candidate` is the one in front, and at last the one that takes over, and `candidate_digest` names all of them.
    `baseline` is the version that stands for stable, with as much weight as the candidate; empty for none.
    `doing` is the part of a swap, of a replacement or of their reversal that goes on, since `doing_since_s`;
    `ended_reason` is why it is reverted. `places` are the endpoints of both versions, where they are replaced one by
    one. `former` is the version that has those of the candidate, where the file has another candidate meanwhile: it is
    the one to be stopped. `latched` are versions that earlier rollouts of the route have left out until a retry; that
    of this one, once it has ended, is added by the next (`latches.of` has all of them).
    """

    route: str
    stable: str
    candidate: str
    candidate_digest: str
    plan_digest: str
    phase: Phase
    verdict: Literal["", "Successful", "Failed", "Inconclusive", "Error"]
    reason: str
    decided_by: str
    step: int
    step_started_s: float
    started_s: float
    ended_s: float | None
    weight_ppm: int
    mirror_ppm: int
    stage: int
    stage_started_s: float
    paused_by: Literal["", "gate", "operator", "inconclusive"]
    attempt: int
    doing: str = ""
    doing_since_s: float = 0.0
    ended_reason: str = ""
    baseline: str = ""
    race: tuple[Runner, ...] = ()
    places: Places = ()
    former: str = ""
    latched: tuple[Runner, ...] = ()

    @property
    def racing(self) -> tuple[str, ...]:
        """The candidates that get the weight and the copies, in the order of the file."""
        if not self.race:
            return (self.candidate,)
        return tuple(runner.name for runner in self.race if not runner.verdict)

    @property
    def stopped(self) -> str:
        """The version that was stopped, wholly or in part, so that another could have its place; empty where all that
        had traffic before still run. A swap that is over leaves the time of its last part in `doing_since_s`."""
        if self.places:
            is_whole = all(place.status == "serving" for place in self.places if place.side == "stable")
        elif self.phase in (Phase.SWAPPING, Phase.REVERTING):
            is_whole = self.phase is Phase.SWAPPING and self.doing in ("hold", "drain")
        else:
            has_all = self.phase in TAKEN_OVER or (self.phase is Phase.SUCCEEDED and self.weight_ppm == CIRCLE)
            is_whole = not (has_all and self.doing_since_s)
        return "" if is_whole else self.stable


@dataclass(frozen=True, slots=True)
class Look:
    """A tick has looked at the evidence. No verdict and no error means that there was nothing to look at.

    `idle_s` is how long the route has had no request at all, `unseen_s` how long it has had requests of which enough
    should have reached the candidate (of several, `unseen`), and none has. `hooks` is what webhooks say, `room` whether
    another stage could be counted, `unwell` which candidates have no endpoint that is well any more, and why.
    """

    verdict: Verdict | None
    error: str = ""
    idle_s: float = 0.0
    unseen_s: float = 0.0
    hooks: Answers = UNASKED
    room: bool = True
    unseen: str = ""
    unwell: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """The candidate's endpoints were asked, for the `Smoke` of this stage and step. An empty `failure`: all is well."""

    stage: int
    step: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Swapped:
    """A part of a swap or replacement is done, or why it is not yet; of the part `watch`, why the candidate is not well
    any more. `hopeless`: nor will it be."""

    stage: int
    doing: str
    failure: str = ""
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Applied:
    """All live workers route by the snapshot of this stage."""

    stage: int


@dataclass(frozen=True, slots=True)
class Promote:
    """An operator wants one step further, or (full) the candidate to take over now, of several the one of this name."""

    actor: str
    full: bool = False
    candidate: str = ""


@dataclass(frozen=True, slots=True)
class Abort:
    """An operator ends the rollout: all traffic back to stable. With a name, that of this candidate alone."""

    actor: str
    reason: str = ""
    candidate: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator wants the rollout to stand still."""

    actor: str


@dataclass(frozen=True, slots=True)
class Resume:
    """An operator wants a paused rollout to go on."""

    actor: str


@dataclass(frozen=True, slots=True)
class Retry:
    """An operator wants an ended rollout to begin again."""

    actor: str


@dataclass(frozen=True, slots=True)
class Undo:
    """An operator takes a promotion back: all traffic to the version that was stable before."""

    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Away:
    """How long nobody has watched a rollout that is taken up again, and by how much the clock was set since it began to
    be measured: known where the machine has run on, and 0 where it has not."""

    seconds: float = 0.0
    stepped_s: float = 0.0


NOT_AWAY: Final = Away()

Event = Look | Checked | Swapped | Applied | Promote | Abort | Pause | Resume | Retry | Undo


@dataclass(frozen=True, slots=True)
class Route:
    """Weights or mirrors are (perhaps) new: compile and push."""


@dataclass(frozen=True, slots=True)
class Record:
    """Something for the journal. `facts` are what decided beside the evidence, from which it can be decided again:
    `unwell` (versions that could not be reached any more, and why), or `aborted` or `latched` (a `candidate` that was
    taken out, or was out already, and the `reason`)."""

    kind: str
    text: str
    actor: str = "rollout"
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the webhooks of these gates asked; it changes nothing that has to be kept."""

    gates: frozenset[str]


Action = Route | Record | Ask


class IllegalEvent(Exception):  # noqa: N818 - named for what it is about, as the event itself is
    """An event that makes no sense in the state. Nothing has changed."""

    def __init__(self, state: State, event: Event, remedy: str) -> None:
        verb = type(event).__name__.lower()
        super().__init__(f"route {state.route}: {verb} is refused while {state.phase}: {remedy}")
        self.state = state
        self.event = event
        self.remedy = remedy


Decision = tuple[State, tuple[Action, ...]]
"""The next state, and what to do once it is kept."""
