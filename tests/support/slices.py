"""Slices for the statistical tests: built by hand, or drawn from seeded traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis.readings import Verdict
from analysis.summaries import GROUPS, ArmCounts, ArmTruths, Grid, Moments, PairCounts, Slice, TruthCounts

GRID = Grid()


def arm(
    n: float = 0.0,
    failed: float = 0.0,
    latency: np.ndarray | None = None,
    labels: Mapping[str, float] | None = None,
    numbers: Moments | None = None,
    missing: float = 0.0,
) -> ArmCounts:
    """An arm with n answered requests; its outputs are called `label` and `score`."""
    nothing = ArmCounts.empty(GRID)
    return replace(
        nothing,
        assigned=n,
        recorded=n,
        answered=n,
        failed=failed,
        latency=nothing.latency if latency is None else latency,
        labels={} if labels is None else {"label": dict(labels)},
        numbers={} if numbers is None else {"score": numbers},
        missing={"label": missing} if missing else {},
    )


def look(
    stable: ArmCounts,
    candidate: ArmCounts,
    *,
    stage: int = 0,
    at_s: float = 0.0,
    duration_s: float = 1.0,
    share: float = 0.5,
    pairs: tuple[float, float] | None = None,
    users: tuple[int, int] | None = None,
    sticky: bool = False,
) -> Slice:
    """A slice; `pairs` are (compared, disagreeing) on the output `label`."""
    compared = None if pairs is None else PairCounts(pairs[0], {"label": pairs}, np.zeros(256))
    return Slice(stage, at_s, duration_s, share, stable, candidate, compared, users, sticky)


def told(
    n_s: float, x_s: float, n_c: float, x_c: float, stage: int = 0, losses: tuple[Moments, Moments] | None = None
) -> TruthCounts:
    """Truths about one stage, and how many were wrong; `losses` of stable and candidate."""
    nothing = Moments(0.0, 0.0, 0.0)
    loss_s, loss_c = losses or (nothing, nothing)
    return TruthCounts(stage, ArmTruths(n_s, x_s, loss_s), ArmTruths(n_c, x_c, loss_c))


def hearing(*truths: TruthCounts, stage: int = 0, **options: object) -> Slice:
    """A slice in which nothing happened but that truths came."""
    return replace(look(arm(), arm(), stage=stage, **options), truths=truths)  # type: ignore[arg-type]


def errors(n_s: float, x_s: float, n_c: float, x_c: float, **options: object) -> Slice:
    """A slice of which only errors are known."""
    return look(arm(n_s, x_s), arm(n_c, x_c), **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Version:
    """How one version of a model behaves."""

    errors: float = 0.01
    slower: float = 1.0
    labels: tuple[float, ...] = (0.6, 0.3, 0.1)
    score: float = 0.0

    def serve(self, random: np.random.Generator, n: int) -> ArmCounts:
        """What becomes of n requests: lognormal latency around 50 ms, labels a, b, c …, scores with a spread of 1."""
        seconds = self.slower * np.exp(random.normal(np.log(0.05), 0.4, n))
        scores = random.normal(self.score, 1.0, n)
        labels = random.multinomial(n, self.labels)
        counts = {chr(97 + index): float(count) for index, count in enumerate(labels)}
        moments = Moments(float(n), float(scores.sum()), float((scores * scores).sum()))
        return arm(float(n), float(random.binomial(n, self.errors)), histogram(seconds), counts, moments)


def histogram(seconds: np.ndarray) -> np.ndarray:
    """Latencies by bucket of the grid."""
    buckets = np.floor(np.log(np.maximum(seconds, GRID.lowest_s) / GRID.lowest_s) / np.log(GRID.base) + 1e-9)
    return np.bincount(np.clip(buckets, 0, GRID.buckets - 1).astype(int), minlength=GRID.buckets).astype(float)


def groups(random: np.random.Generator, n: int, rate_by_user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Requests and failures by hash group of n requests of users that fail at rates of their own."""
    users = random.integers(0, len(rate_by_user), n)
    failed = random.random(n) < rate_by_user[users]
    return (
        np.bincount(users % GROUPS, minlength=GROUPS).astype(float),
        np.bincount(users[failed] % GROUPS, minlength=GROUPS).astype(float),
    )


def whole(verdict: Verdict) -> dict[str, Any]:
    """All that is in a verdict, its details too."""
    eager = asdict(replace(verdict, details=None, candidates=()))  # type: ignore[arg-type]
    each = {name: whole(own) for name, own in verdict.candidates}
    return {**eager, "details": asdict(verdict.details()), "candidates": each}
