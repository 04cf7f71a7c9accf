"""The command line, in front of a real admin API with a fake controller behind it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from analysis.windows import kept
from config.listeners.access import Admin
from config.reference import EXAMPLES
from proxy.admin.app import start
from proxy.admin.client import actor
from proxy.cli import app
from tests.support.fake_controller import FakeController, problem

MORE = {"nextBefore": 49, "next": "/api/v1/routes/fraud/history?limit=2&before=49"}
VALID = """
listen: [{address: 127.0.0.1:0}]
backends: [{name: one, endpoints: [http://127.0.0.1:9]}]
routes: [{name: all, backendRefs: [{name: one}]}]
"""


@pytest.fixture
def controller() -> Iterator[FakeController]:
    fake = FakeController()
    yield fake
    fake.close()


@pytest.fixture
def admin(controller: FakeController) -> Iterator[str]:
    """The URL of an admin API that runs in a loop of its own."""
    loop = asyncio.new_event_loop()
    sock = socket.create_server(("127.0.0.1", 0))
    runner = loop.run_until_complete(start(controller, sock))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nothing listens, for as long as the test runs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


TRIED = """
listen: [{address: 127.0.0.1:8080}]
backends: [{name: v1, endpoints: [http://127.0.0.1:1]}, {name: v2, endpoints: [http://127.0.0.1:2]}]
routes:
  - name: fraud
    backendRefs: [{name: v1}, {name: v2, role: canary}]
    strategy: {canary: {steps: [{setWeight: 5}, {analysis: {}}]}}
    analysis: {metrics: [{name: errors, maxIncrease: 0.1pp}]}
"""


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", **environment}).invoke(app, arguments)


def test_help_is_quick_and_names_every_command():
    """Broken: `understudy --help` loads numpy and half of the web first."""
    code = (
        "import sys; from typer.testing import CliRunner; from proxy.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).output)\n"
        "heavy = {'numpy', 'scipy', 'pydantic', 'aiohttp', 'sqlalchemy', 'sklearn', 'prometheus_client'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    assert len(app.registered_commands) == 22
    for command in app.registered_commands:
        name = command.callback.__name__
        assert f" {name} " in done.stdout


def test_status_is_a_table_for_people(admin):
    """Broken: one cannot see at a glance what runs."""
    result = run("status", "--admin", admin)
    assert result.exit_code == 0, result.output
    for text in (
        "fraud-v2",
        "Progressing",
        "5 %",
        "generation 7",
        "serving",
        "down",
        "needs a restart: workers",
        "injected",
    ):
        assert text in result.output
    assert "refused" not in result.output


def test_status_shows_why_the_last_edit_was_refused(admin, controller):
    """Broken: an edit without effect stays a riddle."""
    controller.last_error = {"at": 0.0, "problems": [problem()]}
    assert "config.yaml:12:15: routes[0].strategy.canary.steps[2].setWeight: 140 is above 100; give" in (
        run("status", "--admin", admin).output.replace("\n", "")
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status"], lambda fake: fake.status()),
        (["routes"], lambda fake: fake.routes()),
        (["routes", "fraud"], lambda fake: fake.document),
        (["report", "fraud"], lambda fake: {**fake.document, "history": fake.entries}),
        (["history", "fraud", "--limit", "2"], lambda fake: {"entries": fake.entries[:2], **MORE}),
        (["pause", "fraud"], lambda fake: fake.document),
        (["why", "fraud", "49"], lambda fake: asyncio.run(fake.why("fraud", 49))),
        (["journal", "verify"], lambda fake: asyncio.run(fake.verify(""))),
    ],
)
def test_json_is_what_the_api_answers(admin, controller, arguments, expected):
    """Broken: scripts read something else than the API says."""
    result = run(*arguments, "--json", UNDERSTUDY_ADMIN=admin)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == expected(controller)


def test_status_says_which_endpoints_are_left_out_and_why(admin):
    """Broken: an operator sees a slow version, and not that half of it is down."""
    output = " ".join(run("status", "--admin", admin).output.split())
    for text in ("fraud-v1", "is unhealthy:", "503", "is ejected until", "health is ignored"):
        assert text in output, output


def test_status_tells_endpoints_that_are_replaced_from_those_that_fail(admin, controller):
    """Broken: every rolling update looks like an outage, or nobody sees how far it is."""
    lines = controller.document["endpoints"]
    lines += [{"backend": "fraud-v2", "address": "http://10.0.0.21:8080", "status": "starting"}]
    output = " ".join(run("routes", "fraud", "--admin", admin).output.split())
    assert "http://10.0.0.21:8080" in output
    assert "being started" in output
    status = controller.status()
    status["backends"][0]["endpoints"][1]["out"] = "leaving"
    controller.status = lambda: status
    output = " ".join(run("status", "--admin", admin).output.split())
    assert "is draining" in output
    assert "is unhealthy" not in output


def test_routes_and_history_are_tables_for_people(admin):
    """Broken: rollouts cannot be followed on a terminal."""
    assert "static weights/" in run("routes", "--admin", admin).output
    one = run("routes", "static weights/", "--admin", admin)
    assert (one.exit_code, "no rollout" in one.output) == (0, True)
    full = run("routes", "fraud", "--admin", admin).output
    for text in ("latency.p99", "within its margin", "worse than its margin", "still missing: 60 more samples"):
        assert text in full
    lines = run("history", "fraud", "--admin", admin).output.splitlines()
    started, paused = (next(i for i, line in enumerate(lines) if word in line) for word in ("started", "paused"))
    assert started < paused


def test_why_shows_what_a_decision_was_made_on(admin, controller):
    """Broken: a decision cannot be explained to whoever asks, or one that does not follow looks like one that does."""
    shown = run("why", "fraud", "49", "--admin", admin)
    assert shown.exit_code == 0, shown.output
    for text in ("entry 49", "go on | after lunch", "by ann@desk", "errors: 1.41 % against 1.2 %", "25 : 1",
                 "harm over all metrics: 1 : 2.5; 20 : 1 aborts", "proven: every guardrail", "the same verdict",
                 "configuration 0123456789ab"):  # fmt: skip
        assert text in shown.output, shown.output
    assert run("why", "fraud", "7", "--admin", admin).exit_code == 1
    other = asyncio.run(controller.why("fraud", 49))
    other |= {"agrees": False, "differences": [{"what": "metrics.errors.effect", "kept": "0.21", "derived": "0.5"}]}
    controller.explained = other
    disagrees = run("why", "fraud", "49", "--admin", admin)
    assert disagrees.exit_code == 1
    assert "ANOTHER verdict" in disagrees.output
    assert "metrics.errors.effect: 0.21 then, 0.5 now" in disagrees.output


def test_a_backtest_says_what_would_have_been_decided(admin, tmp_path):
    """Broken: nobody can try a margin on what was recorded before it is live."""
    file = tmp_path / "new.yaml"
    file.write_text(TRIED)
    shown = run("backtest", "--config", str(file), "--admin", admin)
    assert shown.exit_code == 0, shown.output
    for text in ("the rollout that began with entry 46", "it was", "by this file", "the recorded evidence ends here",
                 "first sample of v2: the clock starts", "errors: evidence that it is within"):  # fmt: skip
        assert text in shown.output, shown.output
    (answer,) = json.loads(run("backtest", "-c", str(file), "--route", "fraud", "--admin", admin, "--json").stdout)
    assert (answer["route"], answer["run"], answer["replayed"]["slices"]) == ("fraud", 46, 60)
    assert [each["kind"] for each in answer["replayed"]["moments"]] == ["begin", "progress"]
    for arguments in (["--route", "nowhere"], ["--route", "fraud", "--run", "3"], ["--run", "46"]):
        refused = run("backtest", "-c", str(file), "--admin", admin, *arguments)
        assert refused.exit_code == 2, refused.output


def test_a_broken_journal_is_an_exit_status(admin):
    """Broken: a nightly check of the journal passes whatever is in it."""
    fine = run("journal", "verify", "--admin", admin, "--expect", "01234567")
    assert (fine.exit_code, "the journal holds: 5 entries, 46 to 50" in fine.output) == (0, True)
    assert "entries up to 45 were taken away by retention" in fine.output
    assert "entry 48 says what became of the store's file" in fine.output
    broken = run("journal", "verify", "--admin", admin, "--expect", "ffffffff")
    assert (broken.exit_code, "broken at entry 50: no entry has the hash" in broken.output) == (1, True)
    assert run("journal", "verify", "--admin", admin, "--expect", "not-hex").exit_code == 1


def test_report_is_markdown_when_it_is_redirected(admin):
    """Broken: `understudy report fraud > fraud.md` writes boxes."""
    result = run("report", "fraud", "--admin", admin)
    assert result.stdout.startswith("# fraud: fraud-v2 against fraud-v1\n")
    assert result.stdout.endswith("does not count.\n")


def test_commands_arrive_with_their_options_and_who_typed_them(admin, controller):
    """Broken: a command does something else than typed, or the journal does not know who."""
    for arguments in (
        ["promote", "fraud"],
        ["promote", "fraud", "--full"],
        ["promote", "fraud", "--full", "--candidate", "v3"],
        ["abort", "fraud", "--reason", "customers complain"],
        ["abort", "fraud", "--candidate", "v3", "--reason", "too slow"],
        ["pause", "fraud"],
        ["retry", "static weights/"],
        ["undo", "fraud", "--reason", "customers complain"],
    ):
        result = run(*arguments, "--admin", admin)
        assert result.exit_code == 0, result.output
    assert controller.acts == [
        ("fraud", "promote", actor(), False, ""),
        ("fraud", "promote", actor(), True, ""),
        ("fraud", "promote", actor(), True, "v3"),
        ("fraud", "abort", actor(), False, "customers complain"),
        ("fraud", "abort", actor(), False, "v3 too slow"),
        ("fraud", "pause", actor(), False, ""),
        ("static weights/", "retry", actor(), False, ""),
        ("fraud", "undo", actor(), False, "customers complain"),
    ]
    assert "@" in actor()


def test_a_command_shows_what_became_of_the_rollout(admin):
    """Broken: one must ask again to see whether the abort worked."""
    result = run("abort", "fraud", "--reason", "customers complain", "--admin", admin)
    assert "Aborted" in result.output
    assert "customers complain" in result.output


def test_a_refusal_is_exit_status_1_with_its_reason(admin):
    """Broken: a script takes a refused command for done."""
    result = run("resume", "fraud", "--admin", admin)
    assert result.exit_code == 1
    assert "pause it first" in result.stderr
    result = run("resume", "fraud", "--json", "--admin", admin)
    assert json.loads(result.stdout)["status"] == 409
    result = run("report", "frod", "--admin", admin)
    assert result.exit_code == 1
    assert "no route is called 'frod'; the routes are: fraud" in result.stderr


def test_reload_says_what_is_live_or_every_problem(admin, controller):
    """Broken: nobody knows whether an edit is live."""
    result = run("reload", "--admin", admin)
    assert result.exit_code == 0
    assert "generation 7 is live; 2 of 2 workers hold it" in result.stdout
    assert "workers: changed in the file, and needs a restart" in result.stdout
    controller.reload_problems = [problem()]
    result = run("reload", "--admin", admin)
    assert result.exit_code == 1
    assert "config.yaml:12:15: routes[0].strategy" in result.stderr


def test_a_token_is_sent_and_never_shown(admin, controller):
    """Broken: the command line cannot be used where tokens are asked for; or it shows the token."""
    token = "0123456789abcdef-secret"
    digest = hashlib.sha256(token.encode()).hexdigest()
    controller.admin = Admin.model_validate({"tokens": ({"name": "ann", "role": "viewer", "sha256": digest},)})
    without = run("status", "--admin", admin)
    assert without.exit_code == 1
    assert "Authorization" in without.output
    assert run("status", "--admin", admin, UNDERSTUDY_TOKEN=token).exit_code == 0
    assert run("--token", token, "status", "--admin", admin).exit_code == 0
    refused = run("pause", "fraud", "--admin", admin, UNDERSTUDY_TOKEN=token)
    assert refused.exit_code == 1
    assert "ann is a viewer; this needs an operator" in refused.output
    assert run("status", "--admin", admin, UNDERSTUDY_TOKEN=f"{token}\nx: y").exit_code == 2
    assert token not in run("--help", UNDERSTUDY_TOKEN=token).output


def test_an_authority_that_cannot_be_used_is_named(tmp_path):
    """Broken: a wrong file is a traceback, or worse: nothing is verified."""
    result = run("status", "--admin", "https://127.0.0.1:9", UNDERSTUDY_CA_FILE=str(tmp_path / "absent.pem"))
    assert result.exit_code == 2
    assert "absent.pem" in result.output


def test_the_file_is_edited_as_a_promotion_says(admin, controller, tmp_path):
    """Broken: the file says something else than what is live; or a version that nobody promoted gets all traffic."""
    text = (EXAMPLES / "canary.yaml").read_text("utf-8")
    file = tmp_path / "u.yaml"
    file.write_text(text)
    arguments = ("promote", "fraud", "--admin", admin, "--config", str(file))
    printed = run(*arguments, "--print-config")
    assert printed.exit_code == 0
    assert "{name: fraud-v2, role: stable}" in printed.stdout
    refused = run(*arguments, "--write")
    assert refused.exit_code == 1
    assert "Progressing" in refused.output
    assert file.read_text() == text
    controller.document |= {"phase": "Succeeded", "weight": 0.0}
    rehearsed = run(*arguments, "--write")
    assert (rehearsed.exit_code, file.read_text()) == (1, text), "a mirror that has ended well has no traffic"
    controller.document["weight"] = 100.0
    assert run(*arguments, "--write").exit_code == 0
    assert file.read_text() == printed.stdout
    assert "already" in run(*arguments, "--write").output
    assert controller.acts == []


def test_an_edited_file_keeps_its_bytes(admin, controller, tmp_path):
    """Broken: a file from another system comes back with other line ends, or without its byte order mark."""
    data = b"\xef\xbb\xbf" + (EXAMPLES / "canary.yaml").read_bytes().replace(b"\n", b"\r\n")
    file = tmp_path / "u.yaml"
    file.write_bytes(data)
    controller.document |= {"phase": "Succeeded", "weight": 100.0}
    arguments = ("promote", "fraud", "--admin", admin, "--config", str(file))
    printed = run(*arguments, "--print-config").stdout_bytes
    assert run(*arguments, "--write").exit_code == 0
    assert file.read_bytes() == printed
    lines = data.split(b"\r\n")
    assert printed.startswith(b"\xef\xbb\xbf")
    assert set(printed.split(b"\r\n")) - set(lines) == {b"      - {name: fraud-v2, role: stable}"}


def test_the_file_is_edited_for_the_candidate_that_is_named(admin, controller, tmp_path):
    """Broken: of several candidates the file gets another one than was meant, or one that was found to do harm."""
    text = (EXAMPLES / "ab-n.yaml").read_text("utf-8")
    file = tmp_path / "u.yaml"
    file.write_text(text)
    open_, out = {"verdict": "", "reason": ""}, {"verdict": "Inconclusive", "reason": "aborted by ann"}
    names = [ref["name"] for ref in yaml.safe_load(text)["routes"][0]["backendRefs"] if ref.get("role") == "canary"]
    route = yaml.safe_load(text)["routes"][0]["name"]
    controller.document |= {
        "name": route, "candidate": names[0], "racing": names[:2],
        "candidates": [{"name": name, **(open_ if name in names[:2] else out)} for name in names],
    }  # fmt: skip
    arguments = ("promote", route, "--admin", admin, "--config", str(file))
    asked = run(*arguments, "--print-config")
    assert (asked.exit_code, f"in the race are {', '.join(names[:2])}" in asked.stderr) == (1, True), asked.output
    unknown = run(*arguments, "--print-config", "--candidate", "x")
    assert f"x is no candidate of route {route}; choose of {', '.join(names)}" in unknown.stderr
    left = run(*arguments, "--print-config", "--candidate", names[2])
    assert f"{names[2]} is out of the race: aborted by ann" in left.stderr
    printed = run(*arguments, "--print-config", "--candidate", names[1])
    assert printed.exit_code == 0, printed.output
    refs = yaml.safe_load(printed.stdout)["routes"][0]["backendRefs"]
    assert [(ref["name"], ref["role"]) for ref in refs] == [(names[1], "stable")]
    assert run(*arguments, "--write", "--candidate", names[1]).exit_code == 1
    assert file.read_text() == text
    assert run(*arguments, "--write", "--full", "--candidate", names[1]).exit_code == 0
    assert file.read_text() == printed.stdout


def test_a_difference_is_told_by_users_and_shares(tmp_path):
    """Broken: nobody knows whom an edit moves before it has moved them."""
    text = (EXAMPLES / "weights.yaml").read_text("utf-8")
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(text)
    new.write_text(text)
    same = run("diff", str(old), str(new))
    assert same.exit_code == 0
    assert "nothing changed" in same.output
    found = json.loads(run("diff", str(old), str(new), "--json").output)
    assert all(route["percent"] == 0 for route in found["routes"])
    new.write_text("lissen: []")
    assert run("diff", str(old), str(new)).exit_code == 1


def test_a_difference_takes_live_weights_from_the_admin_api(admin, controller, tmp_path):
    """Broken: after a promotion everybody is said to move, and nobody does."""
    text = (EXAMPLES / "canary.yaml").read_text("utf-8")
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(text)
    controller.document |= {"phase": "Succeeded", "weight": 100.0}
    controller.document["arms"][0]["weight"], controller.document["arms"][1]["weight"] = 0.0, 100.0
    new.write_text(run("promote", "fraud", "--admin", admin, "--config", str(old), "--print-config").stdout)
    blind = run("diff", str(old), str(new))
    assert "100 % of users move" in blind.output
    assert "--live" in blind.output
    found = run("diff", str(old), str(new), "--live", "--admin", admin)
    assert found.exit_code == 0, found.output
    assert "route fraud: 0 % of users move" in found.output
    assert "live: fraud-v2 with 100 % of the traffic, Succeeded" in found.output
    assert f"{old} is not the configuration that is live, which is /etc/understudy" in found.stderr
    renamed = text.replace("- name: fraud\n", "- name: scam\n")
    new.write_text(renamed)
    found = run("diff", str(old), str(new), "--live", "--admin", admin)
    assert "from route fraud to scam: 100 % of users move" in found.output
    new.write_text(text.replace("prefix: /v2/models/fraud", "prefix: /elsewhere").replace("name: fraud\n", "name: x\n"))
    found = run("diff", str(old), str(new))
    assert "route x is added: no other route takes its requests, which were answered 404" in found.output
    assert "route fraud is removed: no other route takes its requests, which are answered 404" in found.output


def test_nobody_there_is_exit_status_3_with_the_remedy(nobody):
    """Broken: a proxy that is down looks like one that refuses."""
    for arguments in (["status"], ["promote", "fraud"], ["report", "fraud", "--json"]):
        result = run(*arguments, "--admin", nobody)
        assert result.exit_code == 3
        assert nobody in result.stderr
        assert "understudy serve --config FILE" in result.stderr
        assert "UNDERSTUDY_ADMIN" in result.stderr


def test_a_stranger_at_the_address_is_named_as_such():
    """Broken: another server's page is printed, or its 404 taken for an answer."""
    for answer in (
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n<html",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"SSH-2.0\r\n",
    ):
        with socket.create_server(("127.0.0.1", 0)) as sock:

            def serve(sock: socket.socket = sock, answer: bytes = answer) -> None:
                connection, _ = sock.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            result = run("status", "--admin", f"127.0.0.1:{sock.getsockname()[1]}")
            thread.join()
        assert result.exit_code == 3, result.output
        assert "UNDERSTUDY_ADMIN" in result.stderr


def test_proxies_of_the_environment_are_not_asked(admin, nobody):
    """Broken: behind a company's proxy the own machine cannot be reached."""
    assert run("status", "--admin", admin, http_proxy=nobody, HTTP_PROXY=nobody).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [["status", "--admin", "ftp://here"], ["promote"], ["history", "fraud", "--limit", "0"], ["frobnicate"], ["serve"]],
)
def test_wrong_usage_is_exit_status_2(arguments):
    """Broken: a typing error looks like a refusal."""
    assert run(*arguments).exit_code == 2


def test_validate_prints_every_problem_with_its_place(tmp_path: Path):
    """Broken: a bad file must be repaired one problem at a time, or passes."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(VALID)
    bad.write_text(VALID.replace("backendRefs", "backendRef").replace("http://", "htp://"))
    result = run("validate", str(good))
    assert (result.exit_code, "valid" in result.stdout) == (0, True), result.output
    result = run("validate", str(bad))
    assert result.exit_code == 1
    assert f"{bad}:3:" in result.stderr
    assert f"{bad}:4:" in result.stderr
    result = run("validate", "--json", str(bad))
    assert result.exit_code == 1
    assert {problem["line"] for problem in json.loads(result.stdout)["problems"]} == {3, 4}


def test_validate_says_that_faults_are_injected(tmp_path: Path):
    """Broken: a game day is merged with an ordinary change, and nobody has seen it."""
    path = tmp_path / "config.yaml"
    fault = "fault: {abort: {httpStatus: 503, percent: 50}}"
    path.write_text(VALID.replace("backendRefs:", f"{fault}, backendRefs:"))
    result = run("validate", str(path))
    assert result.exit_code == 0, result.output
    assert "injects status 503 into 50 % of its requests, on purpose" in result.stderr


def test_validate_of_a_file_that_is_not_there_says_so(tmp_path: Path):
    """Broken: a mistyped path ends in a traceback."""
    result = run("validate", str(tmp_path / "none.yaml"))
    assert result.exit_code == 1
    assert "none.yaml" in result.stderr
    assert "Traceback" not in result.output


def test_schema_is_json_schema_or_the_reference(tmp_path: Path):
    """Broken: editors get no help."""
    assert "properties" in json.loads(run("schema").stdout)
    assert run("schema", "--markdown").stdout.count("\n# Configuration\n") == 1


def test_serve_checks_the_file_and_becomes_the_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Broken: a bad file starts a proxy, or PID 1 is not the supervisor."""
    calls: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append((path, arguments)))
    file = tmp_path / "config.yaml"
    file.write_text(VALID.replace("backendRefs", "backendRef"))
    result = run("serve", "--config", str(file))
    assert result.exit_code == 1
    assert f"{file}:4:" in result.stderr
    assert calls == []
    file.write_text(VALID)
    result = run("serve", "--config", str(file))
    assert result.exit_code == 0, result.output
    [(path, arguments)] = calls
    assert path == sys.executable
    assert (arguments[0], arguments[-5:-1]) == (sys.executable, ["-m", "proxy", "supervise", "--launch"])
    json.loads(arguments[-1])


PLANNED = """
listen: [{address: 127.0.0.1:0}]
backends: [{name: one, endpoints: [http://127.0.0.1:9]}, {name: two, endpoints: [http://127.0.0.1:9]}]
routes:
- name: fraud
  backendRefs: [{name: one, role: stable}, {name: two, role: canary}]
  strategy: {canary: {steps: [setWeight: 5]}}
  analysis: {maxDuration: 1h, expectedRate: 10, metrics: [{name: errors, maxIncrease: 0.2pp}]}
"""


def test_plan_by_a_file(tmp_path: Path) -> None:
    """Nobody could tell how long a margin takes before traffic waits for it."""
    file = tmp_path / "understudy.yaml"
    file.write_text(PLANNED)
    answer = json.loads(run("plan", "fraud", "--config", str(file), "--json").stdout)
    assert answer["ratePerSecond"] == 10
    faster = json.loads(run("plan", "fraud", "--config", str(file), "--rate", "1000", "--json").stdout)
    slow, fast = (found["metrics"][0]["at"][0]["prove"] for found in (answer, faster))
    assert slow["requests"] == fast["requests"]
    windows = kept(1000, 30.0) / kept(10, 30.0)  # where traffic is thin, one request of each window is lost
    assert slow["seconds"] == pytest.approx(100 * windows * fast["seconds"], rel=0.01)
    shown = run("plan", "fraud", "--config", str(file))
    assert "errors" in shown.stdout
    assert "warning: route fraud: errors needs about" in " ".join(shown.stdout.split())
    assert run("plan", "nobody", "--config", str(file)).exit_code == 2


def test_plan_by_what_is_live(admin: str, controller: FakeController, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan would be of assumptions where the traffic is known."""
    controller.config_text = PLANNED
    monkeypatch.setattr("time.time", lambda: controller.route("fraud")["startedAt"] + 1000.0)
    answer = json.loads(run("plan", "fraud", "--admin", admin, "--json").stdout)
    assert answer["ratePerSecond"] == 20
    assert "stable fails 1 % of its requests" not in answer["assumed"]


def test_validate_warns_of_margins_out_of_reach(tmp_path: Path) -> None:
    """A pipeline would pass a file whose rollout cannot end."""
    file = tmp_path / "understudy.yaml"
    file.write_text(PLANNED)
    result = run("validate", str(file))
    assert result.exit_code == 0
    assert "warning: route fraud: errors needs about" in result.stderr
    assert len(json.loads(run("validate", str(file), "--json").stdout)["warnings"]) == 1


def test_captures_are_shown_and_taken_away(admin, controller):
    """Broken: an engineer reads JSON by hand, or takes away more than was meant."""
    assert "stable fraud-v1" in run("captures", "fraud", "--kind", "disagreement", "--admin", admin).stdout
    found = run("captures", "fraud", "--limit", "2", "--before", "9", "--json", "--admin", admin).stdout
    assert [each["id"] for each in json.loads(found[found.index("{") :])["captures"]] == [8, 7]
    assert found.isascii(), "a stranger's text reaches the terminal"
    assert run("captures", "fraud", "--kind", "odd", "--admin", admin).exit_code == 1
    assert run("captures", "fraud", "--delete", "--kind", "error", "--admin", admin).exit_code == 2
    assert controller.captures.forgotten == []
    done = run("captures", "fraud", "--delete", "--admin", admin)
    assert done.stdout.endswith("4 captured requests are taken away\n")
    assert len(controller.captures.forgotten) == 1
