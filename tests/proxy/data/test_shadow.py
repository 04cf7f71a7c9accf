"""Copies: who gets one, when, and what is said of those that were not made."""

from __future__ import annotations

import json

import msgspec
import pytest

from proxy.data import shadow
from proxy.data.pool import STALE_AFTER_S
from proxy.faults import Fault, Skip
from proxy.ledger.layout import (
    L_ARRIVED,
    L_FAILED,
    L_ON_TIME,
    L_OUTPUTS,
    L_PAIR_OUTPUTS,
    L_PAIRS,
    L_RATIO,
    LABELS,
    O_MISSING,
    O_N,
    OUTPUT_CELLS,
    ratio_bucket,
)
from proxy.snapshot import (
    CIRCLE,
    Backend,
    Endpoint,
    Match,
    Mirror,
    NamedMatch,
    Output,
    Predictions,
    RowRef,
    Segment,
    StringMatch,
    TableRef,
)
from tests.support.plane import ROWS, Plane, PlayedClient, answer, chunked, request, split
from tests.support.transports import settle

READS = Predictions(
    "open-inference",
    (Output("label", "category", table=TableRef(0, 3)), Output("score", "number", high=10.0, tolerance=0.1)),
    max_body_bytes=1000,
)

EXACT_YES = StringMatch("exact", "yes")


def predicted(label: str, score: float) -> bytes:
    return answer(
        json.dumps({"outputs": [{"name": "label", "data": [label]}, {"name": "score", "data": [score]}]}).encode()
    )


def mirrored(plane: Plane, **changes: object) -> None:
    settings: dict = {"share": CIRCLE, "row": ROWS["v3"], **changes}
    plane.adopt(mirrors=(Mirror(2, **settings),), predictions=READS)


async def live(plane: Plane, client: PlayedClient, raw: bytes = b"", reply: bytes = b"") -> None:
    """One live request, answered by stable."""
    await plane.exchange(client, raw or request("POST", "/infer", body=b"[1]"), reply or answer(b"x"))


async def test_copy_goes_out_after_the_answer(plane: Plane) -> None:
    """A copy that went out first could delay the client, or take its place in a model's queue."""
    mirrored(plane)
    client = plane.client()
    client.send(request("POST", "/infer?a=b", headers=("X-User: u", "Connection: X-Gone", "X-Gone: 1"), body=b"[1]"))
    await settle()
    plane.backend("v1").answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
    await settle()
    assert plane.connections("v3") == 0
    plane.backend("v1").answer(b"b")
    assert split(client.take())[2] == b"ab"
    await settle()
    first, fields, body = split(plane.backend("v3").take())
    assert (first, body) == ("POST /infer?a=b HTTP/1.1", b"[1]")
    told = {"x-forwarded-for": "192.0.2.7", "x-forwarded-host": "m.test", "x-forwarded-proto": "http"}
    own = {"host": "m.test", "x-user": "u", "content-length": "3", "x-understudy-shadow": "true"}
    assert fields == {**own, **told, "x-request-id": "test-1"}


async def test_chunked_body_is_copied_whole(plane: Plane) -> None:
    """The copy knows its length by then."""
    mirrored(plane)
    await live(plane, plane.client(), request("POST", headers=("Transfer-Encoding: chunked",)) + chunked(b"ab", b"c"))
    _, fields, body = split(plane.backend("v3").take())
    assert (fields["content-length"], body) == ("3", b"abc")
    assert "transfer-encoding" not in fields


async def test_shadow_s_answer_never_reaches_the_client(plane: Plane) -> None:
    """It is read, counted and thrown away."""
    mirrored(plane)
    client = plane.client()
    await live(plane, client)
    plane.clock.move(0.1)
    plane.backend("v3").answer(answer(b"shadow", status=500))
    await settle()
    assert client.take() == b""
    lane = plane.lane("v3")
    assert (lane[L_ARRIVED], lane[L_ON_TIME], lane[L_FAILED], lane[L_PAIRS]) == (1, 1, 1, 0)
    assert plane.totals("v3").statuses == {500: 1}
    assert not plane.context.live


