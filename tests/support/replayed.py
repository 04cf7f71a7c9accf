"""What real traffic does to a comparison of equals, as records, and what `understudy simulate` says of it.

    python -m tests.support.replayed --seeds 100      the deep form: counts and times, hazard by hazard

Both versions are the same in all but the hazard's own chance, and margins are next to nothing: equal versions stand on
the boundary of harm. Every seed is a rollout of its own, through the command itself.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from typer.testing import CliRunner

from proxy.cli import app
from tests.support.records import CANDIDATE, STABLE, config

RATE: Final = 100
SECONDS: Final = 240
ONSET_S: Final = 120
"""When the late regression sets in."""
METRICS: Final = [
    {"name": "errors", "maxIncrease": "0.01pp"},
    {"name": "latency.p50", "maxIncrease": "1%"},
    {"name": "prediction.label", "maxShift": "0.1pp"},
]
Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Traffic:
    """One request in each place of the arrays. `share` is the candidate's at that time, in percent."""

    at_s: Numbers
    share: Numbers
    candidate: Numbers
    errors: Numbers
    median_ms: Numbers
    cats: Numbers
    """The chance of an error, the middle of the latency, the chance of the label `cat`."""
    users: Numbers | None = None

    def lines(self, random: np.random.Generator) -> bytes:
        """The requests as records."""
        n = len(self.at_s)
        failed = random.random(n) < self.errors
        took = np.round(self.median_ms * np.exp(0.4 * random.standard_normal(n)), 3)
        cat = random.random(n) < self.cats
        stages = np.unique(self.share, return_inverse=True)[1]
        found = []
        for i in range(n):
            record: dict[str, Any] = {
                "t": round(float(self.at_s[i]), 3),
                "backend": CANDIDATE if self.candidate[i] else STABLE,
                "stage": int(stages[i]),
                "weight": float(self.share[i]),
                "latencyMs": float(took[i]),
                "error": bool(failed[i]),
            }
            if not failed[i]:
                record["outputs"] = {"label": "cat" if cat[i] else "dog", "score": 0.5}
            if self.users is not None:
                record["user"] = f"u{int(self.users[i])}"
            found.append(json.dumps(record))
        return "\n".join(found).encode()


def _arrivals(random: np.random.Generator, seconds: int = SECONDS) -> tuple[Numbers, Numbers]:
    """Times, and one number for each request of which its version is drawn."""
    n = int(random.poisson(RATE * seconds))
    return np.sort(random.random(n) * seconds), random.random(n)


def _usual(at_s: Numbers) -> dict[str, Numbers]:
    n = len(at_s)
    return {"errors": np.full(n, 0.01), "median_ms": np.full(n, 50.0), "cats": np.full(n, 0.6)}


def equal(random: np.random.Generator) -> Traffic:
    """Nothing happens."""
    at_s, draw = _arrivals(random)
    return Traffic(at_s, np.full(len(at_s), 50.0), draw < 0.5, **_usual(at_s))


def bursts(random: np.random.Generator) -> Traffic:
    """Each version by itself fails 40 times as often, and takes three times as long, for 5 s every 50 s or so."""
    at_s, draw = _arrivals(random)
    candidate = draw < 0.5
    begins = random.random((2, SECONDS)) < 1 / 50
    bad = np.array([np.convolve(each, np.ones(5))[:SECONDS] > 0 for each in begins])
    hit = bad[candidate.astype(int), at_s.astype(int)]
    usual = _usual(at_s)
    usual["errors"], usual["median_ms"] = np.where(hit, 0.2, 0.005), np.where(hit, 150.0, 50.0)
    return Traffic(at_s, np.full(len(at_s), 50.0), candidate, **usual)


def drift(random: np.random.Generator) -> Traffic:
    """Errors, latency and labels of both drift far while the weight goes 5, 25, 50 %."""
    at_s, draw = _arrivals(random)
    share = np.array([5.0, 25.0, 50.0])[(3 * at_s / SECONDS).astype(int)]
    part = at_s / SECONDS
    return Traffic(at_s, share, draw < share / 100, 0.002 + 0.03 * part, 40 + 60 * part, 0.7 - 0.4 * part)


def sticky(random: np.random.Generator) -> Traffic:
    """A few users make most of the requests, stick to their version, and differ in all that is counted."""
    at_s, _ = _arrivals(random)
    known = 3000
    often = 1 / np.arange(1.0, known + 1)  # the first makes 12 % of the requests
    users = random.choice(known, len(at_s), p=often / often.sum())
    candidate = (random.random(known) < 0.5)[users]
    usual = _usual(at_s)
    usual["errors"], usual["cats"] = random.beta(0.5, 20, known)[users], random.beta(2, 2, known)[users]
    usual["median_ms"] = 50 * np.exp(0.3 * random.standard_normal(known))[users]
    return Traffic(at_s, np.full(len(at_s), 50.0), candidate, users=users.astype(float), **usual)


def late(random: np.random.Generator) -> Traffic:
    """Equal for two minutes; then the candidate fails 12 % of its requests."""
    at_s, draw = _arrivals(random, 2 * SECONDS)
    candidate, usual = draw < 0.5, _usual(at_s)
    usual["errors"] = np.where(candidate & (at_s >= ONSET_S), 0.12, 0.01)
    return Traffic(at_s, np.full(len(at_s), 50.0), candidate, **usual)


Hazard = Callable[[np.random.Generator], Traffic]
EQUALS: Final[Mapping[str, Hazard]] = {each.__name__: each for each in (equal, bursts, drift, sticky)}


def outcome(hazard: Hazard, seed: int, folder: Path) -> dict[str, Any]:
    """What the command prints of one seed."""
    traffic = hazard(random := np.random.default_rng([seed, *hazard.__name__.encode()]))

    def change(route: dict[str, Any]) -> None:
        if traffic.users is not None:
            route["sessionAffinity"] = {"header": "x-user"}

    file, records = folder / "understudy.yaml", folder / "requests.ndjson"
    file.write_text(config(change, metrics=METRICS))
    records.write_bytes(traffic.lines(random))
    options = ["--config", str(file), "--route", "fraud", "--samples", str(records), "--json"]
    result = CliRunner().invoke(app, ["simulate", *options])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _deep(seeds: int) -> None:
    with TemporaryDirectory() as folder:
        for name, hazard in (*EQUALS.items(), ("late", late)):
            begun_s = time.perf_counter()
            found = [outcome(hazard, seed, Path(folder)) for seed in range(seeds)]
            took_s = time.perf_counter() - begun_s
            verdicts = dict(Counter(each["verdict"] for each in found))
            blamed = dict(Counter(each["decidedBy"] for each in found if each["verdict"] == "Failed"))
            early = sum(each["verdict"] == "Failed" and each["atSeconds"] < ONSET_S for each in found)
            highest = max(each["abortEvidence"] for each in found)
            print(f"{name:7} {verdicts} by {blamed}, before {ONSET_S} s: {early}; highest evidence of harm "
                  f"{highest:.3g} of 20; {took_s / seeds:.2f} s each", flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    _deep(parser.parse_args().seeds)
