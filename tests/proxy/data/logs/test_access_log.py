"""What is written of requests, and of which."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.data.exchanges import logged
from proxy.data.exchanges.exchange import Exchange
from proxy.data.logs import access_log
from proxy.ledger.layout import W_LOG_DROPPED, W_LOGGED
from proxy.snapshot import CIRCLE, AccessLog, Injection, Match, Mirror, RateLimit, StringMatch
from tests.support.plane import ROWS, Clock, Plane, answer, chunked, request
from tests.support.transports import settle

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(plane: Plane, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Turns the log on; a call gives all lines so far."""
    monkeypatch.setattr(logged, "monotonic", clock)
    path = tmp_path / "access.log"
    turn(plane, AccessLog(str(path), CIRCLE, headers=("user-agent", "x-tenant")))

    def written() -> list[dict[str, Any]]:
        log = plane.context.access_log
        assert log is not None
        log.close(10)
        plane.context.note(access_log.AccessLog(log.settings, plane.writer))
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    return written


def turn(plane: Plane, settings: AccessLog | None) -> None:
    plane.context.note(access_log.adopt(settings, plane.writer, plane.context.access_log))


async def test_a_line_has_the_facts_of_a_request(plane: Plane, lines: Lines) -> None:
    """Whoever looks for one request among millions would not find it, or not what became of it."""
    arms = (msgspec.structs.replace(plane.route.arms[0], role="stable"), plane.route.arms[1])
    elsewhere = (Match(path=StringMatch("exact", "/elsewhere")),)
    copies = (Mirror(2, CIRCLE, ROWS["v3"]), Mirror(1, CIRCLE, ROWS["v2"], matches=elsewhere))
    plane.adopt(arms=arms, mirrors=copies)
    client = plane.client()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"traceparent: 00-{trace}-00f067aa0ba902b7-01"
    fields = ("User-Agent: curl/8", "Cookie: secret", "X-Request-Id: r-1", parent)
    client.send(request("POST", "/v2/infer?user=ann", headers=fields, body=b"[1]"))
    await settle()
    plane.clock.move(0.050)
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    plane.clock.move(0.025)
    plane.backend().answer(chunked(b"ab", b"cde"))
    (line,) = lines()
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "requestId": "r-1",
        "traceId": trace,
        "client": "192.0.2.7",
        "method": "POST",
        "path": "/v2/infer",
        "route": "all",
        "backend": "v1",
        "role": "stable",
        "status": 200,
        "flags": "",
        "fault": "",
        "bytesIn": 3,
        "bytesOut": 5,
        "durationMs": 75.0,
        "upstreamMs": 50.0,
        "attempts": 1,
        "mirroredTo": ["v3"],
        "headers": {"user-agent": "curl/8"},
    }


async def test_a_request_without_a_name_is_written_by_the_one_it_is_given(plane: Plane, lines: Lines) -> None:
    """The lines of the proxy and of the model server could not be told to belong together."""
    client = plane.client()
    client.send(request())
    await settle()
    sent = plane.backend().take().decode()
    plane.backend().answer(answer())
    (line,) = lines()
    assert f"x-request-id: {line['requestId']}\r\n" in sent
    assert line["requestId"]


async def test_parameters_are_written_only_if_asked_for(plane: Plane, lines: Lines, tmp_path: Path) -> None:
    """Names and tokens of people would be in a log for everybody."""
    turn(plane, AccessLog(str(tmp_path / "access.log"), CIRCLE, query=True))
    await plane.exchange(plane.client(), request(target="/a?token=t"), answer())
    (line,) = lines()
    assert line["path"] == "/a?token=t"


