"""What a rollout is to do: its steps in order, and what a step still waits for.

Pure values and pure questions about them; `rollout` decides what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, assert_never

from proxy.control.machine.gates import BEFORE
from proxy.control.machine.places import Rolling
from proxy.snapshot import CIRCLE

if TYPE_CHECKING:
    from analysis.verdict import Verdict
    from proxy.control.machine.state import Runner


@dataclass(frozen=True, slots=True)
class SetMirror:
    """Copy this share of stable's requests to the candidate, in parts of a million."""

    ppm: int


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Give the candidate this share of the live traffic, in parts of a million."""

    ppm: int


@dataclass(frozen=True, slots=True)
class Ramp:
    """Raise the candidate's weight as evidence allows, from one of these to another (rising, parts of a million)."""

    rungs: tuple[int, ...]
    max_bad: int

    @property
    def top(self) -> int:
        """The last weight."""
        return self.rungs[-1]


@dataclass(frozen=True, slots=True)
class Pause:
    """Stand still for so many seconds; None waits for an operator."""

    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """Stand still until there are samples enough (None: the plan's number) and, if given, so many seconds have gone.

    With `proof` also until every guardrail is proven, as the end of a plan does.
    """

    min_samples: int | None
    duration_s: float | None
    proof: bool = False


@dataclass(frozen=True, slots=True)
class Smoke:
    """Stand still until every endpoint of the candidate is well and has answered so many requests as expected."""

    requests: int


@dataclass(frozen=True, slots=True)
class Followed:
    """Stand still until somebody else goes on: in a simulation, the records."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """Stand still until all webhooks of a gate have said yes."""

    gate: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace endpoints of stable by those of the candidate, until this share of what serves is the candidate's."""

    ppm: int
    batch: int
    batches: int


Step = SetMirror | SetWeight | Ramp | Pause | Analysis | Smoke | Followed | Confirm | Replace


@dataclass(frozen=True, slots=True)
class Promotion:
    """After the last step the candidate takes over: on `proof` under live traffic that it is within every margin, or
    because the steps are done."""

    proof: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """After the last step the proof is the result: the candidate gets no more copies, and no live traffic ever."""


@dataclass(frozen=True, slots=True)
class Contest:
    """After the last step there is a winner or none. A candidate that wins takes over, or keeps the share it has."""

    on_winner: Literal["promote", "keep"]


@dataclass(frozen=True, slots=True)
class Swap:
    """After the last step the candidate takes the place of stable, which is stopped for it, while requests wait.

    `drain_s` is how long requests under way may take to end, `deadline_s` how long all else may take, `smokes` how many
    requests every endpoint of the candidate must answer as expected before the others go on.
    """

    drain_s: float
    deadline_s: float
    smokes: int = 0


Ending = Promotion | Report | Contest | Swap


@dataclass(frozen=True, slots=True)
class Bake:
    """After the promotion the candidate is watched for so long, with this share of its requests copied to stable."""

    duration_s: float
    mirror_ppm: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration wants of one route's candidate: a strategy as steps and an ending.

    `candidate_digest` names the version that is judged, `digest` the steps, metrics, margins and limits that it is
    judged by. `min_samples` is per version and stage, `min_duration_s` is of the last stage, `max_duration_s` of the
    whole rollout, from its first sample on and pauses included, a bake not. `progress_deadline_s` is how long nothing
    may reach the candidate, or a `Smoke` may take; None is no limit. `gates` are those that its route has webhooks for
    (`gates`). `baseline` stands for stable where the candidate has a part of the traffic; empty for none.
    `rivals` are several candidates, none where there is one; `candidate` is the first of them, and `candidate_digest`
    names all.
    """

    route: str
    stable: str
    candidate: str
    candidate_digest: str
    digest: str
    steps: tuple[Step, ...]
    min_samples: int
    min_duration_s: float
    max_duration_s: float
    on_inconclusive: Literal["pause", "abort"]
    strategy: str = "canary"
    ending: Ending = Promotion()
    bake: Bake | None = None
    progress_deadline_s: float | None = None
    on_no_traffic: Literal["wait", "pause", "abort"] = "wait"
    on_ratio: Literal["pause", "continue", "abort"] = "continue"
    gates: frozenset[str] = frozenset()
    baseline: str = ""
    rivals: tuple[Runner, ...] = ()
    rolling: Rolling | None = None
    """How endpoints are replaced, where steps do that."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rollout stands in its plan: step, stage, and for how many seconds in each."""

    step: int
    step_s: float
    stage: int
    stage_s: float
    weight_ppm: int
    mirror_ppm: int


