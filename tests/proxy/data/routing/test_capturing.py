"""Which requests a worker captures, what of them goes up, and what it may cost."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.capture import Capture, Captured, Field
from proxy.channel import Frames
from proxy.data.requests.router import Head
from proxy.data.routing import capturing
from proxy.data.routing.capturing import Answer, Body, Bucket, CapturePlan, Captures, Taken
from proxy.data.routing.routing import Routing
from proxy.data.wire.http1 import Headers
from proxy.faults import Fault
from proxy.ledger.guards import RouteCounts
from proxy.snapshot import CIRCLE, Mirror, Output, Predictions, Retries, Snapshot, TableRef
from tests.support.plane import ROWS, Plane, answer, chunked, request
from tests.support.transports import settle

KEY = b"k" * 32
ALL = Capture(CIRCLE, True, True, per_minute=6000, other="keep", path="keep", headers=(("x-request-id", "keep"),))
READS = Predictions("json", (Output("label", "category", ("label",), table=TableRef(0, 3)),))
JSON = ("Content-Type: application/json",)


class Up:
    """The controller's end."""

    def __init__(self, captures: Captures, room: int = 1 << 40) -> None:
        self.captures, self.room, self.raw = captures, room, b""

    def take(self) -> list[dict[str, Any]]:
        """What has come up since the last time; all that waits goes up."""
        self.raw = b""
        while self.captures._waiting and len(self.raw) < self.room:
            self.captures.pump(self._send, lambda: 0)
        found = []
        for message in Frames().feed(self.raw):
            assert isinstance(message, Captured)
            found.append({"kind": message.kind, "route": message.route, **msgspec.json.decode(message.data)})
        return found

    def _send(self, data: bytes) -> None:
        self.raw += data


def captured(plane: Plane, settings: Capture = ALL, shadow: bool = False, **changes: Any) -> Up:
    """Capture the route from now on."""
    mirrors = (Mirror(2, CIRCLE, ROWS["v3"]),) if shadow else ()
    plane.route = msgspec.structs.replace(plane.route, capture=settings, mirrors=mirrors, **changes)
    snapshot = Snapshot(
        plane.context.routing.generation + 1, tuple(plane.backends), (plane.route,), listeners=(plane.listener,),
        label_key=KEY,
    )  # fmt: skip
    plane.context.routing = Routing(snapshot, plane.writer, plane.context.routing)
    captures = Captures()
    plane.context.note(None, captures)
    return Up(captures)


def dropped(plane: Plane) -> tuple[int, int]:
    totals = plane.reader.guards(0, "all")
    return totals.capture_limited, totals.capture_dropped


def asked(body: bytes = b'{"text": "hi"}', target: str = "/infer?user=ann", headers: tuple[str, ...] = JSON) -> bytes:
    return request("POST", target, headers=(*headers, "X-Request-Id: r-1"), body=body)


async def test_a_sample_has_the_request_and_its_answer(plane: Plane) -> None:
    """Nobody could see what is asked of a model, or what it answers."""
    up = captured(plane)
    client = plane.client()
    client.send(asked())
    await settle()
    plane.clock.move(0.05)
    plane.backend().answer(answer(b'{"label": "cat"}'))
    (found,) = up.take()
    body = {"bytes": 14, "type": "application/json", "value": {"text": "hi"}, "cut": False, "why": ""}
    assert found["request"] == {"method": "POST", "path": "/infer", "headers": {"x-request-id": "r-1"}, "body": body}
    (one,) = found.pop("answers")
    assert (found["kind"], found["route"], found["attempts"], found["differs"]) == ("sample", "all", 1, [])
    assert one["body"] == {"bytes": 16, "type": "", "value": {"label": "cat"}, "cut": False, "why": ""}
    assert (one["backend"], one["status"], one["fault"]) == ("v1", 200, "")


async def test_a_request_has_the_id_that_its_version_was_told(plane: Plane) -> None:
    """A captured request could not be found in the model server's log."""
    up = captured(plane)
    client = plane.client()
    client.send(request("POST", headers=JSON, body=b"{}"))
    await settle()
    sent = plane.backend().take().decode()
    plane.backend().answer(answer(b"{}"))
    (found,) = up.take()
    assert f"x-request-id: {found['request']['headers']['x-request-id']}\r\n" in sent


