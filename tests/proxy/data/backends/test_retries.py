"""What fails is sent again where that is safe, within bounds, and what is judged stays the first attempt."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, Final, get_args

import msgspec
import pytest

from config.routes import retries as settings
from proxy.data.backends.retries import CONDITIONS, RetryPlan
from proxy.data.backends.upstream import Upstream
from proxy.data.exchanges.attempt import REPLAY_BYTES
from proxy.faults import FACTS, Fault, Retry
from proxy.ledger.layout import L_ARRIVED, L_FAILED, L_ON_TIME
from proxy.snapshot import Backend, Balancing, Condition, Endpoint, Mirror, Outliers, Retries
from tests.support.plane import ROWS, STABLE, Plane, PlayedClient, answer, chunked, request, split
from tests.support.transports import settle
from tests.support.upgrades import SWITCHED, upgrade

AT_ONCE: Final = Retries(1, ("5xx", "refused-stream"), base_interval_s=0.0, budget_floor=100)
"""All that can be tried again is, and the wait is one turn of the loop."""
WAITING: Final = msgspec.structs.replace(AT_ONCE, base_interval_s=50.0, max_interval_s=50.0)
"""The wait lasts until somebody ends it; `request_timeout_s` has to leave room."""
LONG_S: Final = 1000.0


def asked(**changes: Any) -> Retries:
    return msgspec.structs.replace(AT_ONCE, **changes)


def upstream(plane: Plane, number: int = 0) -> Upstream:
    return list(plane.context.routing.upstreams.values())[number]


# --- which failures, of which methods, with which bodies


async def refused(plane: Plane, client: PlayedClient, raw: bytes) -> None:
    plane.network.refusing.add("v1.test")
    client.send(raw)
    await until(lambda: bool(upstream(plane).retrying or client.transport.writes))
    plane.network.refusing.clear()


async def silent(plane: Plane, client: PlayedClient, raw: bytes) -> None:
    plane.network.silent.add("v1.test")
    plane.adopt(connect_timeout_s=0.001)
    client.send(raw)
    await until(lambda: bool(upstream(plane).retrying or client.transport.writes))
    plane.network.silent.clear()


async def full(plane: Plane, client: PlayedClient, raw: bytes) -> None:
    plane.backends[0] = msgspec.structs.replace(STABLE, max_connections=1, max_pending=0)
    plane.adopt()
    plane.client().send(request())
    await settle()
    client.send(raw)
    plane.backend().answer(answer())
    plane.backend().take()


async def reset(plane: Plane, client: PlayedClient, raw: bytes) -> None:
    client.send(raw)
    await settle()
    plane.backend().reset()


async def garbage(plane: Plane, client: PlayedClient, raw: bytes) -> None:
    client.send(raw)
    await settle()
    plane.backend().answer(b"SMTP\r\n\r\n")


async def slow(plane: Plane, client: PlayedClient, raw: bytes) -> None:
    client.send(raw)
    await settle()
    plane.sweep(1.5)


def answered(status: int) -> Callable[[Plane, PlayedClient, bytes], Awaitable[None]]:
    async def failing(plane: Plane, client: PlayedClient, raw: bytes) -> None:
        client.send(raw)
        await settle()
        plane.backend().answer(answer(b"no", status=status))

    return failing


UNSENT: Final = {Fault.CONNECT_FAILED: refused, Fault.CONNECT_TIMEOUT: silent, Fault.OVERFLOW: full}
SENT: Final = {Fault.UPSTREAM_RESET: reset, Fault.BAD_RESPONSE: garbage, Fault.REQUEST_TIMEOUT: slow}
WAYS: Final = UNSENT | SENT | {status: answered(status) for status in (500, 501, 502, 503, 504)}
GATEWAY: Final = {502, 503, 504, Fault.CONNECT_FAILED, Fault.CONNECT_TIMEOUT, *SENT}
ASKED: Final[dict[Condition, set[int]]] = {
    "connect-failure": {Fault.CONNECT_FAILED, Fault.CONNECT_TIMEOUT},
    "refused-stream": {Fault.OVERFLOW},
    "reset": set(SENT),
    "gateway-error": GATEWAY,
    "5xx": GATEWAY | {500, 501},
}
IDEMPOTENT: Final = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if holds():
            return
        await settle(1)
    raise AssertionError("it did not come to that")


async def tried_again(plane: Plane, way: int, raw: bytes, **changes: Any) -> bool:
    """Whether a request that fails in this way is sent again, as it was and to the same version."""
    plane.adopt(retries=asked(try_timeout_s=1.0, **changes))
    client = plane.client()
    await WAYS[way](plane, client, raw)
    again = upstream(plane).retrying > 0
    await settle(12)
    if again:
        sent = plane.backend().take()
        assert sent.split(b"\r\n", 1)[0] == raw.split(b"\r\n", 1)[0]
        assert sent.endswith(raw.partition(b"\r\n\r\n")[2])
        plane.backend().answer(answer(b"" if raw.startswith(b"HEAD") else b"yes"))
    first, fields, _ = split(client.take())
    assert (first == "HTTP/1.1 200 OK") is again
    assert fields.get("x-understudy-attempts") == ("2" if again else None)
    assert not plane.context.live
    assert upstream(plane).retrying == 0
    assert plane.totals("v2").arrived == 0
    return again


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("condition", ASKED)
async def test_each_condition_means_what_it_says(plane: Plane, condition: Condition, way: int) -> None:
    """A word that means less leaves failures to clients; one that means more sends requests again that nobody asked
    to be."""
    assert await tried_again(plane, way, request(), conditions=(condition,)) is (way in ASKED[condition])


@pytest.mark.parametrize("way", WAYS)
async def test_statuses_stand_by_themselves(plane: Plane, way: int) -> None:
    """One status that a model server uses for "later" is all that many people want."""
    assert await tried_again(plane, way, request(), conditions=(), statuses=(503,)) is (way == 503)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", [*IDEMPOTENT, "POST", "PATCH"])
async def test_what_may_have_been_acted_upon_is_sent_again_only_with_idempotent_methods(
    plane: Plane, method: str, way: int
) -> None:
    """A payment is made twice if a POST is repeated that the backend had already seen (RFC 9110, section 9.2.2)."""
    body = b"[1]" if method in ("POST", "PATCH", "PUT") else None
    assert await tried_again(plane, way, request(method, body=body)) is (method in IDEMPOTENT or way in UNSENT)
    denied = plane.totals().retries.get(Retry.METHOD, 0)
    assert denied == (method not in IDEMPOTENT and way not in UNSENT)


@pytest.mark.parametrize("way", WAYS)
async def test_a_route_may_say_that_its_posts_change_nothing(plane: Plane, way: int) -> None:
    """Inference is a POST, so that without this there would be no retries of what people run models for."""
    assert await tried_again(plane, way, request("POST", body=b"[1]"), methods=("POST",))


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 409, 429])
async def test_an_answer_below_500_is_final(plane: Plane, status: int) -> None:
    """It is no failure of the version: sent again it would only be said twice."""
    plane.adopt(retries=asked())
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(answer(status=status))
    assert split(client.take())[0].startswith(f"HTTP/1.1 {status}")
    assert plane.totals().retries == {}


async def test_a_route_without_retries_has_none(plane: Plane) -> None:
    """What nobody asked for costs nothing and does nothing."""
    client = plane.client()
    await reset(plane, client, request())
    assert split(client.take())[0].startswith("HTTP/1.1 502")
    assert plane.totals().retries == {}


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_body_is_sent_again_whole(plane: Plane, framing: str) -> None:
    """A model that gets half a question gives half an answer."""
    plane.adopt(retries=asked(methods=("POST",)))
    client = plane.client()
    pieces = [b"a" * 1000, b"b" * 1000, b"c" * 1000]
    if framing == "length":
        client.send(request("POST", headers=("Content-Length: 3000",)))
        raw = pieces
    else:
        client.send(request("POST", headers=("Transfer-Encoding: chunked",)))
        raw = [b"3e8\r\n%b\r\n" % piece for piece in pieces]
    await settle()
    client.send(raw[0])
    plane.backend().reset()
    client.send(raw[1])
    await settle()
    client.send(raw[2] + (b"0\r\n\r\n" if framing == "chunked" else b""))
    _, _, body = split(plane.backend().take())
    assert body == (b"".join(pieces) if framing == "length" else chunked(*pieces))
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"
    assert plane.totals().retries == {Retry.SUCCEEDED: 1}


async def test_a_body_that_was_not_kept_is_not_sent_again(plane: Plane) -> None:
    """Else the second model would get the rest of a body and take it for all."""
    plane.adopt(retries=asked(methods=("POST",)))
    client = plane.client()
    client.send(request("POST", headers=(f"Content-Length: {REPLAY_BYTES + 2}",)))
    await settle()
    client.send(b"x" * (REPLAY_BYTES + 1))
    plane.backend().reset()
    assert split(client.take())[0].startswith("HTTP/1.1 502")
    assert plane.totals().retries == {Retry.NOT_REPLAYABLE: 1}


async def test_a_body_that_outgrows_its_bound_during_the_wait_goes_out_whole(plane: Plane) -> None:
    """It cannot be sent a third time, but nothing of it is lost for the second."""
    plane.adopt(retries=asked(methods=("POST",), attempts=5))
    client = plane.client()
    client.send(request("POST", headers=(f"Content-Length: {REPLAY_BYTES + 10}",)))
    await settle()
    client.send(b"x" * 10)
    plane.backend().reset()
    client.send(b"y" * REPLAY_BYTES)
    await settle()
    assert split(plane.backend().take())[2] == b"x" * 10 + b"y" * REPLAY_BYTES
    plane.backend().reset()
    await settle()
    assert split(client.take())[0].startswith("HTTP/1.1 502")
    assert plane.totals().retries == {Retry.FAILED: 1, Retry.NOT_REPLAYABLE: 1}


async def test_nothing_is_sent_again_once_the_client_has_something(plane: Plane) -> None:
    """Two halves of two answers are no answer."""
    plane.adopt(retries=asked())
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    plane.backend().reset()
    assert client.transport.aborted
    assert plane.totals().retries == {}
    assert plane.totals().faults == {Fault.RESPONSE_CUT: 1}


async def test_expect_100_continue_is_met_once(plane: Plane) -> None:
    """The client sends its body once, whatever happens to it behind the proxy."""
    plane.adopt(retries=asked())
    client = plane.client()
    plane.network.refusing.add("v1.test")
    client.send(request("PUT", headers=("Expect: 100-continue", "Content-Length: 3")))
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await settle(2)
    plane.network.refusing.clear()
    client.send(b"abc")
    await settle()
    assert split(plane.backend().take())[2] == b"abc"
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[0] == "HTTP/1.1 200 OK"


async def test_a_stale_connection_is_no_attempt(plane: Plane) -> None:
    """It says nothing of the version: neither the count of attempts nor the verdict may pay for it."""
    plane.adopt(retries=asked())
    client = plane.client()
    await plane.exchange(client, request(), answer())
    plane.clock.move(1)
    client.send(request())
    plane.backend().close()
    await settle()
    plane.backend().answer(answer(status=500))
    await settle()
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[1]["x-understudy-attempts"] == "2"
    assert plane.totals().retries == {Retry.RESENT: 1, Retry.SUCCEEDED: 1}
    assert plane.totals().failed == 1


# --- bounds: attempts, time, budget, wait


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_attempts_are_counted(plane: Plane, attempts: int) -> None:
    """Each more is load that a failing version did not ask for."""
    plane.adopt(retries=asked(attempts=attempts))
    client = plane.client()
    client.send(request())
    for _ in range(attempts + 1):
        await settle()
        plane.backend().answer(answer(b"last", status=503))
    first, fields, body = split(client.take())
    assert (first, body) == ("HTTP/1.1 503 Service Unavailable", b"last")
    assert fields["x-understudy-attempts"] == str(attempts + 1)
    assert plane.totals().retries == {Retry.FAILED: attempts, Retry.EXHAUSTED: 1}
    assert not client.transport.closed


async def test_an_attempt_has_its_time_and_all_have_theirs(plane: Plane) -> None:
    """A model that hangs would take all the time that another attempt needs; and a client is promised an end."""
    plane.adopt(retries=asked(attempts=10, try_timeout_s=4.0))
    client = plane.client()
    client.send(request())
    for number, seconds in enumerate((3.9, 3.9, 1.7), 1):
        await settle()
        plane.sweep(seconds)
        assert plane.connections() == number
        assert client.take() == b""
        plane.sweep(0.2)
    first, fields, _ = split(client.take())
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 504 Gateway Timeout", "request-timeout")
    assert plane.totals().retries == {Retry.FAILED: 2, Retry.LATE: 1}


async def test_no_attempt_begins_that_could_not_end(plane: Plane) -> None:
    """The wait alone would take what is left: the client is told now."""
    plane.adopt(retries=WAITING, request_timeout_s=0.001)
    client = plane.client()
    await reset(plane, client, request())
    assert split(client.take())[0].startswith("HTTP/1.1 502")
    assert plane.totals().retries == {Retry.LATE: 1}


async def test_a_slow_upload_is_not_counted_against_the_retries(plane: Plane) -> None:
    """The time of the route begins when the request is complete, for all attempts together too."""
    plane.adopt(retries=asked(methods=("POST",)))
    client = plane.client()
    client.send(request("POST", headers=("Content-Length: 3",)))
    await settle()
    for piece in (b"a", b"b", b"c"):
        plane.sweep(9)
        client.send(piece)
    plane.sweep(9)
    plane.backend().reset()
    await settle()
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"


async def test_the_wait_holds_no_connection_and_is_drawn_anew(plane: Plane) -> None:
    """Requests that wait must not keep those out that do not."""
    plane.adopt(retries=WAITING, request_timeout_s=LONG_S)
    client = plane.client()
    await reset(plane, client, request())
    await settle()
    assert upstream(plane).in_flight == 0
    assert plane.connections() == 1
    assert len(plane.context.live) == 1
    assert upstream(plane).retrying == 1


def test_waits_double_up_to_a_bound() -> None:
    """Waits of one length bring everybody back at once; waits without a bound bring nobody back."""
    draw = random.Random(3).random
    plan = RetryPlan(Retries(10, ("5xx",), base_interval_s=0.025, max_interval_s=0.25), draw)
    bounds = [0.025, 0.05, 0.1, 0.2, 0.25, 0.25]
    for retries, bound in enumerate(bounds):
        waits = [plan.wait_s(retries) for _ in range(4000)]
        assert 0 <= min(waits) < 0.01 * bound
        assert 0.99 * bound < max(waits) <= bound
        assert sum(waits) / len(waits) == pytest.approx(bound / 2, rel=0.05)
    assert RetryPlan(Retries(10, ("5xx",))).wait_s(0) != RetryPlan(Retries(10, ("5xx",))).wait_s(0)


@pytest.mark.parametrize(("share", "floor", "busy", "allowed"), [
    (0.2, 3, 0, 3), (0.2, 3, 14, 3), (0.2, 3, 19, 4), (0.2, 3, 99, 20), (0.2, 0, 99, 20),
    (0.0, 0, 50, 0), (0.0, 2, 50, 2), (1.0, 0, 9, 10),
])  # fmt: skip
def test_the_budget_is_a_share_of_what_is_in_flight(
    share: float, floor: int, busy: int, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too much, and retries bring down what was only slow; too little, and there are none."""
    plan = RetryPlan(Retries(1, ("5xx",), budget_share=share, budget_floor=floor))
    backend = Upstream(Backend("v1", (Endpoint("v1.test", 1),)))
    monkeypatch.setattr(Upstream, "in_flight", busy)
    granted = 0
    while plan.denial(backend, b"GET", True, True, 0, 1.0) is None and granted < 1000:
        backend.retrying += 1
        granted += 1
    assert granted == allowed
    assert plan.denial(backend, b"GET", True, True, 0, 1.0) is Retry.OVER_BUDGET


