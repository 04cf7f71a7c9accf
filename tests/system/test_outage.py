"""What an outage costs before it is over, from the client's first failure to the last worker that has heard.

The budget: at 5 % of 50 requests/s at most 12 failures of a version that fails all of its requests, and 25 (median) of
one that fails half. Here the schedule is fixed, every twentieth request is the candidate's and every one or every other
one of those fails, so that evidence is the same each time: 7 failures (20) at the start, or 8 after a calm time, two of
which raise the alarm, and those of a quarter of a second decide. What is left to chance is the machine, which has a
second and a half at least before the test fails. How it is with chance in the schedule is simulated in
`tests/analysis/test_breaker.py`.
"""

from __future__ import annotations

import asyncio
import json
from itertools import cycle

import pytest

from proxy.control.routing.compile import seed
from proxy.data.requests.router import place
from proxy.snapshot import CIRCLE
from tests.support.load import Load, users
from tests.support.system import canary, models, understudy, wait_for

pytestmark = pytest.mark.system

STEPS = [{"setWeight": 5}, {"pause": {}}]
ROLLBACK_MS = 250.0


def told(system, event):
    """The lines of the log about an event."""
    lines = [json.loads(line) for line in system.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def every_twentieth():
    """Users of whom every twentieth is the candidate's, and none comes twice in a minute."""
    found = {True: [], False: []}
    for user in users(1 << 30):
        found[place(seed("m"), user.encode()).place < CIRCLE // 20].append(user)
        if len(found[True]) == 150:
            break
    ours, theirs = found[True], cycle(found[False])
    return cycle([user for one in ours for user in (*(next(theirs) for _ in range(19)), one)])


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fail_every", "calm_s", "at_most"), [(1, 0, 12), (2, 0, 25), (1, 8, 12)], ids=["all", "half", "all-after-a-calm"]
)
async def test_an_outage_is_over_within_the_budget_and_rolled_back_at_once(tmp_path, fail_every, calm_s, at_most):
    """If this fails, a version that is broken keeps its traffic, or workers hear late that it is out."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, block="30s")) as system:
        await asyncio.to_thread(system.wait_phase, "Paused")
        load = Load(system.port, rate=50)
        load._users = every_twentieth()
        if not calm_s:
            v2.control(failEvery=fail_every)
        async with load:
            if calm_s:
                await asyncio.sleep(calm_s)
                assert not load.tally.failed
                v2.control(failEvery=fail_every)
            await asyncio.to_thread(system.wait_phase, "Aborted", timeout_s=60)
            sent = load.tally.sent
            await asyncio.to_thread(wait_for, "answers after it", lambda: load.tally.sent > sent + 40)
            failed = load.tally.failed
        route = system.route()
        assert route["decidedBy"] == "breaker", route["reason"]
        assert set(load.tally.statuses) == {200, 500}
        assert 0 < failed <= at_most
        heard = told(system, "workers route anew")[-1]
        assert (heard["workers"], heard["all_heard"]) == (2, True)
        assert heard["took_ms"] <= ROLLBACK_MS