async def test_share_is_a_share(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 30 % three requests in ten are copied."""
    draws = iter([0.0, 0.2999999, 0.3, 0.9])
    monkeypatch.setattr(shadow, "random", lambda: next(draws))
    mirrored(plane, share=300_000)
    client = plane.client()
    for _ in range(4):
        await live(plane, client)
        if plane.context.live:
            plane.backend("v3").answer(answer())
    assert plane.totals("v3").arrived == 2
    assert plane.totals("v3").skips == {}


async def test_mirror_without_a_share_is_none(plane: Plane) -> None:
    """A weight of zero is off."""
    mirrored(plane, share=0)
    await live(plane, plane.client())
    assert plane.connections("v3") == 0


async def test_only_stable_s_requests_are_copied(plane: Plane) -> None:
    """The pair compares with stable: the canary's requests are judged by themselves."""
    mirrored(plane)
    plane.adopt(segments=(Segment(CIRCLE, 1), Segment(CIRCLE, 0)))
    await plane.exchange(plane.client(), request(), answer(), "v2")
    assert plane.connections("v3") == 0


async def test_requests_of_every_version_that_is_not_judged_are_copied(plane: Plane) -> None:
    """With fixed weights over two versions a shadow would rehearse a part of the traffic that nobody asked for."""
    mirrored(plane)
    arms = tuple(msgspec.structs.replace(arm, mirrored=True) for arm in plane.route.arms)
    plane.adopt(arms=arms, segments=(Segment(CIRCLE, 1), Segment(CIRCLE, 0)))
    await plane.exchange(plane.client(), request(), answer(), "v2")
    assert plane.connections("v3") == 1


# --- skips


async def skipped(plane: Plane, reason: Skip) -> None:
    assert plane.connections("v3") == 0
    assert plane.totals("v3").skips == {reason: 1}
    assert plane.totals("v3").arrived == 0


async def test_methods_that_write_are_not_copied(plane: Plane) -> None:
    """A copied write is applied twice."""
    mirrored(plane)
    await live(plane, plane.client(), request("DELETE"))
    await skipped(plane, Skip.METHOD)


async def test_only_what_a_mirror_matches_is_copied(plane: Plane) -> None:
    """A shadow would be asked to load and unload models, and the percent would be of requests that nobody asked for."""
    inference = (Match(path=StringMatch("prefix", "/infer")), Match(headers=(NamedMatch("x-copy", EXACT_YES),)))
    mirrored(plane, matches=inference, share=1)  # one part in a million: what is not matched is counted in any case
    for target in ("/unload", "/inferior", "/"):
        await live(plane, plane.client(), request("POST", target, body=b"[1]"))
    assert plane.totals("v3").skips == {Skip.NOT_MATCHED: 3}
    mirrored(plane, matches=inference)
    await live(plane, plane.client(), request("POST", "/infer/x?a=b", body=b"[1]"))
    await live(plane, plane.client(), request("POST", "/unload", headers=("X-Copy: yes",), body=b"[1]"))
    assert plane.totals("v3").arrived == 2
    assert plane.totals("v3").skips == {Skip.NOT_MATCHED: 3}


async def test_each_of_several_shadows_has_its_own_match(plane: Plane) -> None:
    """A second shadow would get what is meant for the first, or be left out."""
    plane.backends.append(Backend("v4", (Endpoint("v4.test", 84),)))
    only = {"v3": "/a", "v4": "/b"}
    plane.adopt(
        mirrors=tuple(
            Mirror(index, CIRCLE, RowRef(index, 10 + index), matches=(Match(path=StringMatch("exact", only[name])),))
            for index, name in ((2, "v3"), (3, "v4"))
        )
    )
    for target in ("/a", "/b", "/b", "/c"):
        await live(plane, plane.client(), request("POST", target, body=b"[1]"))
    assert (plane.connections("v3"), plane.connections("v4")) == (1, 2)
    totals = [plane.reader.totals(0, index, 10 + index) for index in (2, 3)]
    assert [sums and sums.skips for sums in totals] == [{Skip.NOT_MATCHED: 3}, {Skip.NOT_MATCHED: 2}]


async def test_fields_of_a_copy_are_set_and_removed(plane: Plane) -> None:
    """A rehearsal would be billed to the user, or be given the user's secrets."""
    mirrored(plane, set_headers=(("x-tenant", "shadow"),), remove_headers=("authorization", "cookie"))
    fields = ("X-Tenant: acme", "Authorization: Bearer s", "Cookie: a=b", "Cookie: c=d", "X-User: u")
    await live(plane, plane.client(), request("POST", headers=fields, body=b"[1]"))
    sent = split(plane.backend("v3").take())[1]
    assert sent == {
        "host": "m.test",
        "x-forwarded-for": "192.0.2.7",
        "x-forwarded-host": "m.test",
        "x-forwarded-proto": "http",
        "x-request-id": "test-1",
        "x-user": "u",
        "content-length": "3",
        "x-understudy-shadow": "true",
        "x-tenant": "shadow",
    }
    assert "authorization: Bearer s" in plane.backend("v1").take().decode()


async def test_body_over_the_bound_is_not_copied(plane: Plane) -> None:
    """What is kept for a copy is bounded, and what is skipped is known."""
    mirrored(plane, max_body_bytes=4)
    await live(plane, plane.client(), request("POST", body=b"12345"))
    await skipped(plane, Skip.BODY_TOO_LARGE)


async def test_body_over_every_bound_is_not_kept(plane: Plane) -> None:
    """Also where it came in many pieces."""
    mirrored(plane)
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)))
    await settle()
    for _ in range(20):
        client.send(b"%x\r\n%b\r\n" % (100_000, b"a" * 100_000))
    client.send(b"0\r\n\r\n")
    plane.backend("v1").answer(answer())
    await settle()
    await skipped(plane, Skip.BODY_TOO_LARGE)