async def test_chance_takes_its_share(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """One percent would be all of the traffic, or none of it."""
    draws = iter([0.0, 0.29999, 0.3, 0.9])
    monkeypatch.setattr(capturing, "random", lambda: next(draws))
    up = captured(plane, msgspec.structs.replace(ALL, share=300_000))
    client = plane.client()
    for _ in range(4):
        await plane.exchange(client, asked(), answer(b"{}"))
    assert len(up.take()) == 2


async def test_failures_alone(plane: Plane) -> None:
    """Of a thousand requests those three that failed would not be found."""
    up = captured(plane, msgspec.structs.replace(ALL, share=0))
    client = plane.client()
    await plane.exchange(client, asked(), answer(b'{"label": "cat"}'))
    await plane.exchange(client, asked(), answer(b'{"error": "no memory"}', status=500))
    client.send(asked())
    await settle()
    plane.backend().reset()
    await settle()
    failed, lost = up.take()
    assert [found["kind"] for found in (failed, lost)] == ["error", "error"]
    assert failed["answers"][0]["body"]["value"] == {"error": "no memory"}
    assert (lost["answers"][0]["status"], lost["answers"][0]["fault"]) == (502, "upstream-reset")
    assert lost["answers"][0]["body"]["value"] is None


async def test_what_a_retry_hides_is_captured(plane: Plane) -> None:
    """The failures that count against a version, and that clients do not see, could not be looked at."""
    up = captured(
        plane,
        msgspec.structs.replace(ALL, share=0),
        retries=Retries(1, ("5xx",), methods=("POST",), base_interval_s=0.0),
    )
    client = plane.client()
    client.send(asked())
    await settle()
    plane.backend().answer(answer(b'{"error": 1}', status=503))
    await settle()
    await settle()
    plane.backend().answer(answer(b'{"label": "cat"}'))
    await settle()
    (found,) = up.take()
    assert (found["kind"], found["attempts"]) == ("error", 2)
    assert (found["answers"][0]["status"], found["answers"][0]["body"]["value"]) == (200, {"label": "cat"})


async def copied(plane: Plane, stable: bytes, shadow: bytes) -> None:
    """One request, answered by stable and by the shadow."""
    client = plane.client()
    client.send(asked())
    await settle()
    plane.clock.move(0.01)
    plane.backend().answer(answer(stable))
    await settle()
    plane.clock.move(0.02)
    plane.backend("v3").answer(shadow)
    await settle()


async def test_answers_that_differ_stand_side_by_side(plane: Plane) -> None:
    """A report says that 3 % of the pairs disagree, and nobody could see which."""
    up = captured(plane, msgspec.structs.replace(ALL, share=0), shadow=True, predictions=READS)
    await copied(plane, b'{"label": "cat"}', answer(b'{"label": "cat"}'))
    assert up.take() == []
    await copied(plane, b'{"label": "cat"}', answer(b'{"label": "dog"}'))
    (found,) = up.take()
    assert (found["kind"], found["differs"]) == ("disagreement", ["label"])
    assert found["request"]["body"]["value"] == {"text": "hi"}
    assert [(one["backend"], one["body"]["value"]["label"]) for one in found["answers"]] == [
        ("v1", "cat"),
        ("v3", "dog"),
    ]


async def test_a_copy_that_fails_is_captured_with_the_answer_that_was_good(plane: Plane) -> None:
    """A shadow that fails on some requests would not say on which."""
    up = captured(plane, msgspec.structs.replace(ALL, share=0), shadow=True, predictions=READS)
    await copied(plane, b'{"label": "cat"}', answer(b'{"error": "no"}', status=500))
    (found,) = up.take()
    assert (found["kind"], [one["status"] for one in found["answers"]]) == ("error", [200, 500])
    assert found["answers"][1]["body"]["value"] == {"error": "no"}
    await copied(plane, b'{"label": "cat"}', b"")
    plane.sweep(11)
    (found,) = up.take()
    assert found["answers"][1]["fault"] == "request-timeout"


async def test_what_nobody_asked_for_is_not_captured(plane: Plane) -> None:
    """Errors would be stored where samples alone were asked for, and the other way round."""
    up = captured(plane, msgspec.structs.replace(ALL, share=0, errors=False), shadow=True, predictions=READS)
    await plane.exchange(plane.client(), asked(), answer(b"{}", status=500))
    plane.backend("v3").answer(answer(b"{}", status=500))
    await settle()
    assert up.take() == []
    up = captured(plane, msgspec.structs.replace(ALL, share=0, disagreements=False), shadow=True, predictions=READS)
    await copied(plane, b'{"label": "cat"}', answer(b'{"label": "dog"}'))
    assert up.take() == []


# --- bodies that are not kept


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ("Content-Type: text/plain", b'{"a": 1}', "not JSON"),
        ("Content-Type: application/octet-stream", b"\0\1", "not JSON"),
        ("Content-Type: application/json", b"{", "unreadable"),
        ("Content-Type: application/json", b'{"a": "' + b"x" * 300 + b'"}', "too long"),
        ("Content-Type: application/json", b"[" * 250, "unreadable"),
        ("Content-Type: application/json", b'{"a": "\\ud800"}', "unreadable"),
        ("Content-Type: application/json\r\nContent-Encoding: br", b"abc", "unreadable"),
    ],
)
async def test_of_other_bodies_length_and_type_are_kept(plane: Plane, headers: str, body: bytes, why: str) -> None:
    """A picture or a text of a person would be stored, which no rule looks into."""
    up = captured(plane, msgspec.structs.replace(ALL, max_body_bytes=256))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{headers}\r\n\r\n".encode()
    await plane.exchange(plane.client(), asked(), head + body)
    (found,) = up.take()
    said = found["answers"][0]["body"]
    kind = headers.partition("\r\n")[0].rpartition(" ")[2]
    assert said == {"bytes": len(body), "type": kind, "value": None, "cut": False, "why": why}