async def test_over_budget_the_failure_is_the_answer(plane: Plane) -> None:
    """A version that is down is given a fifth more load, not twice as much."""
    plane.adopt(retries=asked(budget_floor=0, base_interval_s=50.0), request_timeout_s=LONG_S)
    clients = [plane.client() for _ in range(100)]
    for client in clients:
        client.send(request())
    await settle(12)
    assert plane.connections() == 100
    for backend in list(plane.network.made["v1.test"]):
        backend.reset()
    refused = [client for client in clients if client.take()]
    retries = plane.totals().retries
    assert upstream(plane).retrying + len(refused) == 100
    assert 1 <= upstream(plane).retrying <= 20
    assert retries == {Retry.OVER_BUDGET: len(refused)}
    for client in clients:
        client.transport.lose()
    assert upstream(plane).retrying == 0


async def test_the_budget_is_given_back(plane: Plane) -> None:
    """A budget that leaks ends all retries some day."""
    plane.adopt(retries=asked(budget_floor=1))
    client = plane.client()
    for _ in range(5):
        client.send(request())
        await settle()
        plane.backend().reset()
        await settle()
        plane.backend().answer(answer(b"yes"))
        assert split(client.take())[2] == b"yes"
    assert plane.totals().retries == {Retry.SUCCEEDED: 5}


