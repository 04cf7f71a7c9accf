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
from analysis.summaries import Slice
from analysis.verdict import Verdict
from proxy.control.evidence import judging
from proxy.control.evidence.subject import Collected, Subject
from proxy.control.hindsight.drive import Drive, Moment
from proxy.control.machine import race
from proxy.control.machine.rollout import Abort, Action, IllegalEvent, Phase, Resume, State
from proxy.control.machine.steps import ungated
from proxy.control.storage.recording import Looked
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
class Incident:
    """What decided beside the evidence, at a time of the recording: versions that could not be reached any more, and
    why; or the candidate that an operator took out."""

    at_s: float
    unwell: Mapping[str, str] = field(default_factory=dict)
    aborted: Abort | None = None


class Replay:
    """One rollout. `stopped` says why it ended undecided, "" as long as it goes on or where it was decided.

    `subject` is a route with a plan, as configured; nothing of it has happened yet. `incidents` are in order.
    """

    def __init__(self, subject: Subject, incidents: Iterable[Incident] = ()) -> None:
        assert subject.plan is not None
        self._to_come = tuple(incidents)
        self._drive = Drive(subject, ungated(subject.plan), self._install)
        subject.collected = Collected(judge=contest.begin(subject.question))
        self.stopped = ""
        self.slices = self.skipped = 0
        self._left_out_s = 0.0
        self._gap = False
        self._stages: dict[int, int] = {}
        """Stages of the recording, and which they are here."""

    @property
    def state(self) -> State | None:
        """Where the rollout is; None before the first slice."""
        return self._drive.state

    @property
    def verdict(self) -> Verdict | None:
        """What the judge said last."""
        return self._drive.subject.verdict

    @property
    def looks(self) -> int:
        """How often it was asked."""
        return self._drive.looks

    @property
    def moments(self) -> Sequence[Moment]:
        """What would have happened."""
        return self._drive.moments

    @property
    def ended(self) -> bool:
        """Whether it is decided for good, or cannot go on."""
        return bool(self.stopped) or self._drive.decided

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return self._drive.seconds

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
            self._go_on_to(self._drive.at_s + STRAGGLERS)
        if not self.ended:
            self.stopped = "the recorded evidence ends here"
        if not self.slices:
            self.stopped = f"no slice of {race.names(self._drive.plan)} was recorded"

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
                self._drive.step(Resume(_AGAIN))
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
            if self.state.stage != stage and left > STRAGGLERS:
                if not (self.state.race and self._fits(segment)):
                    self._leave_out(left)
                    return
                stage = self.state.stage  # a candidate has left, and the others go on as they were recorded
            self._arrive_at(looked)
            self._stages[looked.slice.stage] = stage
            left -= 1
            slice_ = self._of_plan(_restaged(looked.slice, self._stages))
            if slice_ is None:
                continue
            self._judge.observe(slice_)
            self._drive.subject.silence.observe(slice_, self.state.mirror_ppm / CIRCLE)
            self.slices += 1

    def _of_plan(self, slice_: Slice) -> Slice | None:
        """The slice as one of a candidate of the plan; None for one that the plan does not have.

        Raises:
            ValueError: one candidate was recorded, and the plan has several.
        """
        plan = self._drive.plan
        if not plan.rivals:
            return replace(slice_, rival="") if slice_.rival in ("", plan.candidate) else None
        if not slice_.rival:
            raise ValueError(f"one candidate was recorded, and the file has {len(plan.rivals)}: give it one canary")
        return slice_ if slice_.rival in [runner.name for runner in plan.rivals] else None

    def _leave_out(self, slices: int) -> None:
        self.skipped += slices
        self._gap = True

    # --- the clock
    def _begin(self, first: Looked) -> None:
        self._drive.move_to(first.slice.at_s, first.read_s - first.slice.duration_s)
        self._drive.begin()

    def _go_on_to(self, read_s: float) -> None:
        """Look at what the ticks before this one have read. Some may have read nothing, as where requests take long:
        time alone may decide there. A controller that was away for longer made no ticks."""
        drive = self._drive
        if self._gap or read_s <= drive.at_s:
            return
        self._tick()
        until_s = min(read_s, drive.at_s + STRAGGLERS)
        while until_s - drive.at_s > 1.5 and not self.ended:
            drive.move_to(drive.now_s + 1.0, drive.at_s + 1.0)
            self._tick()

    def _tick(self) -> None:
        self._happen()
        if self.slices:
            self._drive.tick()

    def _happen(self) -> None:
        """What has happened until now beside the evidence: who is lost is for the next look."""
        due = [each for each in self._to_come if each.at_s <= self._drive.at_s + _SAME_TICK_S]
        self._to_come = self._to_come[len(due) :]
        for each in due:
            if each.aborted is not None:
                with contextlib.suppress(IllegalEvent):  # the plan has it not, or another one was chosen
                    self._drive.step(each.aborted)
            self._drive.lost |= each.unwell

    def _arrive_at(self, looked: Looked) -> None:
        """The clock of a tick: it has stood still for what was left out."""
        if self._gap:
            self._left_out_s += looked.read_s - self._drive.at_s - looked.slice.duration_s
            self._gap = False
        self._drive.move_to(looked.read_s - self._left_out_s, looked.read_s)

    # --- what is decided
    @property
    def _judge(self) -> Bench:
        judge = self._drive.subject.collected.judge
        assert judge is not None
        return judge

    def _install(self, state: State, actions: Sequence[Action]) -> None:
        subject = self._drive.subject
        subject.install(state, replace(subject.collected, judge=judging.bench(self._judge, state)))


def _restaged(slice_: Slice, stages: Mapping[int, int]) -> Slice:
    """A slice as one of the stages here. Truths of a stage that was left out have nothing to be compared with."""
    truths = tuple(replace(each, stage=stages[each.stage]) for each in slice_.truths if each.stage in stages)
    return replace(slice_, stage=stages[slice_.stage], truths=truths)
