"""The command: what it reads, what it prints, and with which status it ends."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from proxy.cli import app
from tests.support.records import LABELS, Span, config, lines, requests

RECORDS = lines(requests(np.random.default_rng(1), Span(3)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "understudy.yaml"
    path.write_text(config())
    return path


def understudy(file: Path, *options: str, given: bytes | None = None) -> Result:
    arguments = ["simulate", "--config", str(file), "--route", "fraud", *options]
    return CliRunner().invoke(app, arguments, input=given)


def test_records_come_from_a_file_or_from_standard_input_plain_or_packed(file: Path, tmp_path: Path) -> None:
    """Broken: logs have to be unpacked or copied to be tried."""
    path = tmp_path / "requests.ndjson"
    path.write_bytes(RECORDS)
    packed = tmp_path / "requests"
    packed.write_bytes(gzip.compress(RECORDS))
    found = [
        understudy(file, "--json", "--samples", str(path)),
        understudy(file, "--json", "--samples", str(packed)),
        understudy(file, "--json", "--samples", "-", given=RECORDS),
        understudy(file, "--json", given=gzip.compress(RECORDS)),
    ]
    assert [result.exit_code for result in found] == [0, 0, 0, 0]
    assert len({result.stdout for result in found}) == 1
    document = json.loads(found[0].stdout)
    assert {
        "verdict",
        "phase",
        "atSeconds",
        "decidedBy",
        "reason",
        "looks",
        "sampleRatio",
        "metrics",
    } <= document.keys()
    keys = {"name", "effect", "interval", "evidenceHarm", "evidencePass", "n", "margin"}
    assert all(keys <= metric.keys() for metric in document["metrics"])


def test_people_get_a_report(file: Path) -> None:
    """Broken: without --json nobody can read it."""
    result = understudy(file, given=RECORDS)
    assert result.exit_code == 0
    for said in ("Simulated on", "# fraud: fraud-v2 against fraud-v1", "## Metrics", "## Sample ratio", "## Timeline"):
        assert said in result.stdout


def test_bad_records_are_refused_with_file_line_and_reason(file: Path, tmp_path: Path) -> None:
    """Broken: a log with one bad line says nothing, or ends in a traceback."""
    path = tmp_path / "bad.ndjson"
    path.write_bytes(b'{"t": 1, "backend": "fraud-v1"}\n{"t": "x"}\n')
    result = understudy(file, "--json", "--samples", str(path))
    assert result.exit_code == 2
    assert f"{path}:2:1: t: expected `float`, got `str`" in result.stderr
    [problem] = json.loads(result.stdout)["problems"]
    assert (problem["source"], problem["line"]) == (str(path), 2)


def test_a_file_without_records_is_told_as_such(file: Path) -> None:
    """Broken: whoever pipes in nothing by mistake takes the outcome for one of their traffic."""
    result = understudy(file, given=b"")
    assert (result.exit_code, result.stderr) == (0, "understudy: stdin has no records\n")


def test_records_without_users_of_a_route_that_knows_them_are_told(file: Path) -> None:
    """Broken: three users who fail all the time abort an equal version, and nobody is told that users are needed."""

    def sticky(route: dict[str, Any]) -> None:
        route["sessionAffinity"] = {"header": "x-user-id"}

    one: dict[str, Any] = {"backend": "fraud-v1", "stage": 0, "weight": 5}
    records = b"".join(
        json.dumps({"t": at, **one, **({"user": "u"} if at % 4 else {})}).encode() + b"\n" for at in range(8)
    )
    warning = "2 of 8 records have no `user`"
    assert warning not in understudy(file, given=records).stderr
    file.write_text(config(sticky))
    result = understudy(file, "--json", given=records)
    assert result.exit_code == 0
    assert "routing of fraud is sticky, and " + warning in result.stderr
    assert json.loads(result.stdout)["withoutUser"] == 2


def test_what_cannot_be_simulated_is_wrong_usage(file: Path, tmp_path: Path) -> None:
    """Broken: a misspelt name ends in a traceback."""
    assert understudy(file, "--samples", str(tmp_path / "none")).exit_code == 2
    result = CliRunner().invoke(app, ["simulate", "--config", str(file), "--route", "none", "--samples", "-"])
    assert result.exit_code == 2
    assert "there is no route 'none'; there are fraud" in result.stderr.replace("\n", " ").replace("│", "")


def test_where_nothing_is_piped_in_it_is_wrong_usage(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a cron job, whose standard input is closed, gets a traceback."""
    monkeypatch.setattr("proxy.simulation.run.sys", SimpleNamespace(stdin=None, stdout=sys.stdout))
    for options in ((), ("--samples", "-")):
        result = understudy(file, *options)
        assert result.exit_code == 2
        assert "where are the records?" in result.stderr


