"""Why a decision was made: what it was made on, and whether the same evidence says the same today. Pure.

Evidence is the judge's whole state at the decision. It is loaded into a judge of this release, which is asked the same
question after the same time. Numbers agree within 1e-9, which is what another processor or another numpy may differ in;
texts may be worded otherwise by another release.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from analysis import contest
from analysis.contest import Bench
from analysis.plan import Plan as Question
from analysis.verdict import Verdict
from proxy.control.storage.entries import Basis, Decision, Entry
from proxy.control.views import routes as views

Json = dict[str, Any]
_TEXTS: Final = frozenset({"text", "reason", "missing"})
_CLOSE: Final = 1e-9
"""Of a number, relative."""


def basis(judge: Bench, verdict: Verdict, elapsed_s: float) -> Basis:
    """What a decision is made on that follows from this verdict of this judge."""
    return Basis(views.verdict_document(verdict), judge.dump(), msgspec.to_builtins(judge.plan), elapsed_s)


def numbers(verdict: Mapping[str, Any]) -> Json:
    """Of a verdict what a line of the journal says."""
    return {
        "abortEvidence": verdict["abortEvidence"],
        "abortNeeded": verdict["abortNeeded"],
        "metrics": {
            metric["name"]: {
                name: metric[name]
                for name in ("effect", "low", "high", "unit", "margin", "evidenceHarm", "evidencePass", "neededPass")
            }
            for metric in verdict["metrics"]
        },
        **_of_each(verdict.get("candidates") or ()),
    }


def _of_each(candidates: Sequence[Mapping[str, Any]]) -> Json:
    """The same of several candidates, and what is said of each."""
    if not candidates:
        return {}
    said = ("abort", "decidedBy", "reason", "proven")
    return {"candidates": {each["name"]: {key: each[key] for key in said} | numbers(each) for each in candidates}}


def explain(decision: Decision) -> Json:
    """A decision with its verdict as it was kept, the verdict that its evidence gives now, and whether they agree."""
    beside = _beside(decision.entry)
    found: Json = {
        "entry": views.entry(decision.entry),
        "intact": decision.intact,
        "verdict": _whole(decision.verdict),
        "derived": None,
        "agrees": None,
        "differences": [],
        "note": beside,
    }
    if decision.verdict is None:
        return found | {"note": beside or "no verdict stood behind it: it was not made on evidence"}
    if decision.basis is None:
        return found | {"note": "an earlier release made it, which kept the verdict without its evidence"}
    if decision.basis.evidence is None:
        return found | {"note": "retention took its evidence away; the verdict and its numbers are kept"}
    try:
        derived = derive(decision.basis)
    except (ValueError, msgspec.ValidationError) as error:
        return found | {"note": f"this release cannot read its evidence: {error}"}
    differences = [
        {"what": what, "kept": kept, "derived": now} for what, kept, now in _differences(decision.verdict, derived)
    ]
    return found | {"derived": _whole(derived), "agrees": not differences, "differences": differences}


def _beside(entry: Entry) -> str:
    """What decided beside the evidence, which says what was known of the versions at that moment; "" for nothing."""
    if unwell := entry.details.get("unwell"):
        return f"decided by the health checks, beside the evidence: {'; '.join(unwell.values())}"
    if (aborted := entry.details.get("aborted")) is not None:
        return f"decided by {entry.actor}, beside the evidence: {aborted['candidate']} was taken out by hand"
    if (latched := entry.details.get("latched")) is not None:
        return f"{latched['candidate']} was out already, and stays out until retry: {latched['reason']}"
    return ""


def derive(kept: Basis) -> Json:
    """The verdict that the evidence of a decision gives to this release.

    Raises:
        ValueError: the evidence is not to be read by this release.
    """
    assert kept.evidence is not None
    question = msgspec.convert(kept.question, Question)
    return views.verdict_document(contest.resume(question, kept.evidence).verdict(kept.elapsed_s))


def _whole(verdict: Mapping[str, Any] | None) -> Json | None:
    """A verdict with all members that it has today: an earlier release kept fewer."""
    return None if verdict is None else {name: verdict.get(name) for name in views.VERDICT_MEMBERS}


def _differences(kept: object, derived: object, place: str = "") -> Iterator[tuple[str, str, str]]:
    if isinstance(kept, Mapping) and isinstance(derived, Mapping):
        for name in kept:
            if name not in _TEXTS:
                yield from _differences(kept[name], derived.get(name), f"{place}.{name}" if place else name)
    elif isinstance(kept, list) and isinstance(derived, list) and len(kept) == len(derived):
        for number, (one, other) in enumerate(zip(kept, derived, strict=True)):
            name = one.get("name", number) if isinstance(one, Mapping) else number
            yield from _differences(one, other, f"{place}.{name}")
    elif isinstance(kept, float | int) and isinstance(derived, float | int):
        if not math.isclose(kept, derived, rel_tol=_CLOSE, abs_tol=1e-12):
            yield place, f"{kept!r}", f"{derived!r}"
    elif kept != derived:
        yield place, str(kept), str(derived)