async def test_another_endpoint_is_asked(plane: Plane) -> None:
    """The one that failed is the one that most likely fails again."""
    plane.backends[0] = Backend("v1", (Endpoint("v1.test", 81), Endpoint("v1b.test", 81)))
    plane.adopt(retries=asked())
    plane.network.refusing.add("v1.test")
    for _ in range(4):
        client = plane.client()
        client.send(request())
        await settle(12)
        plane.backend("v1b").answer(answer(b"yes"))
        assert split(client.take())[2] == b"yes"
    assert plane.network.dialled.count("v1.test") == plane.totals().failed > 0
    assert plane.totals().retries == {Retry.SUCCEEDED: plane.totals().failed}


async def test_every_endpoint_is_asked_before_any_is_asked_again(plane: Plane) -> None:
    """Two of three replicas that are down would still fail every fourth request."""
    endpoints = [Endpoint(f"v1{letter}.test", 81) for letter in "abc"]
    plane.backends[0] = Backend("v1", tuple(endpoints), balancing=Balancing("leastRequest"))
    plane.adopt(retries=asked(attempts=4))
    random.seed(5)
    plane.network.refusing = {"v1a.test", "v1b.test", "v1c.test"}
    for _ in range(6):
        plane.network.dialled.clear()
        client = plane.client()
        client.send(request())
        await until(lambda client=client: bool(client.transport.writes))
        dialled = plane.network.dialled
        assert len(dialled) == 5
        assert len(set(dialled[:3])) == 3
        assert all(one != other for one, other in pairwise(dialled))