def test_problems_of_the_file_are_json_too(tmp_path: Path) -> None:
    """Broken: a program that asks for JSON gets nothing, and has to read what is meant for people."""
    path = tmp_path / "bad.yaml"
    path.write_text("routs: []\n")
    result = understudy(path, "--json", given=RECORDS)
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert "routs" in {problem["path"] for problem in problems}
    assert all(problem["source"] == str(path) and problem["remedy"] for problem in problems)


def test_a_route_without_a_candidate_is_wrong_usage(tmp_path: Path) -> None:
    """Broken: a route that has no rollout is simulated for ever, or in a traceback."""

    def plain(route: dict[str, object]) -> None:
        del route["strategy"], route["analysis"]
        route["backendRefs"] = [{"name": "fraud-v1"}]

    path = tmp_path / "plain.yaml"
    path.write_text(config(plain))
    assert understudy(path, given=RECORDS).exit_code == 2


def test_endpoints_are_tried_as_weights(tmp_path: Path) -> None:
    """Broken: it waits for ever for endpoints that nobody replaces."""

    def rolling(route: dict[str, object]) -> None:
        route["strategy"] = {"rollingUpdate": {"hook": {"url": "http://h/"}}}

    document = json.loads(config(rolling))
    for backend in document["backends"]:
        backend |= {"healthCheck": {"path": "/"}, "endpoints": ["http://a:1", "http://b:1"]}
    path = tmp_path / "rolling.yaml"
    path.write_text(json.dumps(document))
    result = understudy(path, "--json", given=RECORDS)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["looks"] > 0
    said = understudy(path, given=RECORDS).stdout
    assert "stage 1 (weight 50 %, mirror 0 %), step 2: analysis until the candidate is proven" in said


def test_a_route_that_swaps_its_versions_is_wrong_usage(tmp_path: Path) -> None:
    """Broken: it waits for ever for a swap that nobody carries out."""

    def swapped(route: dict[str, object]) -> None:
        route["strategy"] = {"recreate": {"hook": {"url": "http://h/"}}}

    document = json.loads(config(swapped))
    for backend in document["backends"]:
        backend["healthCheck"] = {"path": "/"}
    path = tmp_path / "swapped.yaml"
    path.write_text(json.dumps(document))
    result = understudy(path, given=RECORDS)
    assert result.exit_code == 2
    assert "swaps its versions" in result.stderr


@pytest.mark.parametrize("privacy", ["hash", "mask"])
def test_labels_are_disguised_as_live(file: Path, tmp_path: Path, privacy: str) -> None:
    """Broken: the report of a simulation tells what the file has live workers hide, or judges something else."""

    def hidden(route: dict[str, Any]) -> None:
        for output in route["predictions"]["outputs"]:
            if output["kind"] == "category":
                output["privacy"] = privacy

    path = tmp_path / "hidden.yaml"
    path.write_text(config(hidden))
    shown, told = understudy(file, given=RECORDS).stdout, understudy(path, given=RECORDS).stdout
    assert all(label in shown for label in LABELS)
    assert not any(label in told for label in LABELS)
    plain, other = (json.loads(understudy(one, "--json", given=RECORDS).stdout) for one in (file, path))
    assert plain["metrics"] == [
        {**metric, "subject": was["subject"], "text": was["text"]}
        for metric, was in zip(other["metrics"], plain["metrics"], strict=True)
    ]
