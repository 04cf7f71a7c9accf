"""The main job, as a person runs it: `understudy demo` on real models."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.system import ROOT

pytestmark = pytest.mark.system


@pytest.mark.alone
def test_the_demo_promotes_the_good_version_and_aborts_the_bad_one(tmp_path):
    """If this fails, the product does not do its main job."""
    found = tmp_path / "demo.json"
    command = [sys.executable, "-m", "proxy", "demo", "--json", str(found)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    told = json.loads(found.read_text())
    ends = {rollout["candidate"]: (rollout["phase"], rollout["verdict"]) for rollout in told["rollouts"]}
    assert ends == {"digits-v2": ("Succeeded", "Successful"), "digits-v3": ("Aborted", "Failed")}
    assert told["clientErrors"] == told["clientErrorsByBackend"].get("digits-v3", 0)
    assert told["clientErrorsUnexplained"] == 0
    assert told["seconds"] < 180
