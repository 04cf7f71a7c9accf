"""The file is edited while requests flow."""

from __future__ import annotations

import asyncio
import copy
import os
import time

import pytest
import yaml

from tests.support.load import Load
from tests.support.system import canary, fetch, models, understudy, wait_for

pytestmark = pytest.mark.system


def timeout_of(config, seconds):
    """The configuration with another request timeout."""
    changed = copy.deepcopy(config)
    changed["routes"][0]["timeouts"] = {"request": f"{seconds}s"}
    return changed


def in_all_workers(system, generation):
    status = system.get("/status")
    return status["config"]["generation"] > generation and all(
        worker["generation"] == status["config"]["generation"] for worker in status["workers"]
    )


async def test_a_hundred_reloads_lose_no_request(tmp_path):
    """If this fails, an edit of the file costs somebody a request."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}, {"pause": {}}])
        with understudy(tmp_path, config) as system:
            before = system.get("/status")["config"]["generation"]
            config = system.config
            async with Load(system.port, rate=300) as load:
                start = asyncio.get_running_loop().time()
                for number in range(100):
                    system.write(timeout_of(config, 5 + number % 7))
                    await asyncio.sleep(max(0.0, start + (number + 1) * 0.095 - asyncio.get_running_loop().time()))
            assert load.tally.sent > 1000
            assert load.tally.failed == 0, load.tally.problems
            assert wait_for("the last edit", lambda: in_all_workers(system, before))
            assert system.route()["phase"] == "Paused", "a reload reset the progress of the rollout"


@pytest.mark.parametrize("way", ["in place", "rename", "configmap"])
def test_an_edit_is_live_within_a_second(tmp_path, way):
    """If this fails, some editor or Kubernetes itself changes the file without anybody noticing."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}, {"pause": {}}])
        with understudy(tmp_path, config) as system:
            config = system.config
            if way == "configmap":
                # The kubelet's layout: file -> ..data/file, ..data -> a dated folder.
                system.stop()
                text = system.path.read_text()
                for name in ("..one", "..two"):
                    (tmp_path / name).mkdir()
                    (tmp_path / name / system.path.name).write_text(text)
                system.path.unlink()
                (tmp_path / "..data").symlink_to("..one")
                system.path.symlink_to(f"..data/{system.path.name}")
                system.start()
            took_s = []
            for seconds, other in ((3, "..two"), (4, "..one"), (5, "..two")):
                before = system.get("/status")["config"]["generation"]
                edited = timeout_of(config, seconds)
                began_s = time.monotonic()
                if way == "in place":
                    system.path.write_text(yaml.safe_dump(edited))
                elif way == "rename":
                    system.write(edited)
                else:
                    (tmp_path / other / system.path.name).write_text(yaml.safe_dump(edited))
                    (tmp_path / "..swap").symlink_to(other)
                    os.replace(tmp_path / "..swap", tmp_path / "..data")
                wait_for("the edit in all workers", lambda: in_all_workers(system, before))  # noqa: B023
                took_s.append(time.monotonic() - began_s)
            assert min(took_s) < 1.0, took_s  # the least: a busy machine holds up one or the other


def test_a_bad_edit_changes_nothing_and_says_why(tmp_path):
    """If this fails, a typing error at 3 a.m. takes traffic down, or nobody can tell why the edit has no effect."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}, {"pause": {}}])
        with understudy(tmp_path, config) as system:
            before = system.get("/status")["config"]["generation"]
            good = system.path.read_text()
            system.path.write_text(good.replace("setWeight", "setWieght"))
            error = wait_for("the refusal", lambda: system.get("/status")["config"]["lastError"], 3)
            told = str(error)
            assert "setWieght" in told
            assert "setWeight" in told
            assert system.get("/status")["config"]["generation"] == before
            _, metrics = fetch(f"{system.admin}/metrics")
            assert "understudy_config_last_reload_successful 0.0" in metrics
            assert "setWieght" in system.log.read_text()
            assert fetch(f"http://127.0.0.1:{system.port}/v2/models/m/infer", "POST", b"{}")[0] == 200
            system.path.write_text(good)
            wait_for("the recovery", lambda: not system.get("/status")["config"]["lastError"], 3)