# --- what is judged


async def test_a_retry_hides_nothing_from_the_verdict(plane: Plane) -> None:
    """If it did, a version that fails every third time would be promoted. It counts once, and as what it first was."""
    plane.adopt(retries=asked())
    client = plane.client()
    client.send(request())
    await settle()
    plane.clock.move(0.3)
    plane.backend().answer(answer(status=503))
    lane = plane.lane(at_s=plane.clock.now_s - 0.3)
    assert (lane[L_ARRIVED], lane[L_ON_TIME], lane[L_FAILED]) == (1, 1, 1)
    totals = plane.totals()
    assert (totals.failed, totals.failed_to_clients, totals.in_flight) == (1, 0, 1), "its client has seen nothing yet"
    await settle()
    plane.clock.move(5)
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[0] == "HTTP/1.1 200 OK"
    totals = plane.totals()
    assert (totals.arrived, totals.finished, totals.failed, totals.failed_to_clients) == (1, 1, 1, 0)
    assert (totals.statuses, totals.faults, totals.late) == ({503: 1}, {}, 0)


@pytest.mark.parametrize("end", ["failed", "cut", "gone", "gone while it waits"])
async def test_how_a_retry_ends_is_counted_once(plane: Plane, end: str) -> None:
    """What clients saw is what retries are for: counted wrong, nobody knows if they help."""
    waits = end == "gone while it waits"
    plane.adopt(retries=WAITING if waits else asked(), request_timeout_s=LONG_S)
    client = plane.client()
    await reset(plane, client, request())
    await settle()
    match end:
        case "failed":
            plane.backend().reset()
        case "cut":
            plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            plane.backend().reset()
        case _:
            client.transport.lose()
    await settle()
    expected = {
        "failed": {Retry.FAILED: 1, Retry.EXHAUSTED: 1},
        "cut": {Retry.FAILED: 1},
        "gone": {Retry.ABANDONED: 1},
        "gone while it waits": {},
    }
    totals = plane.totals()
    assert totals.retries == expected[end]
    assert (totals.arrived, totals.finished, totals.failed, totals.failed_to_clients) == (1, 1, 1, 1)
    assert totals.in_flight == 0, "a row that seems in use is never lent again"
    assert totals.faults == {Fault.UPSTREAM_RESET: 1}
    assert (upstream(plane).retrying, len(plane.context.live)) == (0, 0)


