"""What an outage costs before it is over, from the client's first failure to the last worker that has heard."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.load import Load
from tests.support.system import canary, models, understudy

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

FAILURES_MAX = 20
"""What `tests.prove.outage` never reaches in 400 runs with all requests failing: a median of 9, 14 in 99 of 100."""
ROLLBACK_MS = 250.0


def told(system, event):
    """The lines of the log about an event."""
    lines = [json.loads(line) for line in system.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def test_an_outage_is_out_after_a_few_failures_and_rolled_back_at_once(tmp_path):
    """If this fails, a version that fails everything keeps its traffic, or workers hear late that it is out."""
    steps = [{"setWeight": 5}, {"pause": {}}]
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, steps)) as system:
        async with Load(system.port, rate=50, user_count=5000) as load:
            await asyncio.to_thread(system.wait_phase, "Paused")
            await asyncio.sleep(2.0)
            assert load.tally.failed == 0, load.tally.problems
            v2.control(failEvery=1)
            await asyncio.to_thread(system.wait_phase, "Aborted", timeout_s=30)
            await asyncio.sleep(0.5)
            failed = load.tally.failed
        route = system.route()
        assert route["decidedBy"] == "breaker", route["reason"]
        assert 0 < failed <= FAILURES_MAX
        heard = told(system, "workers route anew")[-1]
        assert (heard["workers"], heard["all_heard"]) == (2, True)
        assert heard["took_ms"] <= ROLLBACK_MS
