"""Where webhooks have a say in a rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.control.machine import rollout, steps
from proxy.control.machine.gates import UNASKED, Answers, waiting
from proxy.control.machine.rollout import (
    Abort,
    Applied,
    Ask,
    Decision,
    Look,
    Pause,
    Phase,
    Promote,
    Record,
    Route,
    State,
)
from proxy.control.machine.steps import Analysis, Confirm, Plan, SetWeight
from proxy.snapshot import CIRCLE
from tests.proxy.control.machine.test_rollout import Verdict
from tests.proxy.control.machine.test_rollout import plan as plan_of

ALL = frozenset({"confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion"})


def plan(*gates: str, **changes: Any) -> Plan:
    found = frozenset(gates)
    walk = steps.gated([SetWeight(CIRCLE // 20), Analysis(None, None), SetWeight(CIRCLE // 2)], found, False)
    settings = {"gates": found, "min_samples": 10, "min_duration_s": 0.0, **changes}
    return replace(plan_of(*walk), **settings)


def yes(*gates: str) -> Answers:
    return Answers(frozenset(gates))


class Run:
    """A rollout that is told things; `asked` are the gates of the last look."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.now_s = plan, 100.0
        self.state: State
        self.asked: frozenset[str] = frozenset()
        self.records: list[str] = []
        self.rerouted = False
        self._take(rollout.begin(plan, self.now_s))

    def _take(self, decision: Decision) -> None:
        self.state, actions = decision
        self.asked = frozenset().union(*(action.gates for action in actions if isinstance(action, Ask)))
        self.records += [action.kind for action in actions if isinstance(action, Record)]
        self.rerouted = any(isinstance(action, Route) for action in actions)

    def look(self, answers: Answers = UNASKED, abort: bool = False, proven: bool = True, samples: int = 100) -> State:
        self.now_s += 1.0
        seen = Verdict(self.state.stage, samples, samples, abort=abort, proven=proven)
        self.tell(Look(seen, hooks=answers))  # type: ignore[arg-type]
        return self.state

    def tell(self, event: rollout.Event) -> State:
        self._take(rollout.step(self.plan, self.state, event, self.now_s))
        return self.state


def test_steps_with_gates() -> None:
    """Broken: a gate would stand at another place than the file says, or none would."""
    walk = plan(*ALL).steps
    assert [steps.describe(step) for step in walk] == [
        "wait for confirm-rollout",
        "wait for pre-rollout",
        "wait for confirm-traffic-increase",
        "set weight 5 %",
        "analysis",
        "wait for confirm-traffic-increase",
        "set weight 50 %",
    ]
    assert steps.gated([SetWeight(5)], frozenset({"confirm-promotion"}), True)[-1] == Confirm("confirm-promotion")
    assert plan().steps == plan("rollout", "event").steps