@pytest.mark.parametrize("value", ["a b c; x", "Ann Lee", "text/plain/ann", "x" * 200 + "/y", "/", "ann@example.com/x"])
async def test_a_type_that_is_none_is_not_told(plane: Plane, value: str) -> None:
    """A client would write what it wants into the store by a field that no rule names."""
    up = captured(plane, Capture(CIRCLE, per_minute=6000))
    await plane.exchange(plane.client(), asked(headers=(f"Content-Type: {value}",)), answer(b"{}"))
    (found,) = up.take()
    assert found["request"]["body"]["type"] == ""


async def test_a_compressed_body_is_read_up_to_the_bound(plane: Plane) -> None:
    """Answers of servers that compress could not be seen, or one of them would fill the memory."""
    up = captured(plane, msgspec.structs.replace(ALL, max_body_bytes=512))
    for text, value in ((b'{"a": 1}', {"a": 1}), (b"[" + b" " * 4096 + b"1]", None)):
        packed = gzip.compress(text)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(packed)}\r\nContent-Encoding: gzip\r\n\r\n".encode()
        await plane.exchange(plane.client(), asked(), head + packed)
        (found,) = up.take()
        assert found["answers"][0]["body"]["value"] == value


async def test_a_stream_is_never_gathered(plane: Plane) -> None:
    """An answer that goes on for an hour would take the memory of an hour."""
    up = captured(plane, msgspec.structs.replace(ALL, max_body_bytes=256))
    for kind in ("text/event-stream", "application/json"):
        client = plane.client()
        client.send(asked())
        await settle()
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: {kind}\r\n\r\n"
        plane.backend().answer(head.encode())
        exchange = client.connection._exchange
        assert exchange is not None
        for _ in range(100):
            plane.backend().answer(b"64\r\n" + b"x" * 100 + b"\r\n")
            assert sum(map(len, exchange._taped or ())) <= 256
        assert exchange._taped is None
        plane.backend().answer(b"0\r\n\r\n")
        await settle()
        (found,) = up.take()
        assert (found["answers"][0]["body"]["bytes"], found["answers"][0]["body"]["value"]) == (10_000, None)