async def test_copies_are_made_once(plane: Plane) -> None:
    """A shadow that gets each attempt is sent more than there was, and compared with failures."""
    plane.adopt(retries=asked(), mirrors=(Mirror(2, 1_000_000, ROWS["v3"]),))
    client = plane.client()
    client.send(request("PUT", body=b"[1]"))
    await settle()
    plane.backend().answer(answer(status=503))
    await settle()
    assert plane.connections("v3") == 0
    plane.backend().answer(answer(b"yes"))
    await settle()
    assert plane.totals("v3").arrived + sum(plane.totals("v3").skips.values()) == 1


# --- what happens meanwhile


async def test_the_route_s_time_ends_a_wait(plane: Plane) -> None:
    """A wait must not outlive the promise to the client."""
    plane.adopt(retries=WAITING, request_timeout_s=LONG_S)
    client = plane.client()
    await reset(plane, client, request())
    plane.sweep(LONG_S - 1)
    assert client.take() == b""
    plane.sweep(2)
    assert split(client.take())[0] == "HTTP/1.1 504 Gateway Timeout"
    assert plane.totals().faults == {Fault.UPSTREAM_RESET: 1}
    assert upstream(plane).retrying == 0


async def test_a_reload_does_not_disturb_a_wait(plane: Plane) -> None:
    """A request ends with the version it began with, whose endpoints may have left the file."""
    plane.adopt(retries=asked())
    client = plane.client()
    await reset(plane, client, request())
    plane.backends[0] = Backend("v9", (Endpoint("v9.test", 81),))
    plane.adopt(retries=None)
    await settle()
    plane.backend().answer(answer(b"yes"))
    _, fields, body = split(client.take())
    assert (fields["x-understudy-backend"], body) == ("v1", b"yes")
    assert plane.backend().transport.closed  # nobody will use it again
    assert "v9.test" not in plane.network.dialled


