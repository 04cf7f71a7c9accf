"""Sticky users over real processes: the share, the stickiness, and that a restart changes neither."""

from __future__ import annotations

import pytest

from tests.support.load import Load
from tests.support.system import canary, models, understudy

pytestmark = pytest.mark.system

STAY = {"pause": {}}


async def test_users_stick_and_shares_hold(tmp_path):
    """If this fails, a user meets both versions, or the canary gets another share than the file says."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, [{"setWeight": 5}, STAY])) as system:
        five = await Load(system.port, user_count=2000, connections=32).send(2000 * 20)
        assert five.failed == 0, five.problems
        assert not five.users["v1"] & five.users["v2"], "a user met both versions at a standing weight"
        assert 0.035 <= len(five.users["v2"]) / 2000 <= 0.065

        config = system.config
        config["routes"][0]["strategy"]["canary"]["steps"] = [{"setWeight": 25}, STAY]
        system.stop()
        system.write(config)
        system.start()
        more = await Load(system.port, user_count=2000, connections=32).send(2000 * 2)
        assert more.failed == 0, more.problems
        assert five.users["v2"] <= more.users["v2"], "raising the weight took a user off the canary"
        assert not more.users["v1"] & more.users["v2"]
        assert 0.21 <= len(more.users["v2"]) / 2000 <= 0.29
