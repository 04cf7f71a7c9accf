"""What guards a route, under real load: rate limits."""

from __future__ import annotations

from time import monotonic

import pytest

from tests.support.load import Load
from tests.support.system import fetch, models, understudy, wait_for

pytestmark = pytest.mark.system

LIMIT, BURST = 100, 30


def plain(server, **route):
    return {
        "workers": 2,
        "backends": [{"name": "v1", "endpoints": [f"http://127.0.0.1:{server.port}"]}],
        "routes": [{"name": "m", "backendRefs": [{"name": "v1"}], **route}],
    }


def metric(system, name, **labels):
    """The value of a metric, summed over the samples that have these labels."""
    text = fetch(f"{system.admin}/metrics")[1]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


async def test_two_workers_hold_one_rate_limit(tmp_path):
    """If this fails, a limit is another one for each worker, for each connection, or judges the version."""
    with models("v1") as (v1,):
        limits = [{"requests": LIMIT, "burst": BURST}]
        with understudy(tmp_path, plain(v1, rateLimits=limits)) as system:
            started = monotonic()
            load = Load(system.port, rate=4 * LIMIT, connections=16)
            tally = await load.send(4 * LIMIT * 6)
            took_s = monotonic() - started
            allowed = BURST + LIMIT * took_s
            assert set(tally.statuses) == {200, 429}, tally.problems
            assert 0.9 * allowed <= tally.statuses[200] <= 1.1 * allowed, (tally.statuses, took_s)
            refused = tally.statuses[429]
            counted = wait_for("the count", lambda: metric(system, "understudy_rate_limited_total", route="m"))
            assert counted == refused
            # They are no sample of the version, and it has not seen them.
            assert metric(system, "understudy_requests_total", backend="v1") == tally.statuses[200]
            assert v1.control()["seen"] == tally.statuses[200]


async def test_a_user_has_a_limit_of_its_own(tmp_path):
    """If this fails, one greedy user takes from all others, or has the limit once for each of its connections."""
    with models("v1") as (v1,):
        limits = [{"key": {"header": "x-user-id"}, "requests": 1, "per": "1h", "burst": 5}]
        with understudy(tmp_path, plain(v1, rateLimits=limits)) as system:
            tally = await Load(system.port, user_count=20, connections=16).send(400)
            assert tally.statuses == {200: 100, 429: 300}, tally.problems