async def test_flags_say_why_an_answer_is_ours(plane: Plane, lines: Lines) -> None:
    """An operator could not tell a limit from a broken model, or a game day from an outage."""
    client = plane.client()
    plane.adopt(matches=(Match(path=StringMatch("prefix", "/a")),), rate_limits=(RateLimit(1, 60.0, 1),))
    client.send(request())
    await plane.exchange(client, request(target="/a"), answer(status=500))
    client.send(request(target="/a"))
    plane.adopt(rate_limits=(), injection=Injection(abort_status=418, abort_share=CIRCLE, backend=0))
    client.send(request(target="/a"))
    plane.adopt(injection=None)
    plane.network.refusing.add("v1.test")
    plane.backend().close()
    other = plane.client()
    other.send(request(target="/a"))
    await settle()
    gone = plane.client()
    plane.network.refusing.clear()
    gone.send(request(target="/a"))
    gone.transport.lose()
    bad = plane.client()
    bad.send(b"GET /broken HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    facts = [(line["status"], line["flags"], line["fault"], line["backend"], line["attempts"]) for line in lines()]
    assert facts == [
        (404, "NR", "no-route", "", 0),
        (500, "", "", "v1", 1),
        (429, "RL", "rate-limited", "", 0),
        (418, "FI", "injected", "v1", 0),
        (503, "UF", "connect-failed", "v1", 1),
        (0, "DC", "client-gone", "v1", 1),
        (400, "DPE", "bad-request", "", 0),
    ]


@pytest.mark.parametrize("change", [{"rate_limits": (RateLimit(1, 60.0, 1),)}, {"segments": ()}])
async def test_a_request_that_no_version_saw_has_its_route(plane: Plane, lines: Lines, change: dict[str, Any]) -> None:
    """Whoever asks which limit turned a client away would have nothing to go by."""
    plane.adopt(**change)
    for _ in range(2):  # the first one uses a limit up
        plane.client().send(request())
        await settle()
    line = lines()[-1]
    assert (line["route"], line["backend"]) == ("all", "")


async def test_failures_are_written_whatever_the_sample(plane: Plane, lines: Lines, tmp_path: Path) -> None:
    """The one request that somebody asks about would be among the 99 percent that are not there."""
    path = str(tmp_path / "access.log")
    turn(plane, AccessLog(path, 0))
    client = plane.client()
    await plane.exchange(client, request(), answer())
    await plane.exchange(client, request(target="/broken"), answer(status=503))
    assert [line["path"] for line in lines()] == ["/broken"]
    turn(plane, AccessLog(path, 0, errors_always=False))
    await plane.exchange(client, request(target="/broken"), answer(status=503))
    assert len(lines()) == 1


async def test_a_sample_is_a_share_of_the_requests(
    plane: Plane, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log of one percent would be ten, and fill the disk."""
    monkeypatch.setattr(access_log, "random", random.Random(3).random)
    turn(plane, AccessLog(str(tmp_path / "access.log"), CIRCLE // 10))
    client = plane.client()
    for _ in range(1000):
        await plane.exchange(client, request(), answer())
    assert 70 < len(lines()) < 130


async def test_a_line_has_a_bound_and_is_one_line(plane: Plane, lines: Lines) -> None:
    """A client could write lines of its own into the log, or ones that are torn on a pipe."""
    client = plane.client()
    awkward = 'x\\n"\u00e9' + "\u00ff" * 5000
    await plane.exchange(client, request(target="/" + "%0a" * 3000, headers=(f"User-Agent: {awkward}",)), answer())
    (line,) = lines()
    assert line["path"] == ("/" + "%0a" * 3000)[: len(line["path"])]
    assert len(json.dumps(line)) < access_log.PIPE_BUF


async def test_lines_without_room_are_counted(plane: Plane, lines: Lines, tmp_path: Path) -> None:
    """Nobody would know that the log has holes."""
    turn(plane, AccessLog(str(tmp_path / "access.log"), CIRCLE, max_buffer_bytes=1000))
    client = plane.client()
    for _ in range(10):
        await plane.exchange(client, request(), answer())
    found = len(lines())
    cells = plane.reader.worker(0)
    assert 0 < found < 10
    assert (cells[W_LOGGED], cells[W_LOG_DROPPED]) == (found, 10 - found)


async def test_a_reload_changes_the_log_and_keeps_its_file(plane: Plane, lines: Lines, tmp_path: Path) -> None:
    """Each reload would leave a thread and a descriptor behind, or need a restart to take effect."""
    path = str(tmp_path / "access.log")
    turn(plane, AccessLog(path, 0))
    first = plane.context.access_log
    turn(plane, AccessLog(path, 0))
    assert plane.context.access_log is first
    turn(plane, AccessLog(path, CIRCLE))
    assert first is not None
    assert plane.context.access_log is not None
    assert plane.context.access_log.file is first.file
    turn(plane, AccessLog(str(tmp_path / "other.log"), CIRCLE))
    await plane.exchange(plane.client(), request(), answer())
    lines()
    assert (tmp_path / "other.log").read_text().count("\n") == 1
    turn(plane, None)
    client = plane.client()
    await plane.exchange(client, request(), answer())
    assert (tmp_path / "other.log").read_text().count("\n") == 1


async def test_nothing_is_noted_where_no_log_is(plane: Plane) -> None:
    """Everybody would pay for what few want."""
    client = plane.client()
    client.send(request())
    await settle()
    (exchange,) = plane.context.live
    assert type(exchange) is Exchange
