"""A panel: several candidates in one race, each with a Judge of its own, asked as one.

Each has its own budget: that candidate A is ever aborted though it is inside every margin has a chance of at most
alphaAbort, however many others there are, and that B is proven though it is outside one at most alphaPromote. Nothing
that is seen of one candidate touches the evidence of another. That *any* of n bad candidates is proven has a chance of
at most n times alphaPromote; statistics.md says what to do about it.

The answer of the panel is that of its front: of those that are proven the one whose weakest guardrail has the most
evidence, else the first, in the order of the file, that is still in the race. It aborts when all are to be aborted, is
proven when one is, and counts the samples of the one that has the fewest. Which of several proven ones is in front
costs no promise: each of them had to be proven, by its own budget, whatever is then done with the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from analysis.breaker import Breaker
from analysis.plan import Plan
from analysis.readings import Details
from analysis.still import Later
from analysis.summaries import Slice
from analysis.verdict import Judge, Verdict

_LENGTH: Final = 8
"""Bytes before the head that say how long it is."""


class Panel:
    """Judges by candidate, and who is in the race. `among` gives the same evidence with others in it."""

    def __init__(self, plan: Plan) -> None:
        if len(plan.rivals) < 2:
            raise ValueError(f"a panel needs several candidates, and there are {len(plan.rivals)}")
        self.plan = plan
        self.racing = plan.rivals
        self._judges: Mapping[str, Judge] = {name: Judge(replace(plan, rivals=())) for name in plan.rivals}

    def among(self, names: Iterable[str]) -> Panel:
        """The same judges, where only these candidates count. Slices that one is shown the other has seen as well."""
        racing = tuple(name for name in self.plan.rivals if name in set(names))
        if racing == self.racing:
            return self
        panel = Panel.__new__(Panel)
        panel.plan, panel.racing, panel._judges = self.plan, racing, self._judges
        return panel

    def shares(self, other: object) -> bool:
        """Whether the evidence is that of another panel."""
        return isinstance(other, Panel) and other._judges is self._judges

    def observe(self, slice_: Slice) -> None:
        """Add one slice of one candidate.

        Raises:
            ValueError: a count in it cannot be one, or it is of nobody here; nothing is changed then.
        """
        if slice_.rival not in self._judges:
            raise ValueError(f"a slice of {slice_.rival or 'one candidate'} is none of {', '.join(self._judges)}")
        self._judges[slice_.rival].observe(slice_)

    @property
    def tripped(self) -> bool:
        """Whether a breaker has decided of somebody who is in the race."""
        return any(self._judges[name].tripped for name in self.racing)

    def watching(self, rival: str = "") -> Breaker | None:
        """The breaker of one in the race, as long as nothing is decided: to be asked, not to be shown anything."""
        return self._judges[rival].watching() if rival in self.racing else None

    def verdict(self, elapsed_s: float) -> Verdict:
        """What can be said now; changes nothing."""
        found = {name: judge.verdict(elapsed_s) for name, judge in self._judges.items()}
        racing = [(name, found[name]) for name in self.racing or self.plan.rivals]
        return replace(_together(racing), candidates=tuple(found.items()))

    def dump(self) -> bytes:
        """All of the state; `load` gives a Panel that answers the same."""
        dumps = {name: judge.dump() for name, judge in self._judges.items()}
        lengths = {name: len(dump) for name, dump in dumps.items()}
        head = json.dumps({"racing": self.racing, "lengths": lengths}).encode()
        return len(head).to_bytes(_LENGTH) + head + b"".join(dumps.values())

    @classmethod
    def load(cls, plan: Plan, data: bytes) -> Panel:
        """The Panel that was dumped.

        Raises:
            ValueError: the bytes are not evidence, or of another release, or of a plan with other questions.
        """
        panel = cls(plan)
        start = _LENGTH + int.from_bytes(data[:_LENGTH])
        try:
            head = json.loads(data[_LENGTH:start])
            racing, lengths = head["racing"], head["lengths"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError("this evidence is of another plan; begin the rollout anew") from error
        if tuple(lengths) != plan.rivals:
            raise ValueError(f"this evidence is of {', '.join(lengths)}; begin the rollout anew")
        judges = {}
        for name, length in lengths.items():
            judges[name] = Judge.load(replace(plan, rivals=()), data[start : start + length])
            start += length
        panel._judges = judges
        return panel.among(racing)


def front(found: Sequence[tuple[str, Verdict]]) -> str:
    """Of candidates in their order the best proven, else the first that is not to be aborted."""
    if proven := {name: verdict for name, verdict in found if verdict.proven}:
        return best(proven)
    unharmed = (name for name, verdict in found if not verdict.abort)
    return next(unharmed, found[0][0])


def best(proven: Mapping[str, Verdict]) -> str:
    """Of candidates that are proven the one whose weakest guardrail has the most evidence; the first of equals."""
    return max(proven, key=lambda name: proven[name].least_pass)


def _together(found: Sequence[tuple[str, Verdict]]) -> Verdict:
    """The verdicts on those in the race as one."""
    if len(found) == 1:
        return found[0][1]
    lead = dict(found)[front(found)]
    left = [(name, verdict) for name, verdict in found if not verdict.abort]
    verdicts = [verdict for _, verdict in found]
    fewest = [verdict for _, verdict in left] or verdicts
    reasons = [f"{name}: {verdict.reason}" for name, verdict in found if verdict.abort]
    flagged = next((verdict.ratio for _, verdict in left if verdict.ratio.flagged), lead.ratio)
    return replace(
        lead,
        abort=not left,
        reason="" if left else "; ".join(reasons),
        decided_by="" if left else lead.decided_by,
        inconclusive=bool(left) and not lead.proven and all(verdict.inconclusive for _, verdict in left),
        details=Later(lambda: _details(lead, left)),
        ratio=lead.ratio if lead.proven else flagged,
        stage=min(verdict.stage for verdict in fewest),
        stage_stable=min(verdict.stage_stable for verdict in fewest),
        stage_candidate=min(verdict.stage_candidate for verdict in fewest),
        stage_pairs=min(verdict.stage_pairs for verdict in fewest),
        stage_seconds=min(verdict.stage_seconds for verdict in fewest),
        slices=sum(verdict.slices for verdict in verdicts),
    )


def _details(lead: Verdict, left: Sequence[tuple[str, Verdict]]) -> Details:
    """What is read of all that are not to be aborted, as one."""
    waits = [verdict.forecast_s for _, verdict in left if verdict.forecast_s is not None]
    lacks = () if lead.proven else tuple(f"{name}: {text}" for name, verdict in left for text in verdict.missing)
    return replace(lead.details(), missing=lacks, forecast_s=min(waits, default=None))
