"""Both answers to the same requests, as people see them: how many were compared, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from analysis.summaries import OTHER, Repeats
from proxy.control.evidence.holdings import Arm
from proxy.control.evidence.subject import Subject
from proxy.control.evidence.tally import ArmTally, merged

Json = dict[str, Any]
LABELS_SHOWN: Final = 24
"""Labels in a confusion table; the rest is added up as OTHER."""


def front(subject: Subject) -> str:
    """Of several candidates the one that is in front; empty where there is one."""
    return subject.state.candidate if subject.state is not None and subject.state.race else ""


def pairs(subject: Subject, tallies: Mapping[Arm, ArmTally], rival: str) -> Json | None:
    """Both answers to the same requests: of a candidate and stable, or of all shadows where there is one candidate."""
    stable = subject.state.stable if subject.state is not None else ""
    among = {rival, stable} if rival == front(subject) else {rival}  # stable's copies are of what takes over
    shadows = [
        (backend, counted)
        for (backend, role), counted in tallies.items()
        if role == "shadow" and (not rival or backend in among)
    ]
    sums = subject.collected.paired(subject.tracks, rival)
    compared, outputs, repeated = sums.compared, sums.disagreed, sums.repeated
    if not shadows:
        return None
    confusion: dict[str, Mapping[tuple[str, str], float]] = {}
    for backend, counted in shadows:
        turned = subject.state is not None and backend == subject.state.stable  # copies of what the candidate answers
        for output, pairs in counted.confusion.items():
            found = {(b, a): count for (a, b), count in pairs.items()} if turned else pairs
            confusion[output] = merged(confusion.get(output, {}), found)
    return {
        "compared": int(compared),
        "outputs": {
            name: {
                "compared": int(n),
                "disagreed": int(x),
                **_noise(repeated.get(name, Repeats())),
                "confusion": _confusion(confusion.get(name, {})),
            }
            for name, (n, x) in outputs.items()
        },
    }


def _noise(again: Repeats) -> Json:
    """Pairs whose request stable was asked twice, and those of them where it differs from itself."""
    return {"repeated": int(again.n), "stableDisagreed": int(again.stable + again.both)}


def _confusion(pairs: Mapping[tuple[str, str], float]) -> Json:
    """Stable's labels in rows, the shadow's in columns, the most frequent first."""
    weight: dict[str, float] = {}
    for (stable, shadow), count in pairs.items():
        weight[stable] = weight.get(stable, 0) + count
        weight[shadow] = weight.get(shadow, 0) + count
    labels = sorted(weight, key=lambda label: (-weight[label], label))
    if len(labels) > LABELS_SHOWN:
        labels = [*[label for label in labels if label != OTHER][: LABELS_SHOWN - 1], OTHER]
    places = {label: place for place, label in enumerate(labels)}
    cells = [[0] * len(labels) for _ in labels]
    for (stable, shadow), count in pairs.items():
        cells[places.get(stable, len(labels) - 1)][places.get(shadow, len(labels) - 1)] += int(count)
    return {"rows": labels, "cells": cells}
