"""Whether endpoints are well: the state machine, and checks of real servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from config.backends.health import HealthCheck
from proxy.control.endpoints.health import Checks, Condition, judged
from proxy.snapshot import Backend, Endpoint, Snapshot, Tls
from tests.support.certificates import Authority

CHECK = HealthCheck(path="/ready", interval="100ms", timeout="200ms")  # type: ignore[arg-type]


def after(answers: str, **settings: int) -> Condition:
    """What is known after answers: "+" passes and "-" fails."""
    check = CHECK.model_copy(update=settings)
    known = Condition()
    for number, answer in enumerate(answers):
        known = judged(known, "" if answer == "+" else f"status 503 at {number}", check, 100.0 + number)
    return known


@pytest.mark.parametrize(
    ("answers", "healthy"),
    [
        ("", None),
        ("+", True),
        ("--", None),
        ("---", False),
        ("--+", True),
        ("+--", True),
        ("+--+--", True),
        ("+---", False),
        ("+---+", False),
        ("+---+-+", False),
        ("+---++", True),
        ("+---+-++", True),
    ],
)
def test_answers_in_a_row_decide(answers: str, healthy: bool | None) -> None:
    """One lost packet would take a replica out, or a replica that flaps would be taken for well."""
    found = after(answers)
    assert found.healthy is healthy
    assert found.usable is (healthy is not False)


def test_thresholds_are_those_of_the_file() -> None:
    """They would be read, accepted and never held."""
    assert after("+-", unhealthy_threshold=1).healthy is False
    assert after("+-+", unhealthy_threshold=1, healthy_threshold=1).healthy is True
    assert after("+-++", unhealthy_threshold=1, healthy_threshold=3).healthy is False


def test_the_reason_and_the_time_are_kept() -> None:
    """Nobody would learn why a replica has no traffic, and since when."""
    found = after("+----+")
    assert (found.reason, found.since_s, found.asked_s) == ("status 503 at 4", 103.0, 105.0)
    assert after("+----++").reason == ""
    assert after("+-").reason == "status 503 at 1"


# --- real servers


class Server:
    """A server that answers health checks as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.silent = False
        self.asked: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if self.silent:
            await asyncio.sleep(60)
        return web.Response(status=self.status, headers={"Location": "/ready"})


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Endpoint]]:
    behaviour = Server()
    app = web.Application()
    app.router.add_get("/ready", behaviour.answer)
    async with TestServer(app) as running:
        assert running.port is not None
        yield behaviour, Endpoint("127.0.0.1", running.port)


@pytest.fixture
async def checks() -> AsyncIterator[Checks]:
    found = Checks(lambda: None, random=lambda: 0.0)
    yield found
    await found.close()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


async def test_each_way_to_fail_has_its_words(server: tuple[Server, Endpoint], checks: Checks) -> None:
    """An operator would have to guess what the check does not like."""
    behaviour, endpoint = server
    known = lambda: checks.condition("v1", endpoint) or Condition()  # noqa: E731
    checks.follow([(Backend("v1", (endpoint,)), CHECK)])
    assert known() == Condition()
    await until(lambda: known().healthy)
    behaviour.status = 302
    await until(lambda: known().healthy is False)
    assert known().reason == "status 302", "a redirect was followed"
    behaviour.status = 204
    await until(lambda: known().healthy)
    behaviour.silent = True
    await until(lambda: known().healthy is False)
    assert known().reason == "no answer within 200ms"
    assert behaviour.asked[0].headers["User-Agent"] == "understudy-health-check"
    gone = Endpoint("127.0.0.1", 1)
    checks.follow([(Backend("v1", (gone,)), CHECK)])
    await until(lambda: (checks.condition("v1", gone) or Condition()).reason)
    assert "127.0.0.1:1" in (checks.condition("v1", gone) or Condition()).reason


async def test_expected_statuses_replace_the_usual(server: tuple[Server, Endpoint], checks: Checks) -> None:
    """A server that answers 429 when it is full would be taken out, or one that answers 200 to all be kept."""
    behaviour, endpoint = server
    behaviour.status = 429
    check = CHECK.model_copy(update={"expected_statuses": (429, 418)})
    checks.follow([(Backend("v1", (endpoint,)), check)])
    await until(lambda: (checks.condition("v1", endpoint) or Condition()).healthy)


async def test_it_is_told_when_usable_endpoints_change(server: tuple[Server, Endpoint]) -> None:
    """Workers would hear of it with the next edit of the file; or at every answer, which is a push each."""
    behaviour, endpoint = server
    backends = (Backend("v0", (endpoint,)), Backend("v1", (Endpoint("127.0.0.2", 9), endpoint)))
    told: list[tuple[tuple[int, int], ...]] = []
    checks = Checks(lambda: told.append(checks.unhealthy(backends)), random=lambda: 0.0)
    checks.follow([(backends[0], None), (Backend("v1", (endpoint,)), CHECK)])
    await until(lambda: len(behaviour.asked) > 2)
    behaviour.status = 500
    await until(lambda: told)
    behaviour.status = 200
    await until(lambda: len(told) > 1)
    assert told == [((1, 1),), ()], "v0 has the same endpoint and asks for no check"
    await checks.close()