async def test_a_drain_lets_a_retry_end(plane: Plane) -> None:
    """A restart of the proxy is no reason for an error."""
    plane.adopt(retries=asked())
    client = plane.client()
    await reset(plane, client, request())
    plane.context.draining = True
    await settle()
    plane.backend().answer(answer(b"yes"))
    _, fields, body = split(client.take())
    assert (fields["connection"], body) == ("close", b"yes")


async def test_a_client_that_sends_nonsense_during_the_wait_is_told(plane: Plane) -> None:
    """The request will never be complete: nothing is left to be tried."""
    plane.adopt(retries=WAITING, request_timeout_s=LONG_S)
    client = plane.client()
    client.send(request("PUT", headers=("Transfer-Encoding: chunked",)) + b"1\r\na\r\n")
    await settle()
    plane.backend().reset()
    client.send(b"zz\r\n")
    assert split(client.take())[0] == "HTTP/1.1 400 Bad Request"
    assert upstream(plane).retrying == 0


async def test_pipelined_requests_keep_their_order(plane: Plane) -> None:
    """The second answer must not overtake the first while that is tried again."""
    plane.adopt(retries=asked())
    client = plane.client()
    client.send(request(target="/a") + request(target="/b"))
    await settle()
    plane.backend().answer(answer(status=503))
    await settle()
    assert plane.backend().take().startswith(b"GET /a ")
    plane.backend().answer(answer(b"a"))
    await settle()
    assert split(client.take())[2] == b"a"
    plane.backend().answer(answer(b"b"))
    assert split(client.take())[2] == b"b"


# --- the words


