"""What GrowthBook's gbstats (PyPI, MIT) gives for some samples: written to tests/analysis/gbstats.json.

build/prove/bin/python -m tests.prove.gbstats_numbers

It runs in an environment of its own, since gbstats wants numpy 1 and the project numpy 2. The ordinary tests compare
with the file.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic
from gbstats.utils import check_srm

RATES = [(9500, 95, 500, 8), (50_000, 500, 50_000, 610), (990_000, 9_900, 10_000, 130)]
MEANS = [(900, 45.0, 905.0, 100, 12.0, 104.0), (20_000, 1000.0, 20_400.0, 20_000, 1900.0, 20_900.0)]
SPLITS = [(500, 9500, 0.05), (600, 9400, 0.05), (5200, 4800, 0.5)]
ALPHA, TUNED_FOR = 0.05, 5000.0


def main() -> None:
    """Write the file."""
    config = SequentialConfig(difference_type="absolute", alpha=ALPHA, sequential_tuning_parameter=TUNED_FOR)
    intervals = []
    for n_s, x_s, n_c, x_c in RATES:
        arms = ProportionStatistic(n=n_s, sum=x_s), ProportionStatistic(n=n_c, sum=x_c)
        intervals.append({"rates": [n_s, x_s, n_c, x_c], **_interval(SequentialTwoSidedTTest(*arms, config))})
    for n_s, sum_s, squares_s, n_c, sum_c, squares_c in MEANS:
        stable = SampleMeanStatistic(n=n_s, sum=sum_s, sum_squares=squares_s)
        candidate = SampleMeanStatistic(n=n_c, sum=sum_c, sum_squares=squares_c)
        moments = [n_s, sum_s, squares_s, n_c, sum_c, squares_c]
        intervals.append({"moments": moments, **_interval(SequentialTwoSidedTTest(stable, candidate, config))})
    splits = [{"counts": [c, s], "share": p, "p": float(check_srm([c, s], [p, 1 - p]))} for c, s, p in SPLITS]
    facts = {"gbstats": version("gbstats"), "alpha": ALPHA, "tunedFor": TUNED_FOR, "intervals": intervals,
             "splits": splits}  # fmt: skip
    out = Path(__file__).parents[1] / "analysis" / "gbstats.json"
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _interval(test: SequentialTwoSidedTTest) -> dict[str, object]:
    low, high = test.confidence_interval
    return {"variance": float(test.variance), "effect": float(test.point_estimate), "interval": [low, high],
            "p": float(test.p_value)}  # fmt: skip


if __name__ == "__main__":
    main()