def describe(step: Step) -> str:
    """A step in words.

    >>> describe(SetWeight(52_500)), describe(Analysis(500, None)), describe(Pause(None))
    ('set weight 5.25 %', 'analysis of 500 samples', 'pause until an operator goes on')
    """
    match step:
        case SetMirror(ppm):
            return f"set mirror {percent(ppm)}"
        case SetWeight(ppm):
            return f"set weight {percent(ppm)}"
        case Ramp(rungs, max_bad):
            return f"raise the weight by evidence to {percent(rungs[-1])}, within {max_bad} bad requests"
        case Pause(None):
            return "pause until an operator goes on"
        case Pause(duration_s):
            return f"pause for {duration_s:g} s"
        case Analysis(min_samples, duration_s, proof):
            samples = "" if min_samples is None else f" of {min_samples} samples"
            until = " until the candidate is proven" if proof else ""
            return f"analysis{samples}" + ("" if duration_s is None else f" for {duration_s:g} s") + until
        case Smoke(requests):
            asked = f", {requests} smoke request{'s' * (requests != 1)} to each" if requests else ""
            return f"check every endpoint of the candidate{asked}"
        case Followed():
            return "as recorded"
        case Confirm(gate):
            return f"wait for {gate}"
        case Replace(ppm, batch, batches):
            return f"replace endpoints, batch {batch} of {batches} (then {percent(ppm)} are the candidate's)"
        case _:
            assert_never(step)


def words(plan: Plan) -> list[str]:
    """All that a plan does, with what it implies: the analysis that ends it, and the bake after that."""
    return [text for text in (*map(describe, plan.steps), _last_analysis(plan), after(plan)) if text]


def _last_analysis(plan: Plan) -> str:
    """The analysis implied after the steps; "" where the last step is one, or none is asked for."""
    if plan.steps and is_last(plan.steps, len(plan.steps) - 1):
        return ""
    match plan.ending:
        case Promotion(proof=True):
            return "analysis until a promotion is proven"
        case Promotion():
            return ""
        case Report():
            return "analysis until the candidate is proven"
        case Contest():
            return "analysis until there is a winner, or proof that there is none"
        case Swap():
            return "hold requests, stop stable, start the candidate, check it, let the requests go"
        case _:
            assert_never(plan.ending)


def after(plan: Plan) -> str:
    """What comes after the promotion, in words; "" for nothing."""
    if plan.bake is None:
        return ""
    copies = f" with {percent(plan.bake.mirror_ppm)} of the requests copied to stable" if plan.bake.mirror_ppm else ""
    return f"bake for {plan.bake.duration_s:g} s{copies}"


def percent(ppm: int) -> str:
    """Parts of a million as a percentage."""
    return f"{ppm * 100 / CIRCLE:g} %"


def gated(steps: Sequence[Step], gates: frozenset[str], asks_at_end: bool) -> tuple[Step, ...]:
    """Steps with a `Confirm` wherever a gate of the plan has its place: before anything else, and before each higher
    weight; with `asks_at_end` also after the last step, where a promotion follows without a question. Endpoints that
    are replaced are a higher weight, and the last of them the promotion.

    >>> gated([SetWeight(5), SetWeight(2)], frozenset({"pre-rollout", "confirm-traffic-increase"}), False)[:2]
    (Confirm(gate='pre-rollout'), Confirm(gate='confirm-traffic-increase'))
    """
    found: list[Step] = [Confirm(gate) for gate in BEFORE if gate in gates]
    weight_ppm = 0
    for step in steps:
        if isinstance(step, SetWeight):
            if step.ppm > weight_ppm and "confirm-traffic-increase" in gates:
                found.append(Confirm("confirm-traffic-increase"))
            weight_ppm = step.ppm
        elif isinstance(step, Replace):
            gate = "confirm-promotion" if step.batch == step.batches else "confirm-traffic-increase"
            found += [Confirm(gate)] if gate in gates else []
        found.append(step)
    if asks_at_end and "confirm-promotion" in gates:
        found.append(Confirm("confirm-promotion"))
    return tuple(found)


def ungated(plan: Plan) -> Plan:
    """The plan of a rollout that is only recorded: there is nobody to be asked, and every gate is passed. There are no
    endpoints to be replaced either: what is left of that are the weights."""
    kept = [step for step in plan.steps if not isinstance(step, Confirm)]
    if plan.rolling is not None:
        kept = [step for step in kept if not isinstance(step, Replace) or step.ppm < CIRCLE]
        plan = replace(plan, rolling=None, ending=Promotion())
    steps = tuple(SetWeight(step.ppm) if isinstance(step, Replace) else step for step in kept)
    return replace(plan, steps=steps, gates=frozenset())


