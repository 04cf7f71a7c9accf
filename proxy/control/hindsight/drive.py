"""A rollout on a virtual clock: what the controller makes of a tick, where nobody is there who could be asked.

    slices ─▶ judge ─▶ look, when one is due ─▶ rollout.step ─▶ install ─▶ moments

Whoever drives moves the clock, shows the slices, installs what is decided, and gives a plan without gates
(`steps.ungated`). What else a live rollout waits for is answered at once: endpoints are well, since what is recorded
says that they served, and a promotion is applied, since there are no workers who would have to hear of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from proxy.control.evidence.subject import Subject
from proxy.control.machine import moves, rollout
from proxy.control.machine.rollout import TERMINAL, Action, Applied, Checked, Decision, Event, Phase, Record, State
from proxy.control.machine.steps import Plan

Install = Callable[[State, Sequence[Action]], None]


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that would have happened: so many seconds after the begin, at this time of what is recorded."""

    seconds: float
    at_s: float
    what: Record


class Drive:
    """One rollout. `plan` may change on the way; `now_s` is the virtual clock, `at_s` the time of what is recorded."""

    def __init__(self, subject: Subject, plan: Plan, install: Install) -> None:
        self.subject, self.plan, self._install = subject, plan, install
        self.now_s = self.at_s = self.begun_s = 0.0
        self.decided_s = 0.0
        """When the verdict became what it is."""
        self.lost: dict[str, str] = {}
        """Versions that nobody can reach any more, and why, for the next look."""
        self.looks = 0
        self.moments: list[Moment] = []
        self._decided = ("", "")

    @property
    def state(self) -> State | None:
        """Where the rollout is; None before it has begun."""
        return self.subject.state

    @property
    def decided(self) -> bool:
        """Whether it is decided for good."""
        return self.state is not None and self.state.phase in TERMINAL

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return self.now_s - self.begun_s

    def move_to(self, now_s: float, at_s: float | None = None) -> None:
        """Set the clock; without `at_s` it is that of what is recorded as well."""
        self.now_s, self.at_s = now_s, now_s if at_s is None else at_s

    def begin(self) -> None:
        """Begin the rollout, with no look yet."""
        self.begun_s = self.now_s
        self.subject.looked_s = float("-inf")
        self.take(rollout.begin(self.plan, self.now_s))

    def tick(self) -> None:
        """Look, if a look is due."""
        if not self.decided and self.subject.is_due(self.now_s):
            self.look()

    def look(self) -> None:
        """Ask for the verdict, and let the rollout step on it."""
        self.subject.looked_s = self.now_s
        self.looks += 1
        racing = () if self.state is None else self.state.racing
        unwell = {name: why for name, why in self.lost.items() if name in racing}
        self.lost = {}
        self.step(replace(self.subject.look(self.now_s), unwell=unwell))
        self._answer()

    def step(self, event: Event) -> None:
        """Fire one event; a rollout that is decided has none.

        Raises:
            IllegalEvent: its phase does not allow it.
        """
        if self.state is not None and not self.decided:
            self.take(rollout.step(self.plan, self.state, event, self.now_s))

    def take(self, decision: Decision) -> None:
        """Install a decision, and remember what people would have been told of it."""
        state, actions = decision
        self._install(state, actions)
        if (state.verdict, state.decided_by) != self._decided:
            self._decided, self.decided_s = (state.verdict, state.decided_by), self.now_s
        told = (action for action in actions if isinstance(action, Record))
        self.moments += [Moment(self.seconds, self.at_s, record) for record in told]

    def _answer(self) -> None:
        """Say yes for those who are not there."""
        state = self.state
        if state is not None and not self.decided and moves.at_smoke(self.plan, state):
            self.step(Checked(state.stage, state.step))
        state = self.state
        if state is not None and state.phase is Phase.PROMOTING:
            self.step(Applied(state.stage))