async def test_no_copy_while_draining(plane: Plane) -> None:
    """A worker that stops makes no new work."""
    mirrored(plane)
    plane.context.draining = True
    await live(plane, plane.client())
    await skipped(plane, Skip.DRAINING)


async def test_no_copy_for_a_client_that_left(plane: Plane) -> None:
    """Stable's answer is not known, so there is nothing to compare; it is counted, for it is a part of the traffic."""
    mirrored(plane)
    client = plane.client()
    client.send(request())
    await settle()
    client.transport.lose()
    await settle()
    await skipped(plane, Skip.CLIENT_GONE)


async def test_copies_are_bounded(plane: Plane) -> None:
    """A flood of copies must not exhaust the worker."""
    mirrored(plane, max_concurrency=2)
    client = plane.client()
    for _ in range(5):
        await live(plane, client)
    assert plane.totals("v3").skips == {Skip.BUSY: 3}
    plane.backend("v3", 0).answer(answer())
    await live(plane, client)
    assert plane.totals("v3").arrived == 3
    assert plane.connections("v3") == 2
    assert len(plane.context.live) == plane.context.copies == 2, "requests in flight would count what nobody waits for"


# --- shadows that hurt


async def test_dead_shadow_costs_the_client_nothing(plane: Plane) -> None:
    """The version that rehearses may be broken: that is what it rehearses for."""
    mirrored(plane)
    plane.network.refusing.add("v3.test")
    client = plane.client()
    for _ in range(3):
        assert split(await plane.exchange(client, request(), answer(b"x")))[2] == b"x"
    await settle()
    totals = plane.totals("v3")
    assert totals.skips == {Skip.NO_CONNECTION: 3}
    assert totals.faults == {Fault.CONNECT_FAILED: 3}
    assert (totals.arrived, totals.failed) == (3, 3)
    assert plane.totals("v1").failed == 0
    assert not plane.context.live


async def test_slow_shadow_is_given_up(plane: Plane) -> None:
    """Its time is its own: it neither waits for the client's nor lets the client wait."""
    mirrored(plane, timeout_s=5.0)
    client = plane.client()
    await live(plane, client)
    plane.sweep(4.9)
    assert not plane.backend("v3").transport.aborted
    plane.sweep(0.2)
    assert plane.backend("v3").transport.aborted
    totals = plane.totals("v3")
    assert (totals.skips, totals.faults, totals.failed) == ({Skip.TIMEOUT: 1}, {Fault.REQUEST_TIMEOUT: 1}, 1)
    assert plane.context.routing.plans[0].mirrors[0].upstream.copies == plane.context.copies == 0
    assert not client.transport.closed


async def test_shadow_that_hangs_while_connecting(plane: Plane) -> None:
    """The copy's deadline also covers the connect."""
    mirrored(plane, timeout_s=0.5)
    plane.network.silent.add("v3.test")
    await live(plane, plane.client())
    plane.sweep(0.6)
    await settle()
    assert plane.totals("v3").skips == {Skip.TIMEOUT: 1}
    assert not plane.context.live


