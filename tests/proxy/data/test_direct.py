"""A version asked for by its name, and what answers tell of the way that they came."""

from __future__ import annotations

import asyncio

import pytest

from proxy.faults import Fault
from proxy.ledger.guards import GuardTotals
from proxy.snapshot import CIRCLE, Injection, Mirror, Output, Predictions, RateLimit, Retries, TableRef
from tests.support.plane import ROWS, Plane, answer, request, split
from tests.support.transports import settle

SHADOW = "X-Understudy-Backend: v3"
MIRRORED = (Mirror(2, CIRCLE, ROWS["v3"]),)


def direct(plane: Plane, **changes: object) -> None:
    plane.adopt(direct=(0, 1, 2), mirrors=MIRRORED, **changes)


async def test_the_version_that_is_asked_for_answers_and_nothing_is_evidence(plane: Plane) -> None:
    """A smoke test of a candidate would meet stable, or count for the candidate before any user has met it."""
    direct(plane)
    client = plane.client()
    for name in ("v3", "v2", "v1"):
        got = await plane.exchange(client, request(headers=(f"x-understudy-backend: {name}",)), answer(b"it"), name)
        first, fields, body = split(got)
        assert (first, body) == ("HTTP/1.1 200 OK", b"it")
        assert fields["x-understudy-backend"] == name
        totals = plane.totals(name)
        assert (totals.arrived, totals.failed, totals.statuses, totals.skips) == (0, 0, {}, {})
    assert [plane.connections(name) for name in ("v1", "v2", "v3")] == [1, 1, 1]  # no copy either
    assert plane.reader.guards(0, "all") == GuardTotals(direct=3)
    assert plane.refused() == {}


async def test_a_failure_that_was_asked_for_counts_against_nobody(plane: Plane) -> None:
    """Whoever may send requests could have a candidate aborted."""
    direct(plane, retries=Retries(1, ("5xx",), base_interval_s=0.001))
    client = plane.client()
    client.send(request(headers=("X-Understudy-Backend: v2",)))
    await settle()
    plane.backend("v2").answer(answer(status=500))
    await asyncio.sleep(0.01)
    plane.backend("v2").answer(answer(status=500))
    await settle()
    assert split(client.take())[0].split()[1] == "500"
    totals = plane.totals("v2")
    assert (totals.arrived, totals.failed, totals.retries) == (0, 0, {})


async def test_answers_that_were_asked_for_are_not_read(plane: Plane) -> None:
    """Made-up answers would fill the table of labels, which real ones have to find room in."""
    label = Output("label", "category", ("label",), table=TableRef(0, 5))
    direct(plane, predictions=Predictions("json", (label,)))
    client = plane.client()
    await plane.exchange(client, request(headers=("X-Understudy-Backend: v2",)), answer(b'{"label": "a"}'), "v2")
    assert plane.reader.labels(0, 0, 5) == []
    await plane.exchange(client, request(), answer(b'{"label": "b"}'))
    assert plane.reader.labels(0, 0, 5) == ["b"]


async def test_a_name_that_the_route_does_not_have_is_404(plane: Plane) -> None:
    """A test of a version that is misspelled would be one of stable."""
    plane.adopt(direct=(0, 1))
    client = plane.client()
    client.send(request(headers=(SHADOW,)) + request(headers=("X-Understudy-Backend: " + "v" * 1000,)) + request())
    await settle()
    assert client.take().count(b"HTTP/1.1 404 ") == 2
    assert plane.refused() == {Fault.NO_ROUTE: 2}
    assert plane.connections("v3") == 0
    plane.backend().answer(answer(b"still here"))
    assert client.take().endswith(b"still here")


async def test_where_it_is_not_allowed_the_field_means_nothing(plane: Plane) -> None:
    """Every client could choose its version, and a rollout would have no say."""
    plane.adopt(mirrors=MIRRORED)
    client = plane.client()
    client.send(request(headers=(SHADOW,)))
    await settle()
    assert "x-understudy-backend" not in split(plane.backend().take())[1]
    plane.backend().answer(answer())
    assert split(client.take())[1]["x-understudy-backend"] == "v1"
    assert plane.totals().arrived == 1
    assert plane.reader.guards(0, "all") == GuardTotals()


