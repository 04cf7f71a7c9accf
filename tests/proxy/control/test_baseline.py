"""A rollout that compares its candidate with a baseline, in a whole controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.admin.report import markdown
from tests.support.control_plane import STEPS, World, config, playing


def document(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    roles = (("v1", "stable"), ("v2", "canary"), ("v3", "baseline"))
    return config(*(steps or STEPS[:2]), backendRefs=[{"name": name, "role": role} for name, role in roles], **more)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with playing(tmp_path, document()) as made:
        yield made


def weights(world: World) -> dict[str, float]:
    return {arm["backend"]: arm["weight"] for arm in world.first["arms"] if arm["role"] != "shadow"}


async def test_both_get_the_same_share_and_then_nothing(world: World) -> None:
    """A baseline would be no equal control, or serve users after its rollout."""
    assert weights(world) == {"v1": 60.0, "v2": 20.0, "v3": 20.0}
    route = await world.second()
    assert route["metrics"][0]["control"] == "baseline"
    route = await world.until("Succeeded", "Aborted")
    assert route["phase"] == "Succeeded", route["reason"]
    errors = route["metrics"][0]
    assert errors["nStable"] == errors["nCandidate"] > 0, "what is compared is not what the baseline did"
    assert world.arm("stable")["requests"] > 2 * errors["nStable"]
    assert {name: weight for name, weight in weights(world).items() if weight} == {"v2": 100.0}
    text = markdown(route | {"webhooks": []}, [])
    assert "| Compared with | the baseline v3 |" in text
    assert "| Metric | Baseline | Candidate |" in text
    assert "baseline and" in text, "the numbers are said to be of stable"


async def test_what_meets_fresh_instances_alone_is_not_held_against_the_candidate(world: World) -> None:
    """Errors that every cold instance makes would abort each new version; that is what the baseline is there for."""
    route = await world.until("Succeeded", "Aborted", fail={"v2": 4, "v3": 4})
    assert route["phase"] == "Succeeded", route["reason"]


async def test_a_candidate_that_is_worse_than_the_baseline_is_aborted(world: World) -> None:
    """A baseline would hide what the candidate does."""
    route = await world.until("Succeeded", "Aborted", fail={"v2": 3})
    assert (route["phase"], route["verdict"], weights(world)["v3"]) == ("Aborted", "Failed", 0.0)
    assert "baseline" in route["reason"] or route["decidedBy"] == "breaker"


async def test_a_split_that_is_off_between_the_two_is_seen(tmp_path: Path) -> None:
    """Requests that the candidate loses would be looked for in the share of stable, and never be missed."""
    world = World(tmp_path, document({"setWeight": 20}, {"pause": {}}))
    await world.start()
    for _ in range(30):
        route = await world.second()
    assert (route["ratio"]["expectedShare"], route["ratio"]["flagged"]) == (0.5, False)
    assert route["ratio"]["observedShare"] == pytest.approx(0.5)
    await world.close()


async def test_a_killed_controller_goes_on_with_the_same_baseline(world: World) -> None:
    """Evidence, rows or the baseline would be lost with a process."""
    for _ in range(4):
        await world.second()
    before, rows = world.first, world.rows()
    await world.kill()
    await world.start()
    after = world.first
    for key in ("phase", "weight", "stage", "baseline", "startedAt", "metrics", "arms", "ratio"):
        assert after[key] == before[key], key
    assert world.rows() == rows
    assert (await world.until("Succeeded", "Aborted"))["phase"] == "Succeeded"


async def test_another_baseline_is_another_question(world: World) -> None:
    """Evidence against one control would be added to evidence against another."""
    for _ in range(4):
        await world.second()
    edited = document()
    edited["backends"][2]["version"] = "restarted"
    world.write(edited)
    assert world.controller is not None
    await world.controller.reload("test")
    route = world.first
    assert (route["phase"], route["metrics"][0]["nCandidate"]) == ("Waiting", 0)
