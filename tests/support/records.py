"""Recorded requests for simulations: seeded traffic whose truth is known, as the lines that `simulate` reads."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from config.loader import loads
from proxy.simulation.outcome import document
from proxy.simulation.run import run

STABLE, CANDIDATE = "fraud-v1", "fraud-v2"
LABELS = ("cat", "dog", "bird")


@dataclass(frozen=True)
class Version:
    """How one version answers."""

    errors: float = 0.01
    median_ms: float = 50.0
    spread: float = 0.4
    labels: tuple[float, ...] = (0.6, 0.3, 0.1)
    score: float = 0.4

    def serve(self, random: np.random.Generator, n: int) -> Iterator[dict[str, Any]]:
        """What becomes of n requests."""
        failed = (random.random(n) < self.errors).tolist()
        latency = np.round(self.median_ms * np.exp(self.spread * random.standard_normal(n)), 3).tolist()
        labels = random.choice(len(self.labels), n, p=self.labels).tolist()
        scores = np.round(random.normal(self.score, 0.1, n), 4).tolist()
        for bad, took, label, score in zip(failed, latency, labels, scores, strict=True):
            said = score if isfinite(score) else "NaN"  # JSON has no such number
            outputs = {} if bad else {"outputs": {"label": LABELS[label], "score": said}}
            yield {"latencyMs": took, "error": bad, **outputs}


@dataclass(frozen=True)
class Span:
    """Some time of one stage: so many requests per second, of which the candidate gets a share."""

    seconds: int
    rate: float = 200.0
    stage: int | None = 0
    weight: float | None = 50.0
    stable: Version = Version()
    candidate: Version = Version()
    share: float | None = None
    """What the candidate really gets; by default its weight."""
    users: int = 0


def requests(random: np.random.Generator, *spans: Span, start_s: float = 0.0) -> Iterator[dict[str, Any]]:
    """The records of some spans, one after the other."""
    second = start_s
    for span in spans:
        share = span.share if span.share is not None else (span.weight or 50.0) / 100
        told = {key: value for key, value in (("stage", span.stage), ("weight", span.weight)) if value is not None}
        for _ in range(span.seconds):
            n = int(random.poisson(span.rate))
            times = np.sort(np.round(second + random.random(n) * 0.999, 3)).tolist()
            users = random.integers(0, span.users, n).tolist() if span.users else None
            arms = (random.random(n) < share).tolist()
            served = {
                True: span.candidate.serve(random, sum(arms)),
                False: span.stable.serve(random, n - sum(arms)),
            }
            for place, (t, candidate) in enumerate(zip(times, arms, strict=True)):
                record = {"t": t, "backend": CANDIDATE if candidate else STABLE, **told}
                if users is not None:
                    record["user"] = f"u{users[place]}"
                yield record | next(served[candidate])
            second += 1


def lines(records: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> bytes:
    """Records as NDJSON."""
    return "".join(json.dumps(record) + "\n" for record in records).encode()


CONFIG: Mapping[str, Any] = {
    "listen": [{"address": "127.0.0.1:0"}],
    "backends": [
        {"name": STABLE, "endpoints": ["http://127.0.0.1:9001"]},
        {"name": CANDIDATE, "endpoints": ["http://127.0.0.1:9002"]},
        {"name": "other", "endpoints": ["http://127.0.0.1:9003"]},
    ],
    "routes": [
        {
            "name": "fraud",
            "backendRefs": [{"name": STABLE, "role": "stable"}, {"name": CANDIDATE, "role": "canary"}],
            "predictions": {
                "protocol": "open-inference",
                "outputs": [
                    {"name": "label", "kind": "category"},
                    {"name": "score", "kind": "number", "range": [0, 1]},
                ],
            },
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"analysis": {}}]}},
            "analysis": {
                "minDuration": "1m",
                "maxDuration": "20m",
                "minSamples": 500,
                "metrics": [
                    {"name": "errors", "maxIncrease": "1pp"},
                    {"name": "latency.p50", "maxIncrease": "10%"},
                    {"name": "latency.p95", "maxIncrease": "20%"},
                    {"name": "prediction.label", "maxShift": "5pp"},
                    {"name": "prediction.score", "maxShift": "0.2sd"},
                ],
            },
        }
    ],
}
"""A file with one route. Every margin is proven within some minutes at 200 requests/s and a weight of 50 %."""


def config(change: Callable[[dict[str, Any]], object] | None = None, **analysis: Any) -> str:
    """The file as text; `change` edits its route, `analysis` the keys of its analysis."""
    found: dict[str, Any] = json.loads(json.dumps(CONFIG))
    route = found["routes"][0]
    route["analysis"] |= analysis
    if change is not None:
        change(route)
    return json.dumps(found)


def simulate(records: Iterator[dict[str, Any]] | Sequence[dict[str, Any]] | bytes, text: str | None = None,
             last_stage: int | None = None) -> dict[str, Any]:  # fmt: skip
    """What `understudy simulate --json` prints for records, without a process of its own."""
    loaded = loads(config() if text is None else text, "test")
    raw = records if isinstance(records, bytes) else lines(records)
    simulation = run(loaded, loaded.config.routes[0], io.BytesIO(raw), last_stage)
    try:
        return json.loads(json.dumps(document(simulation), allow_nan=False))  # type: ignore[no-any-return]
    finally:
        simulation.close()
