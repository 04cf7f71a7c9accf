"""Users who send rows at a constant rate, and what is recorded of each request."""

import asyncio

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.models import PIXELS, Rows
from proxy.demo.server import Model as Served
from proxy.demo.server import application
from proxy.demo.traffic import BACKEND_HEADER, PATH, Answered, Traffic, label

ROWS = Rows(np.eye(4, PIXELS), np.array([0, 1, 2, 3]))


class Exact:
    """A classifier that is right on ROWS."""

    classes_ = np.arange(PIXELS)

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        return rows


class Record:
    """Collects answers, and tells when there are enough."""

    def __init__(self, enough: int) -> None:
        self.answers: list[Answered] = []
        self.reached = asyncio.Event()
        self._enough = enough

    def __call__(self, answer: Answered) -> None:
        self.answers.append(answer)
        if len(self.answers) >= self._enough:
            self.reached.set()


async def send(url: str, rows: Rows, enough: int, rate: float, users: int = 240) -> list[Answered]:
    record = Record(enough)
    task = asyncio.create_task(Traffic(url, rows, record, rate, users).send())
    async with asyncio.timeout(20):
        await record.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    return record.answers


@pytest.mark.slow
async def test_many_users_get_right_answers_from_a_model_server() -> None:
    """Broken: fewer users than promised would meet the versions, or answers would be judged wrongly."""
    async with TestServer(application(Served(Exact(), "v1"))) as server:
        answers = await send(str(server.make_url("")).rstrip("/"), ROWS, enough=1500, rate=1500)
    assert all(answer.right and answer.by_model and not answer.failed for answer in answers)
    users = [answer.user for answer in answers]
    assert len(set(users)) >= 200
    assert len(users) > 4 * len(set(users))
    assert {answer.backend for answer in answers} == {""}


async def test_what_the_proxy_says_is_recorded() -> None:
    """Broken: nobody could tell which version a client met, or whether a model itself failed."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["x-user-id"].startswith("user-")
        return web.json_response({"error": "x"}, status=500, headers={BACKEND_HEADER: "digits-v3"})

    app = web.Application()
    app.router.add_post(PATH, answer)
    async with TestServer(app) as server:
        answers = await send(str(server.make_url("")).rstrip("/"), ROWS, enough=5, rate=500)
    assert {(a.status, a.backend, a.by_model, a.failed, a.right) for a in answers} == {
        (500, "digits-v3", False, True, False)
    }


async def test_no_answer_is_an_error_with_status_0() -> None:
    """Broken: a proxy that is gone would look like a proxy without errors."""
    async with TestServer(web.Application()) as server:
        url = str(server.make_url("")).rstrip("/")
    answers = await send(url, ROWS, enough=5, rate=500)
    assert {(a.status, a.failed) for a in answers} == {(0, True)}


@pytest.mark.slow
async def test_a_stall_shows_in_every_request_that_it_delayed() -> None:
    """Broken: latency would count from when a request was sent, and hide the wait before it."""
    stalled = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        if not stalled.is_set():
            stalled.set()
            import time

            time.sleep(0.2)  # noqa: ASYNC251  the whole loop stands still, and with it the sender
        return web.json_response({})

    app = web.Application()
    app.router.add_post(PATH, answer)
    async with TestServer(app) as server:
        answers = await send(str(server.make_url("")).rstrip("/"), ROWS, enough=100, rate=200)
    assert sum(answer.latency_s > 0.05 for answer in answers) >= 20


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b"{}", b'{"outputs": [{"name": "score", "data": [1]}]}'])
def test_an_answer_without_a_label_has_none(answer: bytes) -> None:
    """Broken: one odd answer would end the traffic."""
    assert label(answer) == ""
