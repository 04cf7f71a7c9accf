"""What an operator can do with a rollout now, and what would come of it.

Each command is tried on the rollout machine, which is pure: what it refuses is not offered, and what it would lead to
is what is told. Nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.control.evidence.subject import Subject
from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import TERMINAL, IllegalEvent, Phase, Plan, State
from proxy.control.machine.verbs import Verb, event_of

Json = dict[str, Any]
_Asked = tuple[Verb, bool, str]
"""A verb, whether it goes all the way, and of several candidates the one that is meant."""


def offers(subject: Subject, now_s: float) -> list[Json]:
    """The commands that would change something, with what they do in plain words."""
    plan, state = subject.plan, subject.state
    if plan is None or state is None:
        return []
    found: list[Json] = []
    for verb, full, candidate in _asked(state):
        try:
            after, actions = rollout.step(plan, state, event_of(verb, "you", full, "", candidate), now_s)
        except IllegalEvent:
            continue
        if after != state or actions:
            text = _told(verb, full, plan, state, after)
            found.append({"verb": verb, "full": full, "candidate": candidate, "text": text})
    return found


def _asked(state: State) -> Iterator[_Asked]:
    racing = state.racing if len(state.racing) > 1 else ()
    yield "promote", False, ""
    for name in racing or ("",):
        yield "promote", True, name
    yield "pause", False, ""
    yield "resume", False, ""
    yield "abort", False, ""
    for name in racing:
        yield "abort", False, name
    yield "retry", False, ""
    if state.phase in TERMINAL:  # before, it is an abort
        yield "undo", False, ""


def _told(verb: Verb, full: bool, plan: Plan, before: State, after: State) -> str:
    match verb:
        case "promote" if full:
            return f"{_full(before, after)} That is done now, whatever the evidence says."
        case "promote" if before.phase is Phase.BAKING:
            return f"{after.candidate} keeps all traffic, and is not watched any longer."
        case "promote":
            return f"{_onward(plan, before, after)} What this step still waits for is passed over."
        case "pause":
            return f"{_share(after)} It stays so until somebody resumes; proven harm still aborts."
        case "resume":
            return _onward(plan, before, after)
        case "abort" if after.phase not in (Phase.ABORTED, Phase.REVERTING):
            left = ", ".join(after.racing)
            return f"This candidate gets nothing any more, and its users go to the others. {left} goes on."
        case "retry":
            return f"{after.candidate} begins again from the first step, with fresh evidence. {_share(after)}"
        case _:
            return _back(before, after)


def _full(before: State, after: State) -> str:
    if after.phase is Phase.SWAPPING:
        return f"Requests wait while {before.stable} is stopped and {after.candidate} takes its place."
    if after.places and after.phase is not Phase.PROMOTING:
        return f"The endpoints of {before.stable} that are left are replaced by those of {after.candidate}."
    return f"All traffic goes to {after.candidate} instead of {steps.percent(before.weight_ppm)} of it."


def _back(before: State, after: State) -> str:
    if after.phase is Phase.REVERTING:
        return f"{before.stable} is put back in the place of {before.candidate}, and then has all traffic."
    who = " and ".join(before.racing)
    return f"All traffic goes to {before.stable}; {who} gets nothing until somebody retries."


def _onward(plan: Plan, before: State, after: State) -> str:
    match after.phase:
        case Phase.PROMOTING:
            return f"All traffic goes to {after.candidate}."
        case Phase.SWAPPING:
            return f"Requests wait while {before.stable} is stopped and {after.candidate} takes its place."
        case Phase.SUCCEEDED:
            return "The rollout ends here."
        case _:
            texts = steps.words(plan)
            here = f" Next: {texts[after.step]}." if after.step < len(texts) else ""
            return f"{_share(after, before)}{here}"


def _share(after: State, before: State | None = None) -> str:
    who = " and ".join(after.racing)
    each = " each" if len(after.racing) > 1 else ""
    if before is not None and before.weight_ppm != after.weight_ppm:
        instead = f" instead of {steps.percent(before.weight_ppm)}"
        return f"{who} gets {steps.percent(after.weight_ppm)} of the traffic{each}{instead}."
    if before is None and after.mirror_ppm:
        copied = f", and copies of {steps.percent(after.mirror_ppm)}"
        return f"{who} gets {steps.percent(after.weight_ppm)} of the traffic{each}{copied}."
    keeps = "gets" if before is None else "keeps"
    return f"{who} {keeps} {steps.percent(after.weight_ppm)} of the traffic{each}."