def test_nothing_reaches_the_candidate_before_both_first_gates_are_open() -> None:
    """Broken: a candidate would get traffic that nobody has agreed to, or that its tests have failed for."""
    run = Run(plan("confirm-rollout", "pre-rollout"))
    assert (run.state.phase, run.state.weight_ppm, run.state.stage) == (Phase.WAITING, 0, 0)
    assert run.state.reason == "waits for confirm-rollout"
    no = Answers(said={"confirm-rollout": "confirm-rollout by webhook boss: answered 403"})
    assert run.look(no).reason == "waits for confirm-rollout by webhook boss: answered 403"
    assert run.asked == {"confirm-rollout"}
    assert run.look(yes("pre-rollout")).step == 0, "in their order"
    assert run.look(yes("confirm-rollout")).step == 1
    assert run.asked == {"pre-rollout"}
    assert run.state.phase is Phase.WAITING
    assert run.state.weight_ppm == 0
    assert run.look(yes("confirm-rollout")).step == 1
    state = run.look(yes("pre-rollout"))
    assert (state.phase, state.weight_ppm, run.rerouted) == (Phase.WAITING, CIRCLE // 20, True)
    assert run.look().phase is Phase.PROGRESSING


def test_every_higher_weight_is_asked_for() -> None:
    """Broken: somebody who holds the traffic back would be passed over at the second weight."""
    run = Run(plan("confirm-traffic-increase"))
    assert run.look().weight_ppm == 0
    run.look(yes("confirm-traffic-increase"))
    assert run.state.weight_ppm == CIRCLE // 20
    for _ in range(3):
        run.look()
    assert isinstance(run.plan.steps[run.state.step], Confirm)
    assert (run.state.phase, run.state.weight_ppm) == (Phase.PROGRESSING, CIRCLE // 20)
    assert run.look(yes("confirm-traffic-increase")).weight_ppm == CIRCLE // 2


def test_a_promotion_waits_for_its_confirmation() -> None:
    """Broken: a candidate would take over while somebody says no."""
    run = Run(plan("confirm-promotion"))
    run.look()
    run.look()
    assert run.look(proven=False).reason == "waits for proof that the candidate is within every margin"
    assert run.asked == frozenset(), "nobody is asked before everything else speaks for it"
    assert run.look().phase is Phase.PROGRESSING
    assert run.state.reason == "waits for confirm-promotion: asked, and no answer yet"
    assert run.asked == {"confirm-promotion"}
    assert run.look(yes("confirm-promotion"), proven=False).phase is Phase.PROGRESSING, "a yes is no proof"
    assert run.look(yes("confirm-promotion")).phase is Phase.PROMOTING


def test_a_failing_check_blocks_and_never_ends_a_rollout() -> None:
    """Broken: a check that fails would let a candidate on, or throw it out unasked."""
    run = Run(plan("rollout"))
    run.look()
    for _ in range(50):
        state = run.look(Answers(said={"rollout": "rollout by webhook tests: answered 500"}))
        assert run.asked == {"rollout"}
    assert (state.phase, state.weight_ppm) == (Phase.PROGRESSING, CIRCLE // 20)
    assert state.reason == "waits for rollout by webhook tests: answered 500"
    assert run.look(yes("rollout")).weight_ppm == CIRCLE // 2


@pytest.mark.parametrize("gate", ["confirm-traffic-increase", "confirm-promotion", "rollout"])
def test_a_gate_never_keeps_a_bad_candidate(gate: str) -> None:
    """Broken: waiting for a person would disable the rollback (fluxcd/flagger#1801)."""
    run = Run(plan(gate))
    run.look(yes("confirm-traffic-increase"))
    run.look()
    run.look()
    assert run.look(abort=True).phase is Phase.ABORTED
    assert run.state.weight_ppm == 0


@pytest.mark.parametrize("where", [0, 1, 3, 5])
def test_a_webhook_takes_the_candidate_back(where: int) -> None:
    """Broken: the button would work in some phases only."""
    run = Run(plan("rollback", bake=steps.Bake(60.0, 0)))
    for _ in range(min(where, 3)):
        run.look()
    if where > 3:
        run.tell(Applied(run.state.stage))
        assert run.look().phase is Phase.BAKING
        assert run.asked == {"rollback"}
    state = run.look(Answers(harm="webhook button asked for a rollback"))
    assert (state.phase, state.verdict, state.decided_by) == (Phase.ABORTED, "Failed", "webhook")
    assert state.reason == "webhook button asked for a rollback"
    assert run.look().phase is Phase.ABORTED
    assert run.asked == frozenset()


def test_operators_can_do_everything_at_a_gate() -> None:
    """Broken: a receiver that is down at night would lock the rollout."""
    run = Run(plan("confirm-rollout"))
    run.tell(Pause("ann"))
    assert run.look(yes("confirm-rollout")).step == 0, "paused is paused"
    run.tell(rollout.Resume("ann"))
    assert run.look().reason == "waits for confirm-rollout: asked, and no answer yet"
    run.tell(Promote("ann"))
    assert run.state.weight_ppm == CIRCLE // 20
    other = Run(plan("confirm-rollout"))
    assert other.tell(Abort("ann")).phase is Phase.ABORTED


def test_evidence_that_cannot_be_judged_does_not_keep_a_gate_shut() -> None:
    """Broken: the first gate would wait for evidence that cannot be there yet."""
    run = Run(plan("confirm-rollout"))
    run.tell(Look(None, hooks=yes("confirm-rollout")))
    assert run.state.weight_ppm == CIRCLE // 20


def test_no_progress_deadline_runs_while_people_are_asked() -> None:
    """Broken: a rollout would fail since somebody was asleep before it began."""
    run = Run(plan("confirm-rollout", progress_deadline_s=10.0))
    run.now_s += 3600
    run.tell(Look(None, idle_s=3600.0, unseen_s=3600.0))
    assert run.state.phase is Phase.WAITING


def test_a_promotion_without_a_question_is_confirmed_at_its_gate() -> None:
    """Broken: where no proof is asked for, nobody would be asked at all."""
    gate = frozenset({"confirm-promotion"})
    walk = steps.gated([steps.Smoke(1)], gate, asks_at_end=True)
    run = Run(replace(plan_of(*walk), gates=gate, ending=steps.Promotion(proof=False)))
    run.tell(rollout.Checked(run.state.stage, 0))
    assert run.look().phase is Phase.WAITING
    assert run.look(yes("confirm-promotion")).phase is Phase.PROMOTING


def test_what_a_gate_waits_for() -> None:
    """Broken: status would be silent about who holds a rollout up."""
    assert waiting("rollout", yes("rollout")) == ""
    assert waiting("rollout", UNASKED) == "rollout: asked, and no answer yet"