async def test_a_request_that_is_long_is_passed_on_and_its_length_kept(plane: Plane) -> None:
    """An upload would be held in memory, or be cut."""
    up = captured(plane, msgspec.structs.replace(ALL, max_body_bytes=256))
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked", *JSON)) + chunked(b"x" * 200, b"y" * 200))
    await settle()
    plane.backend().answer(answer(b"{}"))
    (found,) = up.take()
    assert found["request"]["body"] == {
        "bytes": 400, "type": "application/json", "value": None, "cut": False, "why": "too long",
    }  # fmt: skip


# --- bounds


def test_a_bucket_holds_a_rate() -> None:
    """A storm of failures would fill the store within a minute."""
    bucket = Bucket(2.0, 4.0)
    assert sum(bucket.take(100.0) for _ in range(10)) == 4
    assert sum(bucket.take(100.0 + i / 8) for i in range(80)) == 19
    assert sum(bucket.take(1000.0) for _ in range(10)) == 4


@pytest.mark.parametrize("workers", [1, 3, 8, 64])
@pytest.mark.parametrize("per_minute", [1, 60, 6000])
def test_all_workers_together_keep_the_rate(workers: int, per_minute: int) -> None:
    """The more workers, the more would be written."""
    settings = msgspec.structs.replace(ALL, per_minute=per_minute)
    plans = [CapturePlan("r", settings, KEY, counts(), workers) for _ in range(workers)]
    taken = sum(plan.has_room("error", float(second)) for second in range(3600) for plan in plans for _ in range(3))
    at_once = max(workers, per_minute / 6)
    assert taken <= per_minute * 60 + at_once + workers
    assert taken >= min(per_minute * 60, 3 * 3600 * workers) * 0.9 - workers


async def test_each_kind_has_its_own_rate(plane: Plane) -> None:
    """Samples of a busy route would leave no room for the failures."""
    up = captured(plane, msgspec.structs.replace(ALL, per_minute=6))
    client = plane.client()
    for _ in range(5):
        await plane.exchange(client, asked(), answer(b"{}"))
    await plane.exchange(client, asked(), answer(b"{}", status=500))
    assert [found["kind"] for found in up.take()] == ["sample", "error"]
    assert dropped(plane) == (4, 0)


async def test_what_finds_no_room_is_counted(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the controller is away a worker would grow without end, or lose captures and not say so."""
    monkeypatch.setattr(capturing, "QUEUE", 3)
    up = captured(plane)
    client = plane.client()
    for number in range(5):
        await plane.exchange(client, asked(f'{{"n": {number}}}'.encode()), answer(b"{}"))
    assert dropped(plane) == (0, 2)
    assert [found["request"]["body"]["value"]["n"] for found in up.take()] == [0, 1, 2]
    monkeypatch.setattr(capturing, "QUEUE_BYTES", 25)
    for _ in range(2):
        await plane.exchange(client, asked(), answer(b"{}"))
    assert dropped(plane) == (0, 3)
    assert len(up.take()) == 1


def test_a_controller_that_reads_nothing_is_sent_nothing() -> None:
    """What a stopped controller leaves unread would fill the worker's memory."""
    captures, sent = Captures(), []
    captures.offer(taken(b"{}"), 0.0)
    captures.pump(sent.append, lambda: capturing.UNSENT_BYTES)
    assert sent == []
    captures.pump(sent.append, lambda: 0)
    assert len(sent) == 1


def test_a_sweep_takes_its_time_and_no_more() -> None:
    """A hundred long bodies at once would hold up every request of a worker."""
    captures, sent = Captures(), list[bytes]()
    rows = json.dumps({"rows": [{"a": i, "b": "x" * 20} for i in range(1000)]}).encode()
    plan = CapturePlan("r", msgspec.structs.replace(ALL, fields=(Field(("rows", "*", "b"), "mask"),)), KEY, counts(), 1)
    for _ in range(20):
        captures.offer(taken(rows, plan), 0.0)
    captures.pump(sent.append, lambda: 0)
    assert 1 <= len(sent) < 20


# --- nothing is paid where nothing is captured


def test_where_nothing_is_captured_nothing_of_it_is_loaded() -> None:
    """Every worker would pay for what few routes ask for."""
    text = "import sys, proxy.data.worker; print([m for m in sys.modules if 'captur' in m or 'redact' in m])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[4])  # fmt: skip
    assert done.stdout.strip() == "['proxy.capture']"


async def test_a_route_that_is_not_captured_is_served_by_plain_exchanges(plane: Plane) -> None:
    """A capture that was turned off would go on to cost, or to be taken."""
    up = captured(plane)
    plane.adopt(capture=None)
    await plane.exchange(plane.client(), asked(), answer(b"{}"))
    assert up.take() == []


async def test_a_reload_that_changes_nothing_goes_on_with_its_rate(plane: Plane) -> None:
    """Whoever edits a file often would get more than the file says."""
    captured(plane)
    first = plane.context.routing.plans[0].capture
    captured(plane)
    assert plane.context.routing.plans[0].capture is first
    captured(plane, msgspec.structs.replace(ALL, per_minute=1))
    assert plane.context.routing.plans[0].capture is not first


# --- a law


def counts() -> RouteCounts:
    return RouteCounts(memoryview(bytearray(8 * 16)).cast("d"), 0)


def taken(body: bytes, plan: CapturePlan | None = None, fields: Headers | None = None, target: bytes = b"/") -> Taken:
    plan = plan or CapturePlan("r", ALL, KEY, counts(), 1)
    fields = fields or [(b"content-type", b"application/json")]
    one = Body(fields, len(body), [body])
    head = Head(b"POST", target, fields, "192.0.2.7")
    return Taken(plan, "sample", 1.0, head, "", one, [Answer("v1", "stable", 200, Fault.NONE, 0.1, one)])


texts = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x17F, exclude_characters='"\\'), min_size=3).map(
    "«{}»".format
)


