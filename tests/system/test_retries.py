"""Retries over real processes: what clients are spared, what the verdict sees all the same, and what bounds them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.standing import standing
from tests.support.system import ModelServer, Understudy, canary, free_port, models, understudy, wait_for

pytestmark = pytest.mark.system

STEPS = [{"setWeight": 20}, {"analysis": {"minSamples": 100}}, {"setWeight": 50}, {"analysis": {"minSamples": 200}}]
GENEROUS = {"percent": 100, "minRetryConcurrency": 1000}


def plain(endpoints: Sequence[int], **retries: Any) -> dict[str, Any]:
    """A configuration with one route `m` and one version behind these ports."""
    return {
        "workers": 1,
        "backends": [{"name": "v1", "endpoints": [f"http://127.0.0.1:{port}" for port in endpoints]}],
        "routes": [{"name": "m", "backendRefs": [{"name": "v1"}], "retries": retries}],
    }


def arm(system: Understudy, name: str = "v1") -> dict[str, Any]:
    """A version as the admin API tells it, once nothing is in flight."""

    def settled() -> dict[str, Any] | None:
        found = next(arm for arm in system.route()["arms"] if arm["backend"] == name)
        return None if found["inFlight"] else found

    return wait_for("all requests to be counted", settled)


async def test_a_version_that_fails_behind_retries_is_aborted(tmp_path):
    """The promise: if this fails, retries hide a version that fails every third time until it serves everybody."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, STEPS)
        config["routes"][0]["retries"] = {
            "attempts": 5, "retryOn": ["5xx"], "retriableMethods": ["POST"], "budget": GENEROUS,
        }  # fmt: skip
        with understudy(tmp_path, config) as system:
            v2.control(failEvery=3)
            async with Load(system.port, rate=250) as load:
                phase = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
            route, counted = system.route(), arm(system, "v2")
            assert (phase, route["verdict"]) == ("Aborted", "Failed"), route["reason"]
            assert counted["failed"] > counted["requests"] / 5
            assert counted["failedToClients"] == load.tally.failed
            assert load.tally.failed < counted["failed"] / 5
            assert counted["retries"]["succeeded"] == counted["failed"] - load.tally.failed
            assert arm(system)["failed"] == 0


async def test_a_backend_that_restarts_under_load_fails_nobody():
    """If this fails, every deployment of a model costs its clients errors."""
    with contextlib.ExitStack() as stack:
        server = ModelServer("v1")
        stack.callback(lambda: server.stop())
        config = plain(
            [server.port], attempts=10, retryOn=["connect-failure", "reset"], retriableMethods=["POST"],
            backoff={"baseInterval": "250ms", "maxInterval": "3s"}, budget=GENEROUS,
        )  # fmt: skip
        config["routes"][0]["timeouts"] = {"request": "60s"}
        system = stack.enter_context(standing(config))
        async with Load(system.port, rate=100) as load:
            for _ in range(2):
                await asyncio.to_thread(wait_for, "answers", lambda sent=load.tally.sent: load.tally.sent > sent + 100)
                server.stop()
                await asyncio.sleep(0.2)  # an outage that all requests of this time meet
                server = await asyncio.to_thread(ModelServer, "v1", server.port)
            await asyncio.to_thread(wait_for, "answers", lambda sent=load.tally.sent: load.tally.sent > sent + 100)
        counted = arm(system)
        assert load.tally.failed == 0, load.tally.problems
        assert counted["failed"] > 10
        assert counted["failedToClients"] == 0
        assert counted["requests"] == load.tally.sent


async def test_one_dead_endpoint_of_two_fails_nobody():
    """If this fails, a lost replica costs every second request; and so does a retry that asks it again."""
    with (
        models("v1") as (server,),
        standing(plain([server.port, free_port()], budget={"minRetryConcurrency": 50})) as system,
    ):
        tally = await Load(system.port, rate=200).send(400)
        counted = arm(system)
        assert tally.failed == 0, tally.problems
        assert counted["failed"] == counted["retries"]["succeeded"] > 100
        assert counted["faults"] == {"connect-failed": counted["failed"]}
        assert counted["failedToClients"] == 0


async def test_a_version_that_dies_over_requests_is_not_hidden_by_idle_connections():
    """If this fails, requests that come seldom are sent twice, and a version that dies over them looks well."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            for number in range(2):
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
                if number == 0:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        config = plain([server.sockets[0].getsockname()[1]])
        del config["routes"][0]["retries"]
        with contextlib.ExitStack() as stack:
            system = await asyncio.to_thread(stack.enter_context, standing(config))
            load = Load(system.port, connections=1)
            for _ in range(8):
                await load.send(1)
                await asyncio.sleep(0.35)
            counted = await asyncio.to_thread(arm, system)
    assert load.tally.statuses == {200: 4, 502: 4}
    assert (counted["failed"], counted["retries"]) == (4, {})


@contextlib.asynccontextmanager
async def dying(delay_s: float) -> AsyncIterator[tuple[int, list[int]]]:
    """A server that reads a request and closes the connection after a while; counts the requests."""
    seen = [0]

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            seen[0] += 1
            await asyncio.sleep(delay_s)
        writer.transport.abort()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def test_a_version_that_is_down_gets_a_fifth_more_load():
    """If this fails, ten attempts are ten times the load on a version that has failed under less."""
    async with dying(0.03) as (one, seen), dying(0.03) as (two, seen_too):
        config = plain([one, two], attempts=10, retryOn=["5xx"], retriableMethods=["POST"])
        with contextlib.ExitStack() as stack:
            system = await asyncio.to_thread(stack.enter_context, standing(config))
            tally = await Load(system.port, connections=60).send(3000)
            counted = await asyncio.to_thread(arm, system)
        assert tally.failed == 3000
        attempts = seen[0] + seen_too[0]
        assert 3000 < attempts <= 1.2 * 3000
        assert attempts == 3000 + counted["retries"]["failed"]
        assert counted["retries"]["over-budget"] > 2000