async def test_a_reload_keeps_what_is_known(server: tuple[Server, Endpoint], checks: Checks) -> None:
    """Each edit of the file would send traffic to what is known to be down."""
    behaviour, endpoint = server
    behaviour.status = 500
    backend = Backend("v1", (endpoint,))
    checks.follow([(backend, CHECK)])
    await until(lambda: checks.unhealthy([backend]))
    changed = CHECK.model_copy(update={"healthy_threshold": 5})
    checks.follow([(Backend("v1", (Endpoint("127.0.0.3", 1), endpoint), max_pending=3), changed)])
    assert checks.unhealthy([backend]) == ((0, 0),)
    checks.follow([(backend, None)])
    assert checks.unhealthy([backend]) == ()
    asked = len(behaviour.asked)
    await asyncio.sleep(0.25)
    assert len(behaviour.asked) <= asked + 1, "what is not checked any more is still asked"


async def test_a_new_controller_takes_up_what_workers_hold(checks: Checks) -> None:
    """A restart of the controller during an outage would send traffic to what is down."""
    down, up = Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2)
    backend = Backend("v1", (up, down))
    checks.inherit(Snapshot(7, (backend,), unhealthy=((0, 1),)))
    known = checks.condition("v1", down)
    assert known is not None, "status would tell of a healthy endpoint until the configuration is read"
    assert known.healthy is False
    assert checks.condition("v1", up) is None
    checks.follow([(backend, CHECK.model_copy(update={"interval": 1000.0}))])
    assert checks.unhealthy([backend]) == ((0, 1),)
    checks.inherit(None)


async def test_endpoints_are_reached_as_the_workers_reach_them(tmp_path: Path, checks: Checks) -> None:
    """A check over plain HTTP, or one that believes anybody, would say nothing of what requests meet."""
    pair = Authority(tmp_path).issue("models.test")
    trusted = Authority(tmp_path)
    certificate = trusted.issue("models.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.certificate, certificate.key)
    app = web.Application()
    app.router.add_get("/ready", Server().answer)
    runner = web.AppRunner(app)
    await runner.setup()
    socket = Endpoint("", 0, path=str(tmp_path / "model.sock"))
    await web.UnixSite(runner, socket.path).start()
    secure = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await secure.start()
    endpoint = Endpoint("127.0.0.1", int(runner.addresses[1][1]), tls=True)
    tls = Tls(ca_file=str(trusted.certificate), server_name="models.test")
    checks.follow([
        (Backend("unix", (socket,)), CHECK),
        (Backend("tls", (endpoint,), tls=tls), CHECK),
        (Backend("name", (endpoint,), tls=Tls(ca_file=str(trusted.certificate))), CHECK),
        (Backend("trust", (endpoint,), tls=Tls(ca_file=str(pair.certificate), server_name="models.test")), CHECK),
        (Backend("file", (endpoint,), tls=Tls(ca_file=str(tmp_path / "none.pem"))), CHECK),
    ])  # fmt: skip
    known = lambda name, at: checks.condition(name, at) or Condition()  # noqa: E731
    await until(lambda: known("unix", socket).healthy and known("tls", endpoint).healthy)
    await until(lambda: all(known(name, endpoint).healthy is False for name in ("name", "trust", "file")))
    assert known("name", endpoint).reason == "its certificate is for another address than 127.0.0.1"
    assert "authority" in known("trust", endpoint).reason
    assert "none.pem" in known("file", endpoint).reason or "No such file" in known("file", endpoint).reason
    await runner.cleanup()


def known(checks: Checks, backend: str, *answers: str) -> None:
    """What the endpoints of a backend have answered, "+" passes and "-" fails."""
    for port, of_one in enumerate(answers, start=9001):
        key = (backend, Endpoint("127.0.0.1", port))
        checks._probes[key] = None  # type: ignore[assignment]  # that it is asked is all that counts here
        for answer in of_one:
            checks._note(key, CHECK, "" if answer == "+" else "status 503")


@pytest.mark.parametrize(
    ("candidate", "stable", "is_out"),
    [
        (["+---", "+---"], ["+"], True),
        (["+---", "---"], ["+"], True),
        (["+---", "+"], ["+"], False),
        (["+---", "+--"], ["+"], False),
        (["---", "---"], ["+"], False),
        (["+---"], ["+---"], False),
        (["+---"], [], True),
        ([], ["+"], False),
    ],
    ids=[
        "gone",
        "one never came",
        "one is well",
        "not sure yet",
        "never came",
        "nor is stable",
        "unasked",
        "not asked",
    ],
)
def test_an_outage_is_that_nothing_of_a_candidate_is_well_any_more(
    candidate: list[str], stable: list[str], is_out: bool
) -> None:
    """Broken: a version is taken back because it is still starting, or because nobody can be reached from here."""
    checks = Checks(lambda: None)
    known(checks, "v2", *candidate)
    known(checks, "v1", *stable)
    found = checks.outage("v2", "v1")
    assert bool(found) is is_out
    if is_out:
        assert found.startswith("no endpoint of v2 is well: ")
        assert "9001" in found
        assert "status 503" in found
