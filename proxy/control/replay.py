"""A rollout run again on recorded slices, under a plan and a question that may be others. Pure, on a virtual clock.

    recorded slices ─▶ Judge ─▶ look, once per interval ─▶ rollout.step

What was recorded was recorded at some weight, and says nothing of another one. So each stage of the plan takes the
slices that were recorded at its weight (and with copies, if it makes copies), from where the stage before has stopped.
Where a step is done earlier than it was then, the rest of its slices is left out and the clock stands still meanwhile:
leaving out what nobody has looked at is no selection, and every guarantee holds. Where a step needs more than was
recorded, the replay ends and says so. People who went on at a gate are taken to do so again, and so are webhooks: where
they are asked nothing is waited for. What happened beside the evidence happens again at its time: a version is lost by
its health checks, or a candidate is taken out by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from analysis import contest
from analysis.contest import Bench
from analysis.plan import Plan as Question
from analysis.summaries import Slice
from analysis.verdict import Verdict
from proxy.control import judging, race, rollout
from proxy.control.recording import Looked
from proxy.control.rollout import (
    TERMINAL,
    Abort,
    Applied,
    Checked,
    Event,
    IllegalEvent,
    Look,
    Phase,
    Record,
    Resume,
    State,
)
from proxy.control.silence import Silences
from proxy.control.steps import Plan, Smoke, ungated
from proxy.snapshot import CIRCLE

STRAGGLERS: Final = 12
"""Slices of a stage that are read after it has ended, as requests still have their grace."""
_SAME_TICK_S: Final = 0.5
"""What was decided so soon after a tick was decided by it."""
_AGAIN: Final = "the recording"
"""Who goes on at a gate."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A recorded stage: at which weight, whether copies were made, and how many slices there are."""

    stage: int
    weight_ppm: int
    mirrored: bool
    slices: int


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that would have happened: so many seconds after the begin, at this time of the recording."""

    seconds: float
    at_s: float
    what: Record


@dataclass(frozen=True, slots=True)
class Incident:
    """What decided beside the evidence, at a time of the recording: versions that could not be reached any more, and
    why; or the candidate that an operator took out."""

    at_s: float
    unwell: Mapping[str, str] = field(default_factory=dict)
    aborted: Abort | None = None


@dataclass(slots=True)
class Replay:
    """One rollout. `stopped` says why it ended undecided, "" as long as it goes on or where it was decided."""

    plan: Plan
    judge: Bench
    interval_s: float
    incidents: tuple[Incident, ...] = ()
    """Those that are still to come, in order."""
    state: State | None = None
    verdict: Verdict | None = None
    stopped: str = ""
    slices: int = 0
    skipped: int = 0
    looks: int = 0
    now_s: float = 0.0
    moments: list[Moment] = field(default_factory=list)
    _begun_s: float = 0.0
    _looked_s: float = 0.0
    _read_s: float = 0.0
    _left_out_s: float = 0.0
    _gap: bool = False
    _silent: Silences = field(default_factory=Silences)
    _unwell: dict[str, str] = field(default_factory=dict)
    _stages: dict[int, int] = field(default_factory=dict)
    """Stages of the recording, and which they are here."""

    @classmethod
    def of(cls, plan: Plan, question: Question, interval_s: float, incidents: Iterable[Incident] = ()) -> Replay:
        """A replay of a plan, with nothing seen yet."""
        return cls(ungated(plan), contest.begin(question), interval_s, tuple(incidents))

    @property
    def ended(self) -> bool:
        """Whether it is decided for good, or cannot go on."""
        return bool(self.stopped) or (self.state is not None and self.state.phase in TERMINAL)

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return self.now_s - self._begun_s

    def run(self, recorded: Sequence[tuple[Segment, Iterable[Looked]]]) -> None:
        """Go through recorded stages, in order."""
        segments = [segment for segment, _ in recorded]
        for place, (segment, found) in enumerate(recorded):
            slices = iter(found)
            first = next(slices)
            if self.state is None:
                self._begin(first)
            self._go_on_to(first.read_s)
            if self.ended:
                return
            if self._enters(segment, segments[place + 1 :]):
                self._go_through(segment, chain([first], slices))
            elif not self.stopped:
                self._leave_out(segment.slices)
        if not self._gap:
            self._go_on_to(self._read_s + STRAGGLERS)
        if not self.ended:
            self.stopped = "the recorded evidence ends here"
        if not self.slices:
            self.stopped = f"no slice of {race.names(self.plan)} was recorded"

    # --- which slices
    def _enters(self, segment: Segment, later: Sequence[Segment]) -> bool:
        """Whether the stage that the plan is at takes the slices of a recorded one."""
        if self._fits(segment):
            return True
        if any(self._fits(each) for each in later):
            return False
        state = self.state
        assert state is not None
        if state.phase is Phase.PAUSED:
            try:
                self._step(Resume(_AGAIN))
            except IllegalEvent:
                return False
            return self._enters(segment, later)
        self.stopped = (
            f"the evidence that was recorded at weight {state.weight_ppm / 10_000:g} %"
            f"{' with copies' if state.mirror_ppm else ''} ends before step {state.step + 1} is done"
        )
        return False

    def _fits(self, segment: Segment) -> bool:
        state = self.state
        assert state is not None
        return (segment.weight_ppm, segment.mirrored) == (state.weight_ppm, state.mirror_ppm > 0)

    def _go_through(self, segment: Segment, slices: Iterator[Looked]) -> None:
        assert self.state is not None
        left, stage = segment.slices, self.state.stage
        for looked in slices:
            self._go_on_to(looked.read_s)
            if self.ended:
                return
            if self.state.stage != stage and self.state.race and self._fits(segment):
                stage = self.state.stage  # a candidate has left, and the others go on as they were recorded
            if self.state.stage != stage and left > STRAGGLERS:
                self._leave_out(left)
                return
            self._arrive_at(looked)
            self._stages[looked.slice.stage] = stage
            left -= 1
            slice_ = self._of_plan(_restaged(looked.slice, self._stages))
            if slice_ is None:
                continue
            self.judge.observe(slice_)
            self._silent.observe(slice_, self.state.mirror_ppm / CIRCLE)
            self.slices += 1

    def _of_plan(self, slice_: Slice) -> Slice | None:
        """The slice as one of a candidate of the plan; None for one that the plan does not have.

        Raises:
            ValueError: one candidate was recorded, and the plan has several.
        """
        if not self.plan.rivals:
            return replace(slice_, rival="") if slice_.rival in ("", self.plan.candidate) else None
        if not slice_.rival:
            raise ValueError(
                f"one candidate was recorded, and the file has {len(self.plan.rivals)}: give it one canary"
            )
        return slice_ if slice_.rival in [runner.name for runner in self.plan.rivals] else None

    def _leave_out(self, slices: int) -> None:
        self.skipped += slices
        self._gap = True

    # --- the clock
    def _begin(self, first: Looked) -> None:
        self._begun_s = self.now_s = first.slice.at_s
        self._read_s = first.read_s - first.slice.duration_s
        self._install(rollout.begin(self.plan, self.now_s))

    def _go_on_to(self, read_s: float) -> None:
        """Look at what the ticks before this one have read. Some may have read nothing, as where requests take long:
        time alone may decide there. A controller that was away for longer made no ticks."""
        if self._gap or read_s <= self._read_s:
            return
        self._look()
        until_s = min(read_s, self._read_s + STRAGGLERS)
        while until_s - self._read_s > 1.5 and not self.ended:
            self._read_s, self.now_s = self._read_s + 1.0, self.now_s + 1.0
            self._look()

    def _arrive_at(self, looked: Looked) -> None:
        """The clock of a tick: it has stood still for what was left out."""
        if self._gap:
            self._left_out_s += looked.read_s - self._read_s - looked.slice.duration_s
            self._gap = False
        self._read_s, self.now_s = looked.read_s, looked.read_s - self._left_out_s

    def _look(self) -> None:
        self._happen()
        state = self.state
        assert state is not None
        if not self.slices or state.phase in TERMINAL:
            return
        if not (self.judge.tripped or self.now_s - self._looked_s >= self.interval_s - 0.5):
            return
        self._looked_s = self.now_s
        self.looks += 1
        elapsed_s = 0.0 if state.phase is Phase.WAITING else max(0.0, self.now_s - state.started_s)
        self.verdict = self.judge.verdict(elapsed_s)
        self._silent.keep(state.racing)
        unseen_s, unseen = self._silent.unseen
        gone = {name: why for name, why in self._unwell.items() if name in state.racing}
        self._unwell = {}
        self._step(Look(self.verdict, "", self._silent.idle_s, unseen_s, unseen=unseen, unwell=gone))
        if self.state is not None and self._asks_endpoints(self.state):
            self._step(Checked(self.state.stage, self.state.step))
        if self.state is not None and self.state.phase is Phase.PROMOTING:
            self._step(Applied(self.state.stage))

    def _happen(self) -> None:
        """What has happened until now beside the evidence: who is lost is for the next look."""
        due = [each for each in self.incidents if each.at_s <= self._read_s + _SAME_TICK_S]
        self.incidents = self.incidents[len(due) :]
        for each in due:
            if each.aborted is not None:
                with contextlib.suppress(IllegalEvent):  # the plan has it not, or another one was chosen
                    self._step(each.aborted)
            self._unwell |= each.unwell

    def _asks_endpoints(self, state: State) -> bool:
        """Whether a step asks whether the candidate is well: what is recorded says that it was."""
        steps = self.plan.steps
        return state.phase not in TERMINAL and state.step < len(steps) and isinstance(steps[state.step], Smoke)

    def _step(self, event: Event) -> None:
        assert self.state is not None
        self._install(rollout.step(self.plan, self.state, event, self.now_s))

    def _install(self, decision: rollout.Decision) -> None:
        self.state, actions = decision
        self.judge = judging.bench(self.judge, self.state)
        self.moments += [Moment(self.seconds, self._read_s, action) for action in actions if isinstance(action, Record)]


def _restaged(slice_: Slice, stages: Mapping[int, int]) -> Slice:
    """A slice as one of the stages here. Truths of a stage that was left out have nothing to be compared with."""
    truths = tuple(replace(each, stage=stages[each.stage]) for each in slice_.truths if each.stage in stages)
    return replace(slice_, stage=stages[slice_.stage], truths=truths)
