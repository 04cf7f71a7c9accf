"""`understudy simulate` as a process of its own, fed as people feed it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.records import Span, Version, config, lines, requests

ROOT = Path(__file__).parents[2]
UNDERSTUDY = (sys.executable, "-m", "proxy", "simulate")

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_the_example_of_the_handbook_says_what_the_handbook_says(tmp_path: Path) -> None:
    """Broken: the first thing that people try does not work."""
    page = (ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")
    [script] = re.findall(r"python3 - <<'END' > requests.ndjson\n(.*?)\nEND\n", page, re.DOTALL)
    records = tmp_path / "requests.ndjson"
    with records.open("wb") as out:
        subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    command = [*UNDERSTUDY, "--config", "config/examples/canary.yaml", "--route", "fraud", "--json", "--samples"]
    found = subprocess.run([*command, str(records)], cwd=ROOT, capture_output=True, check=True)
    document = json.loads(found.stdout)
    assert (document["verdict"], document["decidedBy"]) == ("Failed", "errors")


def test_packed_records_through_a_pipe_come_to_a_verdict(tmp_path: Path) -> None:
    """Broken: `zcat … | understudy simulate` and its kin do not work."""
    file = tmp_path / "understudy.yaml"
    file.write_text(config())
    records = lines(requests(np.random.default_rng(1), Span(130, candidate=Version(errors=0.08))))
    command = [*UNDERSTUDY, "--config", str(file), "--route", "fraud"]
    found = subprocess.run(command, input=gzip.compress(records), cwd=ROOT, capture_output=True, check=True)
    assert "fraud-v2 was aborted" in found.stdout.decode()
    assert b"Traceback" not in found.stderr


def test_what_is_cut_short_ends_with_status_two(tmp_path: Path) -> None:
    """Broken: half a log is judged as if it were the whole, and a pipeline goes on."""
    file = tmp_path / "understudy.yaml"
    file.write_text(config())
    packed = gzip.compress(lines(requests(np.random.default_rng(1), Span(3))))[:-50]
    command = [*UNDERSTUDY, "--config", str(file), "--route", "fraud", "--samples", "-"]
    found = subprocess.run(command, input=packed, cwd=ROOT, capture_output=True, check=False)
    assert found.returncode == 2
    assert "stdin:" in found.stderr.decode()
    assert "the gzip data ends in the middle" in found.stderr.decode()


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["report", "json"])
def test_an_outcome_that_cannot_be_written_is_one_line_and_status_four(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Broken: a full disk leaves half a report and status 0, or a traceback."""
    file = tmp_path / "understudy.yaml"
    file.write_text(config())
    command = [*UNDERSTUDY, "--config", str(file), "--route", "fraud", *options]
    records = lines(requests(np.random.default_rng(1), Span(2)))
    with Path("/dev/full").open("wb") as full:
        found = subprocess.run(command, input=records, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    said = "understudy: standard output cannot be written: no space left on device; what is there of it is not complete"
    assert (found.returncode, found.stderr.decode().splitlines()) == (4, [said])
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as unread:
        found = subprocess.run(command, input=records, stdout=unread, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert (found.returncode, len(found.stderr.splitlines())) == (4, 1)
    assert b"nobody reads it any more" in found.stderr