async def test_shadow_that_breaks_off_failed(plane: Plane) -> None:
    """A crash in rehearsal is evidence."""
    mirrored(plane)
    await live(plane, plane.client())
    plane.backend("v3").answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
    plane.backend("v3").close()
    totals = plane.totals("v3")
    assert (totals.faults, totals.failed) == ({Fault.RESPONSE_CUT: 1}, 1)
    assert plane.lane("v3")[L_PAIRS] == 0


async def test_stale_connection_of_a_shadow_is_tried_again_once(plane: Plane) -> None:
    """As for live requests: a closed idle connection is nobody's failure."""
    mirrored(plane)
    client = plane.client()
    await live(plane, client)
    plane.backend("v3").answer(answer())
    plane.clock.move(STALE_AFTER_S * 2)
    await live(plane, client)
    plane.backend("v3").close()
    await settle()
    assert plane.connections("v3") == 2
    plane.backend("v3").close()
    await settle()
    assert plane.connections("v3") == 2
    assert plane.totals("v3").faults == {Fault.UPSTREAM_RESET: 1}


# --- pairs


async def pair(plane: Plane, stable: bytes, other: bytes) -> None:
    mirrored(plane)
    client = plane.client()
    client.send(request("POST", body=b"[1]"))
    await settle()
    plane.clock.move(0.1)
    plane.backend("v1").answer(stable)
    await settle()
    plane.clock.move(0.2)
    plane.backend("v3").answer(other)


async def test_pair_that_agrees(plane: Plane) -> None:
    """What the candidate would have answered, and how long it would have taken."""
    await pair(plane, predicted("a", 1.0), predicted("a", 1.05))
    lane = plane.lane("v3")
    assert (lane[L_PAIRS], lane[L_RATIO + ratio_bucket(2.0)]) == (1, 1)
    assert list(lane[L_PAIR_OUTPUTS : L_PAIR_OUTPUTS + 4]) == [1, 0, 1, 0]
    assert lane[L_OUTPUTS + O_N] == 1
    confusion = plane.reader.confusion(0, ROWS["v3"].index, ROWS["v3"].tenant, 0)
    assert confusion is not None
    assert confusion[0] == sum(confusion) == 1
    assert plane.lane("v1")[L_OUTPUTS + O_N] == 1


async def test_pair_that_disagrees(plane: Plane) -> None:
    """The disagreement is counted, and which label became which."""
    await pair(plane, predicted("a", 1.0), predicted("b", 1.2))
    assert list(plane.lane("v3")[L_PAIR_OUTPUTS : L_PAIR_OUTPUTS + 4]) == [1, 1, 1, 1]
    confusion = plane.reader.confusion(0, ROWS["v3"].index, ROWS["v3"].tenant, 0)
    assert confusion is not None
    assert confusion[0 * LABELS + 1] == sum(confusion) == 1
    assert plane.reader.labels(0, 0, 3) == ["a", "b"]


@pytest.mark.parametrize("reply", [answer(b"nothing to read"), answer(b"a" * 2000), answer(status=404)])
async def test_pair_that_cannot_be_read(plane: Plane, reply: bytes) -> None:
    """Its latency is compared; that its prediction was not is said."""
    await pair(plane, predicted("a", 1.0), reply)
    lane = plane.lane("v3")
    assert lane[L_PAIRS] == 1
    assert list(lane[L_PAIR_OUTPUTS : L_PAIR_OUTPUTS + 4]) == [0, 0, 0, 0]
    assert plane.totals("v3").skips == {Skip.UNREADABLE: 1}


async def test_stable_that_failed_has_no_pair(plane: Plane) -> None:
    """There is nothing to compare with; the shadow's own outcome counts."""
    await pair(plane, answer(status=500), predicted("a", 1.0))
    lane = plane.lane("v3")
    assert (lane[L_PAIRS], lane[L_ON_TIME], lane[L_OUTPUTS + O_N]) == (0, 1, 1)


async def test_answer_too_long_to_keep_counts_as_unread(plane: Plane) -> None:
    """A version whose answers grow would drop out of the comparison without a word."""
    await pair(plane, answer(b"a" * 2000), predicted("a", 1.0))
    lane = plane.lane("v1")
    assert [lane[L_OUTPUTS + i * OUTPUT_CELLS + cell] for i in (0, 1) for cell in (O_N, O_MISSING, 4)] == [0, 0, 1] * 2
