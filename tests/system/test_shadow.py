"""A shadow never hurts: dead, slow or hung, the client does not notice."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.load import Load, least
from tests.support.system import canary, models, understudy, wait_for

pytestmark = pytest.mark.system

RATE = 150
REHEARSE = [{"setMirror": {"percent": 100}}, {"pause": {}}, {"setWeight": 50}, {"analysis": {}}]
METRICS = [{"name": "pair.label", "maxDisagreement": "50%"}]
"""A guardrail that a dead shadow does not break: the rollout has to stay where it is."""


def skips(system):
    arms = {arm["backend"]: arm for arm in system.route()["arms"]}
    return arms["v2"]["skips"]


async def p99(system, seconds=4):
    load = Load(system.port, rate=RATE)
    tally = await load.send(RATE * seconds)
    assert tally.failed == 0, tally.problems
    return tally.quantile_s(0.99)


async def test_a_dead_or_slow_shadow_costs_nothing(tmp_path):
    """If this fails, rehearsing a broken version slows or breaks what the client gets."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, REHEARSE, METRICS, breaker=None)
        with understudy(tmp_path, config) as system:
            wait_for("the mirror", lambda: system.route()["mirror"] == 100)
            await p99(system, 2)
            assert v2.control()["shadows"] > 0, "nothing was mirrored"
            healthy = await p99(system)
            # Noise of a loaded machine reaches tens of milliseconds; a client that waits for a shadow would see 5 s.
            limit_s = max(3 * healthy, 0.1)
            v2.control(delayMs=5000)
            assert await least(lambda: p99(system), limit_s) < limit_s
            assert wait_for("skips of a busy shadow", lambda: skips(system).get("busy")) > 0
            v2.control(delayMs=0)
            v2.stop()
            assert await least(lambda: p99(system), limit_s) < limit_s
            assert wait_for("skips of a dead shadow", lambda: skips(system).get("no-connection")) > 0


async def test_a_frozen_shadow_is_given_up(tmp_path):
    """If this fails, a stopped process (which accepts and never answers) fills the proxy with copies."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, REHEARSE, METRICS, breaker=None)
        with understudy(tmp_path, config) as system:
            wait_for("the mirror", lambda: system.route()["mirror"] == 100)
            os.kill(v2.process.pid, signal.SIGSTOP)
            assert await p99(system) < 0.5
            assert wait_for("skips", lambda: skips(system).get("busy")) > 0