def test_conditions_are_the_same_everywhere() -> None:
    """A word that the file takes and the worker does not know stops the worker."""
    assert tuple(CONDITIONS) == get_args(Condition) == settings.CONDITIONS
    faults = frozenset().union(*(faults for faults, _ in CONDITIONS.values()))
    assert faults == {fault for fault in Fault if FACTS[fault].retryable}
    assert all(FACTS[fault].counts for fault in faults)


# --- anything in any order


@pytest.mark.parametrize("seed", range(60))
async def test_nothing_is_lost_whatever_happens(plane: Plane, seed: int) -> None:
    """A request that is counted twice or never, a budget that leaks, or an answer that comes twice: each shows only
    when several things go wrong in some order."""
    dice = random.Random(seed)
    plane.backends[0] = Backend(
        "v1", (Endpoint("v1.test", 81), Endpoint("v1b.test", 81)), max_connections=4, max_pending=2
    )
    plane.adopt(
        retries=asked(attempts=3, methods=("GET", "PUT"), try_timeout_s=2.0, budget_floor=dice.choice((1, 3, 100))),
        mirrors=(Mirror(2, 1_000_000, ROWS["v3"]),),
    )
    clients = [plane.client() for _ in range(12)]
    sent = answered = 0

    def backends() -> list[Any]:
        made = plane.network.made.get("v1.test", []) + plane.network.made.get("v1b.test", [])
        return [backend for backend in made if not backend.transport.lost and backend.transport.reading]

    for step in range(250):
        match dice.randrange(9) if step < 150 else 6:
            case 0 | 1 | 2:
                dice.choice(clients).send(request(dice.choice(("GET", "PUT", "POST")), body=b"x" * 10))
                sent += 1
            case 3 if alive := backends():
                dice.choice(alive).reset()
            case 4 | 5 if alive := backends():
                raw = dice.choice((answer(b"ok"), answer(b"no", status=503), answer(b"no", status=500), b"\0\0\r\n"))
                dice.choice(alive).answer(raw[: dice.choice((len(raw), len(raw), len(raw) - 1))])
            case 6:
                plane.sweep(dice.random() * 2)
            case 7:
                plane.network.refusing = {host for host in ("v1.test", "v1b.test") if dice.random() < 0.3}
            case 8 if dice.random() < 0.2:
                dice.choice(clients).transport.lose()
        await settle(dice.randrange(4))
        answered += sum(len(re.findall(rb"HTTP/1\.1 \d{3} ", client.take())) for client in clients)
    totals = plane.totals()
    assert totals.arrived == totals.finished > 10
    assert answered <= sent
    assert upstream(plane).retrying == 0
    assert not plane.context.live
    assert upstream(plane).in_flight == 0
    made = sum(totals.retries.get(result, 0) for result in (Retry.SUCCEEDED, Retry.FAILED, Retry.ABANDONED))
    assert made <= 3 * totals.failed
    assert totals.retries.get(Retry.SUCCEEDED, 0) <= totals.failed


async def test_an_answer_that_is_given_up_is_one_failure_of_its_endpoint(plane: Plane) -> None:
    """An endpoint would be ejected after half the failures that the settings name."""
    plane.backends[0] = msgspec.structs.replace(STABLE, outliers=Outliers(server_errors=2))
    plane.adopt(retries=asked(methods=("POST",)))
    client = plane.client()
    client.send(request("POST", headers=("Content-Length: 4",)) + b"ab")
    await settle()
    plane.backend().answer(answer(b"busy", 500))
    await settle()
    assert upstream(plane).pools[0].standing.server_errors == 1


async def test_a_tunnel_after_a_retry_fails_once(plane: Plane) -> None:
    """One request would be two failures of a version: a rate above one has no verdict."""
    plane.adopt(retries=AT_ONCE)
    client = plane.client()
    client.send(upgrade())
    await settle()
    plane.backend().answer(answer(status=503))
    await settle()
    plane.backend().answer(SWITCHED)
    assert client.take().startswith(b"HTTP/1.1 101")
    plane.backend().reset()
    await settle()
    totals = plane.totals()
    assert (totals.arrived, totals.finished, totals.failed) == (1, 1, 1)
    assert totals.retries == {Retry.SUCCEEDED: 1}