async def test_guards_of_the_route_hold_for_it_too(plane: Plane) -> None:
    """Asking by name would be a way around the rate limit, or out of a game day."""
    direct(plane, rate_limits=(RateLimit(1, 60.0, 1),))
    client = plane.client()
    client.send(request(headers=(SHADOW,)) * 2)
    await settle()
    plane.backend("v3").answer(answer())
    await settle()
    assert client.take().count(b"HTTP/1.1 429 ") == 1
    direct(plane, rate_limits=(), injection=Injection(abort_status=503, abort_share=CIRCLE, backend=2))
    client.send(request(headers=(SHADOW,)))
    assert split(client.take())[1]["x-understudy-fault"] == "injected"
    assert plane.totals("v3").arrived == 0


@pytest.mark.parametrize("trusted", [(), ("192.0.2.7/32",)], ids=["a stranger", "a trusted proxy"])
@pytest.mark.parametrize("said", ["true", "True", "false"])
async def test_a_live_request_is_no_copy_because_it_says_so(plane: Plane, trusted: tuple[str, ...], said: str) -> None:
    """Models do not bill or book copies: with one field anybody would be served for nothing. Behind another proxy of
    this kind it is that proxy which made the copy, and the model has to know."""
    plane.adopt(mirrors=MIRRORED)
    plane.listen(trusted=trusted)
    client = plane.client()
    await plane.exchange(client, request(headers=(f"X-Understudy-Shadow: {said}",)), b"")
    live = split(plane.backend().take())[1]
    assert live.get("x-understudy-shadow") == ("true" if trusted and said == "true" else None)
    plane.backend().answer(answer())
    await settle()
    assert split(plane.backend("v3").take())[1]["x-understudy-shadow"] == "true"  # once


async def test_a_backend_cannot_speak_in_our_name(plane: Plane) -> None:
    """People would look for a fault of the proxy that there never was, or see another version than they met."""
    client = plane.client()
    fake = tuple(f"X-Understudy-{name}: fake" for name in ("Fault", "Backend", "Attempts"))
    fields = split(await plane.exchange(client, request(), answer(headers=fake)))[1]
    assert {name: text for name, text in fields.items() if name.startswith("x-understudy")} == {
        "x-understudy-backend": "v1"
    }


async def test_a_route_may_keep_its_versions_to_itself(plane: Plane) -> None:
    """Strangers could see that a new version is tried on them."""
    plane.adopt(names_backend=False)
    client = plane.client()
    got = await plane.exchange(client, request(), answer(b"x", headers=("X-Understudy-Backend: mine",)))
    assert b"understudy" not in got


async def test_an_answer_tells_where_its_time_went_if_asked(plane: Plane) -> None:
    """A slow model could not be told from a full queue by whoever waits for it."""
    plane.adopt(server_timing=True)
    client = plane.client()
    client.send(request())
    plane.clock.move(0.25)  # until there is a connection
    await settle()
    plane.clock.move(1.5)
    plane.backend().answer(answer(headers=("Server-Timing: db;dur=7",)))
    lines = [line for line in client.take().split(b"\r\n") if line.startswith(b"server-timing")]
    assert lines == [b"server-timing: db;dur=7", b"server-timing: understudy;dur=250.000, backend;dur=1500.000"]
    plane.adopt(server_timing=False)
    got = await plane.exchange(client, request(), answer())
    assert b"server-timing" not in got


async def test_a_later_attempt_tells_of_its_own_time(plane: Plane) -> None:
    """The wait for the first attempt would be blamed on the second."""
    plane.adopt(server_timing=True, retries=Retries(1, ("5xx",), base_interval_s=0.001))
    client = plane.client()
    client.send(request())
    await settle()
    plane.clock.move(2)
    plane.backend().answer(answer(status=503))
    await asyncio.sleep(0.01)
    plane.clock.move(0.125)
    plane.backend().answer(answer())
    assert split(client.take())[1]["server-timing"] == "understudy;dur=2000.000, backend;dur=125.000"
