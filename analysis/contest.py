"""A contest: is the candidate better? Beside the Judge, who asks whether it is worse.

The question is the Judge's own with the arms in each other's place: that the *stable* is worse than the candidate is
the improvement, and that it is not worse by more than the least improvement of interest rules that out. So all that
holds of a Judge holds here, peeking and bursts and sticky users included:

- Improvement: E against "not better", and E against "not better by more than the least improvement", as a weighted
  mean. It reaches 1/alphaPromote with a chance of at most alphaPromote for a candidate that is not better. Latched.
- None: E against "better by the least improvement or more" is at least 1/alphaPromote, with little evidence of any.

Either also needs the proof of every guardrail, at the same moment. Source: statistics as in `verdict`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from analysis.breaker import Breaker
from analysis.panel import Panel
from analysis.plan import Gate, Goal, Plan
from analysis.readings import Details, level_of
from analysis.still import Later
from analysis.summaries import Slice
from analysis.verdict import Judge, Verdict
from analysis.wording import number, odds, percent

ANY: Final = "any improvement"
LEAST: Final = "least improvement"
_LENGTH: Final = 8
"""Bytes before a Judge's memory that say how long it is."""


class Contest:
    """A Judge and his counterpart; to be asked as a Judge is."""

    def __init__(self, plan: Plan) -> None:
        if plan.goal is None:
            raise ValueError("a contest needs a goal; without one there is nothing to be better at")
        self.plan, self._goal = plan, plan.goal
        self._judge = Judge(replace(plan, goal=None))
        self._turned = Judge(_turned(plan, plan.goal))

    def observe(self, slice_: Slice) -> None:
        """Add one slice.

        Raises:
            ValueError: a count in it cannot be one; nothing is changed then.
        """
        self._judge.observe(slice_)
        self._turned.observe(slice_.turned())

    @property
    def tripped(self) -> bool:
        """Whether the breaker has decided."""
        return self._judge.tripped

    def watching(self, rival: str = "") -> Breaker | None:
        """The breaker, as long as nothing is decided: to be asked, not to be shown anything."""
        return self._judge.watching(rival)

    def verdict(self, elapsed_s: float) -> Verdict:
        """What can be said now; changes nothing."""
        found, turned = self._judge.verdict(elapsed_s), self._turned.verdict(elapsed_s)
        winner: Literal["", "candidate", "none"] = ""
        if found.proven:
            winner = "candidate" if turned.abort else "none" if turned.proven else ""
        return replace(found, winner=winner, details=Later(lambda: self._details(found, turned)))

    def dump(self) -> bytes:
        """All of the state; `load` gives a Contest that answers the same."""
        judge = self._judge.dump()
        return len(judge).to_bytes(_LENGTH) + judge + self._turned.dump()

    @classmethod
    def load(cls, plan: Plan, data: bytes) -> Contest:
        """The Contest that was dumped.

        Raises:
            ValueError: the bytes are not evidence, or of another release, or of a plan with other questions.
        """
        contest = cls(plan)
        end = _LENGTH + int.from_bytes(data[:_LENGTH])
        if end > len(data):
            raise ValueError("this evidence is of another plan; begin the rollout anew")
        contest._judge = Judge.load(contest._judge.plan, data[_LENGTH:end])
        contest._turned = Judge.load(contest._turned.plan, data[end:])
        return contest

    def _details(self, found: Verdict, turned: Verdict) -> Details:
        text = self._text(turned)
        missing = found.missing if turned.abort or turned.proven else (*found.missing, text)
        return replace(found.details(), contest=text, missing=missing)

    def _text(self, turned: Verdict) -> str:
        goal, readings = self._goal, {reading.name: reading for reading in turned.metrics}
        any_, least = readings[ANY], readings[LEAST]
        if any_.stable is None or any_.candidate is None:
            return f"{goal.name}: no data of both sides yet"
        levels = f"{level_of(any_.kind, any_.stable)} against {level_of(any_.kind, any_.candidate)} of the stable"
        better = f"evidence {odds(turned.abort_evidence)} that the candidate is better ({odds(turned.abort_needed)} "
        better += f"proves it), {odds(least.evidence_pass)} that it is not better by {_size(goal)}"
        return f"{goal.name}: {levels}; {better}"


Bench = Judge | Contest | Panel
"""Whoever answers a question."""


def begin(plan: Plan) -> Bench:
    """Whoever answers a question, with no evidence yet."""
    if plan.rivals:
        return Panel(plan)
    return Judge(plan) if plan.goal is None else Contest(plan)


def resume(plan: Plan, data: bytes) -> Bench:
    """The same with the evidence that was dumped.

    Raises:
        ValueError: it is not evidence of this question.
    """
    if plan.rivals:
        return Panel.load(plan, data)
    return Judge.load(plan, data) if plan.goal is None else Contest.load(plan, data)


def _turned(plan: Plan, goal: Goal) -> Plan:
    """The question with the arms in each other's place: who is worse there, has a better counterpart."""
    margin = goal.least / (1 - goal.least) if goal.relative else goal.least  # of the candidate's, not the stable's
    return replace(
        plan,
        gates=(_gate(goal, ANY, 0.0, "signal"), _gate(goal, LEAST, margin, "guardrail")),
        alpha_abort=plan.alpha_promote,
        breaker_above=None,
        goal=None,
    )


def _gate(goal: Goal, name: str, margin: float, role: Literal["signal", "guardrail"]) -> Gate:
    match goal.kind:
        case "errors" if goal.relative:
            return Gate(name, "errors", margin_relative=margin, role=role)
        case "errors":
            return Gate(name, "errors", margin_absolute=margin, role=role)
        case "latency":
            return Gate(name, "latency", quantile=goal.quantile, margin_relative=margin, role=role)
        case "number":
            return Gate(name, "number", goal.output, margin_sd=margin, role=role, direction=-1 if goal.higher else 1)


def _size(goal: Goal) -> str:
    if goal.kind == "number":
        return f"{number(goal.least)} sd"
    return percent(goal.least) if goal.relative else f"{number(100 * goal.least)} pp"
