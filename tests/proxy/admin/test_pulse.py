"""How routes go of late, of histograms that are made here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from proxy.admin.latency import Histogram
from proxy.admin.pulse import MOST, RECENT, Pulse, p99_ms
from proxy.ledger.layout import GRACE_S, LATENCY_BUCKETS, latency_bucket

ROUTE = {"name": "fraud", "weight": 5.0, "mirror": 0.0}
STABLE, CANARY = ("fraud", "v1", "stable"), ("fraud", "v2", "canary")


def gained(latency_s: float, n: int, failed: int = 0, late: int = 0) -> Histogram:
    counts = np.zeros(LATENCY_BUCKETS)
    counts[latency_bucket(latency_s)] = n
    return Histogram(counts, float(late), float(failed))


def beaten(beats: list[dict[Any, Histogram]], every_s: float = 5.0, route: dict[str, Any] = ROUTE) -> Pulse:
    pulse = Pulse()
    pulse.beat(1000.0, {STABLE: gained(9.0, 999)}, [route])
    for number, beat in enumerate(beats, 1):
        pulse.beat(1000.0 + every_s * number, beat, [route])
    return pulse


def test_the_last_minute_is_told_exactly():
    """Broken: errors or latency of the overview are not those that clients meet now."""
    old = [{STABLE: gained(5.0, 100, failed=100)}] * 3
    fresh = [{STABLE: gained(0.010, 99, failed=1), CANARY: gained(0.020, 10)}] * (RECENT - 1)
    found = beaten([*old, *fresh, {STABLE: gained(0.050, 11)}]).now("fraud")
    stable, canary = found["v1", "stable"], found["v2", "canary"]
    total = 99 * (RECENT - 1) + 11
    assert stable["requestsPerSecond"] == pytest.approx(total / (5 * RECENT))
    assert stable["errors"] == pytest.approx((RECENT - 1) / total)
    assert stable["p99Ms"] == pytest.approx(10, rel=0.01), "eleven of a thousand are at 50 ms, ten would be the last"
    assert canary == {"requestsPerSecond": pytest.approx(110 / 60), "errors": 0.0, "p99Ms": pytest.approx(20, rel=0.01)}
    assert beaten([]).now("fraud") == {}
    assert beaten(fresh).now("another") == {}


def test_what_was_before_the_first_beat_is_left_out():
    """Broken: a controller that has begun again shows fifteen seconds of traffic as if they were five."""
    assert beaten([{}]).now("fraud") == {}
    pulse = Pulse()
    pulse.beat(1000.0, {}, [])
    pulse.beat(1005.0, {STABLE: gained(0.01, 1500)}, [ROUTE])
    assert pulse.now("fraud") == {}
    pulse.beat(1010.0, {STABLE: gained(0.01, 500)}, [ROUTE])
    assert pulse.now("fraud")["v1", "stable"]["requestsPerSecond"] == 100


@pytest.mark.parametrize("beats", [1, MOST, MOST + 1, MOST + 2, 2 * MOST, 5 * MOST + 7])
def test_a_course_is_bounded_and_loses_nothing(beats):
    """Broken: memory grows with time, or a chart forgets requests, seconds or the highest latency."""
    marks = {0: gained(0.5, 10, failed=10)}
    pulse = beaten([{STABLE: marks.get(n, gained(0.010, 10, failed=1))} for n in range(beats)])
    points, versions = pulse.course("fraud").document()
    assert len(points) <= MOST
    assert len(points) > min(beats, MOST // 2) - 1
    assert sum(point["seconds"] for point in points) == pytest.approx(5.0 * beats)
    assert [point["at"] for point in points] == sorted(point["at"] for point in points)
    assert points[-1]["at"] == 1000.0 + 5 * beats
    (stable,) = versions
    assert (sum(stable["requests"]), sum(stable["failed"])) == (10 * beats, beats + 9)
    assert len(stable["requests"]) == len(stable["p99Ms"]) == len(points)
    assert stable["p99Ms"][0] == pytest.approx(500, rel=0.01)
    lengths = {point["seconds"] for point in points[:-1]}
    assert len(lengths) <= 1, "points are of one length, but for the last"


def test_a_version_that_comes_later_has_gaps_before():
    """Broken: a candidate's line is drawn over a time when it had no request."""
    pulse = beaten([{STABLE: gained(0.01, 5)}, {STABLE: gained(0.01, 5), CANARY: gained(0.02, 2)}, {}])
    points, versions = pulse.course("fraud").document()
    canary = next(each for each in versions if each["role"] == "canary")
    assert canary["requests"] == [0, 2, 0]
    assert canary["p99Ms"] == [None, pytest.approx(20, rel=0.01), None]
    assert [point["weight"] for point in points] == [5.0] * 3


def test_a_route_that_is_gone_is_forgotten():
    """Broken: a controller keeps the past of every route that there ever was."""
    pulse = beaten([{STABLE: gained(0.01, 5)}] * 3)
    pulse.beat(2000.0, {}, [{"name": "other", "weight": 0.0, "mirror": 0.0}])
    assert pulse.course("fraud").document() == ([], [])
    assert len(pulse.course("other").document()[0]) == 1


def test_the_latest_are_above_all_others():
    """Broken: requests that took longer than the grace do not count in p99."""
    pulse = beaten([{STABLE: gained(0.01, 90, late=10)}])
    assert pulse.now("fraud")["v1", "stable"]["p99Ms"] == 1000 * GRACE_S
    assert p99_ms([]) is None
