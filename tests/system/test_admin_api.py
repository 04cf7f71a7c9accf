"""The admin API of a whole Understudy, as its own OpenAPI document describes it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import system

pytestmark = [pytest.mark.system, pytest.mark.slow]

TOKEN = "0123456789abcdef0123456789abcdef"
EXAMPLES = 25
"""Requests that are made up for each endpoint, of each kind: some two thousand in all."""


def test_the_running_api_is_what_its_document_says(tmp_path: Path):
    """Broken: an answer, a status or an error that no client was told of; or a request that is a bug here (500).

    Schemathesis makes requests up from the document, good and bad ones, and holds each answer to it.
    """
    with system.models("v1", "v2") as (v1, v2):
        config = system.canary(v1, v2, [{"setWeight": 10}, {"pause": {}}], workers=1)
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        config["admin"] = {"tokens": [{"name": "fuzzer", "role": "admin", "sha256": digest}]}
        with system.understudy(tmp_path, config) as running:
            (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.name" = "m"\n')
            run = subprocess.run(
                [
                    str(Path(sys.executable).with_name("schemathesis")),
                    *("run", f"{running.admin}/api/v1/openapi.json", "--seed", "7", "--no-color"),
                    *("--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing", "--checks", "all"),
                    *("--exclude-checks", "ignored_auth", "-H", f"Authorization: Bearer {TOKEN}"),
                    *("--generation-database", "none", "--exclude-path", "/api/v1/events"),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=110,
            )
            assert run.returncode == 0, f"{run.stdout[-9000:]}\n{run.stderr[-2000:]}"