@settings(max_examples=200, deadline=None)
@given(texts, st.sampled_from(["hash", "mask", "drop"]), st.sampled_from(["drop", "mask", "hash"]))
def test_nothing_personal_is_in_a_byte_that_leaves(secret: str, named: Any, other: Any) -> None:
    """A person's data would leave the worker by a field, a path, a member or an element that no rule lets out."""
    settings = Capture(
        CIRCLE, per_minute=6000, fields=(Field(("rows", "*", "name"), named), Field(("ok",), "keep")), other=other,
        path=other, headers=(("x-user", named),),
    )  # fmt: skip
    document = {"rows": [{"name": secret, "deep": {"x": [secret]}}, [secret]], secret: 1, "text": secret, "ok": "fine"}
    if other != "drop":
        del document[secret]  # what is masked or hashed keeps the names of its members
    body = json.dumps(document, ensure_ascii=False).encode()
    fields = [(b"content-type", f"application/json; x={secret}".encode()), (b"x-user", secret.encode()),
              (b"cookie", secret.encode())]  # fmt: skip
    captures, sent = Captures(), list[bytes]()
    captures.offer(taken(body, CapturePlan("r", settings, KEY, counts(), 1), fields, f"/u/{secret}?q".encode()), 0.0)
    captures.pump(sent.append, lambda: 0)
    assert b"fine" in sent[0]
    assert secret.encode() not in sent[0]
    assert json.dumps(secret)[1:-1].encode() not in sent[0]


odd = st.sampled_from(
    [b"9" * 5000, b"1e999", b"NaN", b"-Infinity", b'"\\ud800"', b'"\xff"', b"[" * 3000,
     b'{"a":' * 500 + b"1" + b"}" * 500,
     b'{"a": 1, "a": "\\u0000"}', b"\xef\xbb\xbf{}", b"null", b'""', b"true"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=60) | odd | odd.map(b'{"rows": [{"name": %b}]}'.__mod__),
    st.sampled_from(["keep", "hash", "mask"]),
)
def test_no_body_ends_the_sweep(body: bytes, policy: Any) -> None:
    """A worker whose sweep ended would time nothing out any more, for one odd body."""
    settings = Capture(
        CIRCLE, per_minute=6000, fields=(Field(("rows", "*", "name"), policy),), other=policy, path=policy
    )
    captures, sent = Captures(), list[bytes]()
    captures.offer(taken(body, CapturePlan("r", settings, KEY, counts(), 1), target=b"/\xff" + body), 0.0)
    captures.pump(sent.append, lambda: 0)
    (message,) = Frames().feed(sent[0])
    assert isinstance(message, Captured)
    assert json.loads(message.data)["request"]["body"]["bytes"] == len(body)
