"""What the journal says of a change to a rollout, and what the change is made on. Pure."""

from __future__ import annotations

from typing import Final

from proxy.control.evidence.subject import Subject
from proxy.control.hindsight import why
from proxy.control.machine.rollout import Phase, Record, State
from proxy.control.machine.swaps import HELD
from proxy.control.storage.entries import Basis, Entry
from proxy.snapshot import CIRCLE

_DECIDED: Final = frozenset({Phase.PROMOTING, *HELD})
"""Phases that carry out what was decided before."""


def entry(state: State, record: Record, at_s: float, config: str, basis: Basis | None) -> Entry:
    """The line for a record of a change that led to a state. `config` is the digest of the configuration by which it
    changes."""
    details = {
        "phase": str(state.phase), "verdict": state.verdict, "decidedBy": state.decided_by, "step": state.step,
        "stage": state.stage, "weight": state.weight_ppm * 100 / CIRCLE, "mirror": state.mirror_ppm * 100 / CIRCLE,
        **({} if basis is None else why.numbers(basis.verdict)), **record.facts,
    }  # fmt: skip
    return Entry(0, at_s, state.route, record.kind, record.actor, record.text, details, config)


def basis(subject: Subject) -> Basis | None:
    """What a change is made on now. While the candidate takes over, what decided for it stands, unless harm speaks."""
    judge, judged, state = subject.collected.judge, subject.judged, subject.state
    if judge is None or judged is None or state is None:
        return None
    if state.phase in _DECIDED and not judged[0].abort:
        return None
    return why.basis(judge, *judged)
