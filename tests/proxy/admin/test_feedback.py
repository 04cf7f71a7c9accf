"""Truths in requests: what is read of them, what is refused, and what of many one is told."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from typing import Any

import aiohttp
import pytest

from analysis.feedback import log_loss
from proxy.admin.app import start
from proxy.admin.client import RefusedError
from proxy.admin.feedback import MOST_RECORDS, MOST_WAITING, NDJSON, Intake, TruthRecord, told
from proxy.admin.problems import RefusalError
from proxy.admin.telling import BATCH_RECORDS, tell
from proxy.answer_id import Stamp
from proxy.control.evidence.feedback import Desk
from proxy.control.evidence.truths import Told
from tests.support.fake_controller import FEEDBACK_KEY, STARTED_S, FakeController

PATH = "/api/v1/feedback"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"truth": "dog", "prediction": "cat"}, Told(True)),
        ({"truth": "dog", "prediction": "dog"}, Told(False)),
        ({"truth": 1, "prediction": 1.0}, Told(False)),
        ({"truth": True, "prediction": False}, Told(True)),
        ({"correct": False}, Told(True)),
        ({"correct": True, "truth": "a", "prediction": "a"}, Told(False)),
        ({"correct": True, "logLoss": 0.25}, Told(False, 0.25)),
        ({"logLoss": 0.25}, Told(None, 0.25)),
        ({"truth": "a", "logLoss": 99.0}, Told(None, log_loss(0.0))),
        ({"logLoss": 0.0}, Told(None, log_loss(1.0))),
        ({"truth": "a", "probabilities": {"a": 0.8, "b": 0.2}}, Told(False, log_loss(0.8))),
        ({"truth": "b", "probabilities": {"a": 0.8, "b": 0.2}}, Told(True, log_loss(0.2))),
        ({"truth": "b", "prediction": "b", "probabilities": {"a": 0.8, "b": 0.2}}, Told(False, log_loss(0.2))),
        ({"truth": 2, "probabilities": [0.1, 0.2, 0.7]}, Told(False, log_loss(0.7))),
        ({"truth": "a", "probabilities": {"a": 0}}, Told(False, log_loss(0.0))),
    ],
)
def test_what_a_record_says(record: dict[str, Any], expected: Told) -> None:
    """Broken: right is wrong, or a loss is that of another label."""
    assert told(TruthRecord.model_validate({"id": "x", **record})) == expected


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({}, "says nothing of the answer"),
        ({"truth": "dog"}, "nothing to hold it against; add `prediction`: the id does not know what was answered"),
        ({"prediction": "dog"}, "has a prediction and no truth"),
        ({"truth": "1", "prediction": 1}, "the truth is a text and the prediction a number"),
        ({"truth": True, "prediction": 1}, "the truth is true or false and the prediction a number"),
        (
            {"truth": "a", "prediction": "a", "correct": False},
            "correct is false, and truth and prediction say otherwise",
        ),
        ({"truth": "dgo", "probabilities": {"dog": 1.0}}, r"'dgo' is none of the labels with a probability \('dog'\)"),
        ({"truth": 3, "probabilities": [0.5, 0.5]}, r"3 is none of .*0 to 1"),
        ({"truth": True, "probabilities": [0.5, 0.5]}, "True is none of"),
        ({"probabilities": {"a": 1.0}}, "None is none of"),
        ({"truth": "a", "probabilities": {"a": 0.9, "b": 0.9}}, "add up to 1.8"),
        ({"truth": "a", "probabilities": {"a": 0.9}, "logLoss": 0.1}, "both probabilities and logLoss"),
    ],
)
def test_what_is_not_guessed(record: dict[str, Any], why: str) -> None:
    """Broken: half a truth is evidence."""
    with pytest.raises(ValueError, match=why):
        told(TruthRecord.model_validate({"id": "x", **record}))


def sealed(count: int = 1) -> list[str]:
    """Names of answers of a rollout that is over."""
    stamp = Stamp(FEEDBACK_KEY, STARTED_S)
    return [stamp.line(7, 0.0, -1)[len("x-understudy-id: ") : -2].decode() for _ in range(count)]


async def post(http: aiohttp.ClientSession, body: Any, kind: str = "application/json") -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with http.post(PATH, data=data, headers={"Content-Type": kind}) as response:
        return response.status, await response.json(content_type=None)


async def test_each_record_is_answered_for_itself(http: aiohttp.ClientSession) -> None:
    """Broken: one bad record costs a whole batch, or nobody learns which was bad."""
    records = [
        {"id": sealed()[0], "correct": True},
        {"id": "x", "correct": True},
        {"id": 5},
        7,
        {"id": "x", "truht": 1},
    ]
    status, answer = await post(http, records)
    assert status == 200
    assert answer["accepted"] == 0
    assert answer["refused"] == {"invalid": 3, "forged": 1, "stale": 1, "late": 0, "duplicate": 0}
    assert {(one["record"], one["reason"]) for one in answer["problems"]} == {
        (0, "stale"), (1, "forged"), (2, "invalid"), (3, "invalid"), (4, "invalid"),
    }  # fmt: skip
    said = {one["record"]: one["detail"] for one in answer["problems"]}
    assert said[2] == "id: input should be a valid string"
    assert said[3] == "is no JSON object"
    assert said[4].startswith("'truht' is not known here; what is: id, truth, prediction, correct")


@pytest.mark.parametrize("form", ["object", "list", "lines"])
async def test_three_forms_of_a_body(http: aiohttp.ClientSession, form: str) -> None:
    """Broken: a form that the document names is refused."""
    record = {"id": sealed()[0], "correct": True}
    if form == "lines":
        status, answer = await post(http, f"{json.dumps(record)}\r\n\n{{".encode(), NDJSON)
        assert answer["refused"]["invalid"] == 1
        assert answer["problems"][0]["detail"].startswith("is no JSON")
    else:
        status, answer = await post(http, record if form == "object" else [record])
    assert (status, answer["refused"]["stale"]) == (200, 1)


async def test_what_is_no_truth_at_all_is_refused(http: aiohttp.ClientSession) -> None:
    """Broken: a body of another kind is an empty success."""
    for body, status, kind in (
        (b"", 400, "malformed-json"),
        (b"{", 400, "malformed-json"),
        (b"3", 400, "malformed-json"),
        (b'{"id": "\xff"}', 400, "malformed-json"),
        (b"[" * 100_000, 400, "malformed-json"),
        (json.dumps([0] * (MOST_RECORDS + 1)).encode(), 413, "too-many-records"),
        (b" " * ((1 << 20) + 1), 413, "too-large"),
    ):
        found, answer = await post(http, body)
        assert (found, answer["type"]) == (status, f"urn:understudy:problem:{kind}"), body[:10]


async def test_a_line_that_no_text_can_be_costs_no_other(http: aiohttp.ClientSession) -> None:
    """Broken: one line in another encoding, or one that is nested without end, is a failure of the API."""
    good = json.dumps({"id": sealed()[0], "correct": True}).encode()
    status, answer = await post(http, b"\n".join((good, b'{"id": "\xff"}', b"[" * 100_000)), NDJSON)
    assert status == 200
    assert (answer["refused"]["stale"], answer["refused"]["invalid"]) == (1, 2)


async def test_many_lines_are_refused_before_they_are_read(http: aiohttp.ClientSession) -> None:
    """Broken: a body of nothing but short lines holds the controller up."""
    status, answer = await post(http, b"{\n" * (MOST_RECORDS + 1), NDJSON)
    assert (status, answer["type"]) == (413, "urn:understudy:problem:too-many-records")


async def test_a_body_that_does_not_come_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: sixteen clients that send nothing keep all others from telling truths, for ever."""
    monkeypatch.setattr("proxy.admin.feedback.READ_S", 0.01)
    intake = Intake(Desk(lambda: (), lambda: FEEDBACK_KEY, lambda: STARTED_S))

    class Silent:
        content_type = "application/json"

        async def read(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    class Prompt(Silent):
        async def read(self) -> bytes:
            return b"[]"

    waiting = [asyncio.create_task(intake.take(Silent())) for _ in range(MOST_WAITING)]  # type: ignore[arg-type]
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {error.status for error in refused if isinstance(error, RefusalError)} == {408}
    assert (await intake.take(Prompt()))["accepted"] == 0  # type: ignore[arg-type]


async def test_without_a_store_it_is_for_later(controller: FakeController) -> None:
    """Broken: truths that cannot be taken now are called stale, and are never told again."""
    controller.feedback = Desk(lambda: (), lambda: b"", lambda: 0.0)
    sock = socket.create_server(("127.0.0.1", 0))
    runner = await start(controller, sock)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{sock.getsockname()[1]}") as session:
        status, answer = await post(session, {"id": sealed()[0], "correct": True})
    await runner.cleanup()
    assert (status, answer["type"]) == (503, "urn:understudy:problem:store")
    assert "tell it again later" in answer["detail"]


async def test_problems_are_the_first_ones(http: aiohttp.ClientSession) -> None:
    """Broken: the answer to a bad batch is as large as the batch."""
    status, answer = await post(http, [{"id": "x", "correct": True}] * 3000)
    assert (status, answer["refused"]["forged"], len(answer["problems"])) == (200, 3000, 20)


async def test_only_so_many_requests_wait() -> None:
    """Broken: clients that tell truths without end leave no memory and no time for anybody else."""
    intake = Intake(Desk(lambda: (), lambda: FEEDBACK_KEY, lambda: STARTED_S))
    gate = asyncio.Event()

    class Slow:
        content_type = "application/json"

        async def read(self) -> bytes:
            await gate.wait()
            return b"[]"

    waiting = [asyncio.create_task(intake.take(Slow())) for _ in range(MOST_WAITING)]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    with pytest.raises(RefusalError) as refused:
        await intake.take(Slow())  # type: ignore[arg-type]
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    gate.set()
    assert all(answer["accepted"] == 0 for answer in await asyncio.gather(*waiting))
    assert (await intake.take(Slow()))["problems"] == []  # type: ignore[arg-type]


class Api:
    """An admin API that has too much to do at first, and refuses every tenth record."""

    def __init__(self, busy: int = 0) -> None:
        self.busy, self.batches = busy, list[int]()

    def feedback(self, lines: bytes) -> dict[str, Any]:
        if self.busy:
            self.busy -= 1
            raise RefusedError({"type": "urn:understudy:problem:too-many-truths", "detail": "wait"})
        records = lines.splitlines()
        self.batches.append(len(records))
        bad = range(0, len(records), 10)
        return {
            "accepted": len(records) - len(bad),
            "refused": {"late": len(bad), "duplicate": 0},
            "problems": [{"record": record, "reason": "late", "detail": "old"} for record in bad],
        }


def test_a_file_is_told_in_batches_and_by_lines() -> None:
    """Broken: a large file is one request that is refused, or problems name lines that are others."""
    api = Api(busy=2)
    waits: list[float] = []
    file = io.BytesIO(b"\n" + b"".join(b"{}\r\n" if n % 2 else b"{}\n\n" for n in range(BATCH_RECORDS + 15)))
    found = tell(api, file, waits.append)  # type: ignore[arg-type]
    assert api.batches == [BATCH_RECORDS, 15]
    assert waits == [1.0, 1.0]
    assert (found.accepted, found.refused["late"], found.whole) == (BATCH_RECORDS + 15 - 202, 202, False)
    assert [one["line"] for one in found.problems[:2]] == [2, 17]
    assert len(found.problems) == 20
    assert next(found.lines()) == "1,813 accepted; refused: 202 late"


def test_lines_that_are_long_make_small_batches() -> None:
    """Broken: a batch is larger than the API takes."""
    api = Api()
    tell(api, io.BytesIO(b"x" * 300_000 + b"\n" + b"y" * 300_000 + b"\n"))  # type: ignore[arg-type]
    assert api.batches == [1, 1]


def test_a_refusal_of_another_kind_is_told() -> None:
    """Broken: without the right to tell truths one waits for half a minute."""

    class Closed:
        def feedback(self, lines: bytes) -> dict[str, Any]:
            raise RefusedError({"type": "urn:understudy:problem:role", "detail": "eyes is a viewer"})

    with pytest.raises(RefusedError, match="eyes is a viewer"):
        tell(Closed(), io.BytesIO(b"{}\n"))  # type: ignore[arg-type]