def settle(steps: tuple[Step, ...], index: int, weight_ppm: int, mirror_ppm: int) -> tuple[int, int, int]:
    """The first step from `index` on that waits, and the weight and mirror that the steps before it set.

    The index is `len(steps)` when none waits: the analysis that ends every plan.
    """
    while index < len(steps):
        match steps[index]:
            case SetWeight(ppm):
                weight_ppm = ppm
            case SetMirror(ppm):
                mirror_ppm = ppm
            case _:
                break
        index += 1
    return index, weight_ppm, mirror_ppm


def is_last(steps: tuple[Step, ...], index: int) -> bool:
    """Whether the step decides on the end of the plan: the last one if it is an analysis, else one implied after it."""
    return index == len(steps) or (index == len(steps) - 1 and isinstance(steps[index], Analysis))


def is_unasked(plan: Plan, index: int) -> bool:
    """Whether the plan ends there without a question: all steps are done, and no proof is wanted."""
    ends = isinstance(plan.ending, Swap) or (isinstance(plan.ending, Promotion) and not plan.ending.proof)
    return index == len(plan.steps) and ends


def puts_back(plan: Plan) -> bool:
    """Whether the plan stops stable for the candidate, and so knows how to start it again."""
    return isinstance(plan.ending, Swap) or plan.rolling is not None


def is_decided(plan: Plan, verdict: Verdict) -> bool:
    """Whether the evidence is what the ending of the plan waits for."""
    return bool(verdict.winner) if isinstance(plan.ending, Contest) else verdict.proven


def winner(plan: Plan, phase: str, verdict: str, weight_ppm: int) -> Literal["", "candidate", "stable", "none"]:
    """Who has won a contest that has ended; "" for any other plan, and where it was not decided."""
    if not isinstance(plan.ending, Contest):
        return ""
    if phase == "Aborted" and verdict == "Failed":
        return "stable"
    if phase != "Succeeded":
        return ""
    return "candidate" if weight_ppm else "none"


def candidate_was_seen(at: Standing, verdict: Verdict) -> bool:
    """Whether the stage has a sample of the candidate, or sends it nothing that one could wait for."""
    if not at.weight_ppm and not at.mirror_ppm:
        return True
    return verdict.stage == at.stage and (verdict.stage_candidate > 0 or verdict.stage_pairs > 0)


def lacking(plan: Plan, at: Standing, verdict: Verdict) -> str:
    """What an analysis still waits for, in words that stay the same from look to look; "" for nothing.

    Samples are those of the current stage: a verdict that does not know the stage yet has none of it. Where only
    copies reach the candidate, its own samples or its pairs count; where all traffic does, stable has none to give.
    """
    here = plan.steps[at.step] if at.step < len(plan.steps) else None
    own = here if isinstance(here, Analysis) else Analysis(None, None)
    needed = max(1, plan.min_samples if own.min_samples is None else own.min_samples)
    gate = own.proof or is_last(plan.steps, at.step)
    if isinstance(here, Smoke):
        return "the checks of the candidate"
    if isinstance(here, Ramp) and at.weight_ppm < here.top:
        return "evidence"
    if not at.weight_ppm and not at.mirror_ppm:
        return "neither weight nor mirror sends the candidate anything: promote by hand, or set one of them first"
    takes_over = isinstance(plan.ending, Contest) or (isinstance(plan.ending, Promotion) and plan.ending.proof)
    if gate and not at.weight_ppm and takes_over:
        return "no step gives the candidate live traffic: add a setWeight step, or promote in full by hand"
    if verdict.stage != at.stage or _samples(at, verdict) < needed:
        return f"{needed} samples in stage {at.stage}" + ("" if at.weight_ppm in (0, CIRCLE) else " of each version")
    if isinstance(here, Followed):
        return "the last stage of the records"
    if own.duration_s is not None and at.step_s < own.duration_s:
        return f"the {own.duration_s:g} s that step {at.step + 1} takes"
    if gate and at.stage_s < plan.min_duration_s:
        return f"the {plan.min_duration_s:g} s that the last stage takes at least"
    if gate and not is_decided(plan, verdict):
        if isinstance(plan.ending, Contest):
            return "a winner, or proof that there is none"
        return "proof that the candidate is within every margin"
    return ""


def _samples(at: Standing, verdict: Verdict) -> float:
    if not at.weight_ppm:
        return max(verdict.stage_pairs, verdict.stage_candidate)
    if at.weight_ppm == CIRCLE:
        return verdict.stage_candidate
    return min(verdict.stage_stable, verdict.stage_candidate)
