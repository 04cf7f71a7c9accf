"""Smoke requests over real sockets: who passes, who does not and why, and how often is asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from config.rollouts.takeover import SmokeRequest
from proxy.control.endpoints import smoke
from proxy.control.endpoints.health import Condition
from proxy.control.endpoints.smoke import Smokes, differs
from proxy.snapshot import Backend, Endpoint

REQUEST = SmokeRequest.model_validate({
    "path": "/infer", "body": {"x": 1}, "timeout": "2s",
    "expect": {"json": {"outputs.0.data": ["cat"], "score": 0.5, "ok": True}},
})  # fmt: skip
ANSWER: dict[str, Any] = {"outputs": [{"data": ["cat"]}], "score": 0.5000000001, "ok": True}


@contextlib.asynccontextmanager
async def served(*answers: Any) -> AsyncIterator[Backend]:
    """A backend with an endpoint for each answer; an integer is a status without one."""
    runners, endpoints = [], []
    for answer in answers:

        async def handle(request: web.Request, answer: Any = answer) -> web.Response:
            assert await request.json() == {"x": 1}
            return web.Response(status=answer) if isinstance(answer, int) else web.json_response(answer)

        app = web.Application()
        app.router.add_post("/infer", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        endpoints.append(Endpoint("127.0.0.1", runner.addresses[0][1]))
    try:
        yield Backend("v2", tuple(endpoints))
    finally:
        for runner in runners:
            await runner.cleanup()


async def found(smokes: Smokes, backend: Backend, *known: Condition | None, key: smoke.Key = ("r", 0, 0)) -> str:
    """What the first round says."""
    conditions = known or (None,) * len(backend.endpoints)
    for _ in range(400):
        answer = smokes.ask(key, backend, (REQUEST,), conditions)
        if answer is not None:
            return answer
        await asyncio.sleep(0.01)
    raise AssertionError("no round has ended")


async def test_every_endpoint_has_to_pass() -> None:
    """If broken, traffic goes to an endpoint that answers nonsense because another one is well."""
    smokes = Smokes(lambda: 0.0)
    async with served(ANSWER, ANSWER) as backend:
        assert await found(smokes, backend) == ""
    async with served(ANSWER, 503) as backend:
        said = await found(smokes, backend, key=("r", 0, 1))
        assert said == f"{backend.endpoints[1]}: POST /infer: status 503, expected 200"
    said = await found(smokes, backend, key=("r", 0, 2))
    assert "Cannot connect" in said
    await smokes.close()


async def test_who_has_a_health_check_has_to_be_well() -> None:
    """If broken, an endpoint that is known to be down, or not known yet, is taken live."""
    smokes = Smokes(lambda: 0.0)
    async with served(ANSWER) as backend:
        place = str(backend.endpoints[0])
        assert await found(smokes, backend, Condition(), key=("r", 0, 0)) == (
            f"{place}: its health check has not passed yet"
        )
        down = Condition(healthy=False, reason="status 503")
        assert await found(smokes, backend, down, key=("r", 0, 1)) == f"{place}: status 503"
        assert await found(smokes, backend, Condition(healthy=True), key=("r", 0, 2)) == ""
    await smokes.close()


async def test_a_failure_is_asked_again_after_a_while() -> None:
    """If broken, a version that comes up late is never asked again, or is asked without a pause."""
    now_s = 0.0
    smokes = Smokes(lambda: now_s)
    async with served(503) as failing, served(ANSWER) as well:
        assert "503" in await found(smokes, failing)
        assert "503" in (smokes.ask(("r", 0, 0), well, (REQUEST,), (None,)) or "")
        assert smokes.failed("r") == 1
        now_s = smoke.AGAIN_S
        smokes.ask(("r", 0, 0), failing, (REQUEST,), (None,))
        assert smokes.failed("r") == 1, "the second round is under way"
        assert "503" in await found(smokes, failing)
        assert (smokes.failed("r"), smokes.failed("other")) == (2, 0)
        now_s = 2 * smoke.AGAIN_S
        smokes.ask(("r", 0, 0), well, (REQUEST,), (None,))
        assert await found(smokes, well) == ""
        smokes.forget("r")
        assert smokes.ask(("r", 0, 0), failing, (REQUEST,), (None,)) is None, "what was found before counts on"
    await smokes.close()


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (200, ANSWER, ""),
        (201, ANSWER, "status 201, expected 200"),
        (200, ANSWER | {"score": 0.6}, "score is 0.6, expected 0.5"),
        (200, ANSWER | {"ok": 1}, "ok is 1, expected true"),
        (200, ANSWER | {"outputs": []}, "the answer has no outputs.0.data"),
        (200, ANSWER | {"outputs": [{"data": ["dog"]}]}, 'outputs.0.data is ["dog"], expected ["cat"]'),
        (200, [1], "the answer has no outputs.0.data"),
        (200, None, "the answer is not JSON"),
    ],
)
def test_how_an_answer_differs(status: int, answer: Any, said: str) -> None:
    """If broken, nobody learns what is wrong with the answer, or a wrong one passes."""
    assert differs(REQUEST, status, b"<html>" if answer is None else json.dumps(answer).encode()) == said
