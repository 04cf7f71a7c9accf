"""Copies: who gets one, when, and what is said of those that were not made."""

from __future__ import annotations

import json

import msgspec
import pytest

from proxy.data.backends.pool import STALE_AFTER_S
from proxy.data.copies import shadow
from proxy.faults import Fault, Repeat, Skip
from proxy.ledger.layout import (
    L_ARRIVED,
    L_FAILED,
    L_ON_TIME,
    L_OUTPUTS,
    L_PAIR_OUTPUTS,
    L_PAIRS,
    L_RATIO,
    L_REPEATED,
    LABELS,
    LANES,
    O_MISSING,
    O_N,
    OUTPUT_CELLS,
    REPEATED_CELLS,
    ratio_bucket,
)
from proxy.snapshot import (
    CIRCLE,
    Backend,
    Endpoint,
    Match,
    Mirror,
    NamedMatch,
    Outliers,
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


# --- stable asked twice


REPEATED = L_REPEATED, L_REPEATED + 2 * REPEATED_CELLS
"""Of both outputs: compared, the shadow's alone differs, stable's second alone, both."""


async def timed(plane: Plane, client: PlayedClient, first: bytes, raw: bytes = b"") -> None:
    """One live request, answered by stable after a while."""
    client.send(raw or request("POST", "/infer", body=b"[1]"))
    await settle()
    plane.clock.move(0.1)
    plane.backend("v1").answer(first)
    await settle()


async def twice(plane: Plane, first: bytes, reply: bytes, **settings: object) -> None:
    """One live request, of which a copy is answered and one more to stable is under way."""
    mirrored(plane, repeat_share=CIRCLE, **settings)
    await timed(plane, plane.client(), first)
    plane.backend("v3").answer(reply)
    await settle()


async def test_stable_is_asked_again_what_the_copy_asks(plane: Plane) -> None:
    """The noise would be of another request; or a live answer, or another version, would be kept waiting by it."""
    mirrored(plane, repeat_share=CIRCLE, set_headers=(("x-tenant", "shadow"),))
    client = plane.client()
    client.send(request("POST", "/infer", headers=("X-User: u",), body=b"[1]"))
    await settle()
    live_connection = plane.backend("v1")
    live_connection.take()
    plane.clock.move(0.1)
    live_connection.answer(predicted("a", 1.0))
    assert b"200" in client.take()
    await settle()
    again, copied = live_connection.take(), plane.backend("v3").take()
    assert again == copied
    assert split(again)[1]["x-understudy-shadow"] == "true"
    assert plane.connections("v1") == 1, "an idle connection is used"
    assert (plane.context.copies, len(plane.context.live)) == (2, 2)
    live_connection.answer(predicted("a", 1.0))
    plane.backend("v3").answer(predicted("a", 1.0))
    await settle()
    assert client.take() == b""
    assert (plane.context.copies, len(plane.context.live)) == (0, 0)


@pytest.mark.parametrize("order", ["shadow first", "stable first"])
@pytest.mark.parametrize(
    ("shadow_says", "stable_says", "result", "cells"),
    [
        (("a", 1.0), ("a", 1.0), Repeat.AGREED, [1, 0, 0, 0, 1, 0, 0, 0]),
        (("b", 1.0), ("a", 1.0), Repeat.AGREED, [1, 1, 0, 0, 1, 0, 0, 0]),
        (("a", 1.0), ("b", 2.0), Repeat.DISAGREED, [1, 0, 1, 0, 1, 0, 1, 0]),
        (("b", 2.0), ("c", 1.0), Repeat.DISAGREED, [1, 0, 0, 1, 1, 1, 0, 0]),
    ],
)
async def test_both_answers_are_compared_with_the_first(
    plane: Plane, order: str, shadow_says: tuple, stable_says: tuple, result: Repeat, cells: list[int]
) -> None:
    """The model's own noise is taken for the candidate's, or the other way round, by whoever answers first."""
    mirrored(plane, repeat_share=CIRCLE)
    await timed(plane, plane.client(), predicted("a", 1.0))
    turns = [("v3", shadow_says), ("v1", stable_says)]
    for name, said in turns if order == "shadow first" else reversed(turns):
        assert list(plane.lane("v3")[slice(*REPEATED)]) == [0] * 8
        plane.clock.move(0.1)
        plane.backend(name).answer(predicted(*said))
        await settle()
    lane = plane.lane("v3")
    assert list(lane[slice(*REPEATED)]) == cells
    assert lane[L_PAIRS] == 1
    assert plane.totals("v3").repeats == {result: 1}


async def test_a_repeat_is_no_traffic_and_nobody_s_failure(plane: Plane) -> None:
    """Stable's errors would double, or a shadow would fail for what stable does."""
    await twice(plane, predicted("a", 1.0), predicted("a", 1.0))
    plane.backend("v1").answer(answer(status=500))
    await settle()
    stable, shadow_ = plane.totals("v1"), plane.totals("v3")
    assert (stable.arrived, stable.finished, stable.failed) == (1, 1, 0)
    assert (shadow_.arrived, shadow_.finished, shadow_.failed, shadow_.skips) == (1, 1, 0, {})
    assert shadow_.repeats == {Repeat.FAILED: 1}
    assert list(plane.lane("v3")[slice(*REPEATED)]) == [0] * 8
    assert plane.lane("v3")[L_PAIRS] == 1, "the pair counts without it"


@pytest.mark.parametrize("reply", [answer(b"nothing to read"), answer(b"a" * 2000)])
async def test_a_repeat_that_cannot_be_read_is_said(plane: Plane, reply: bytes) -> None:
    """A stable that stops to predict looks free of noise."""
    await twice(plane, predicted("a", 1.0), predicted("a", 1.0))
    plane.backend("v1").answer(reply)
    await settle()
    assert plane.totals("v3").repeats == {Repeat.UNREADABLE: 1}


async def test_noise_counts_beside_a_candidate_alone(plane: Plane) -> None:
    """Requests that the candidate fails are another kind than those that it answers: their noise is no control."""
    await twice(plane, predicted("a", 1.0), answer(status=500))
    plane.backend("v1").answer(predicted("b", 1.0))
    await settle()
    assert plane.totals("v3").repeats == {Repeat.UNPAIRED: 1}
    assert list(plane.lane("v3")[slice(*REPEATED)]) == [0] * 8


async def test_a_slow_repeat_is_given_up_and_no_endpoint_blamed(plane: Plane) -> None:
    """A short timeout of a mirror would have the endpoints of stable ejected."""
    plane.backends[0] = msgspec.structs.replace(plane.backends[0], outliers=Outliers(server_errors=1))
    await twice(plane, predicted("a", 1.0), predicted("a", 1.0), timeout_s=1.0)
    plane.sweep(1.5)
    assert plane.totals("v3").repeats == {Repeat.TIMEOUT: 1}
    assert not plane.context.live
    upstream = plane.context.routing.plans[0].arms[0].upstream
    assert [pool.standing.ejected_until_s for pool in upstream.pools] == [0.0]
    await timed(plane, plane.client(), predicted("a", 1.0))
    assert plane.totals("v1").statuses == {200: 2}


async def test_a_slice_waits_for_the_repeat_up_to_the_grace(plane: Plane) -> None:
    """The slice is read without the noise in it, and the candidate's part stands alone."""
    mirrored(plane, repeat_share=CIRCLE, timeout_s=60.0)
    await timed(plane, plane.client(), predicted("a", 1.0))
    begun = int(plane.clock.now_s)
    plane.backend("v3").answer(predicted("a", 1.0))
    await settle()
    row = ROWS["v3"]
    assert not plane.reader.complete(0, row.index, row.tenant, begun)
    plane.clock.move(1.0)
    plane.backend("v1").answer(predicted("b", 1.0))
    await settle()
    assert plane.reader.complete(0, row.index, row.tenant, begun)
    assert list(plane.lane("v3", begun)[slice(*REPEATED)]) == [1, 0, 1, 0, 1, 0, 0, 0]


async def test_a_repeat_that_comes_after_the_grace_counts_nowhere(plane: Plane) -> None:
    """It would be added to a slice that was read, or to another that took its place."""
    mirrored(plane, repeat_share=CIRCLE, timeout_s=60.0)
    await timed(plane, plane.client(), predicted("a", 1.0))
    plane.backend("v3").answer(predicted("a", 1.0))
    await settle()
    plane.clock.move(float(LANES))
    await timed(plane, plane.client(), predicted("a", 1.0), request())
    plane.backend("v1", 0).answer(predicted("b", 1.0))
    await settle()
    assert list(plane.lane("v3")[slice(*REPEATED)]) == [0] * 8
    assert plane.totals("v3").repeats == {Repeat.DISAGREED: 1}


async def test_repeats_have_no_place_where_live_requests_need_it(plane: Plane) -> None:
    """Half of stable's connections are left to clients, whatever is rehearsed."""
    plane.backends[0] = msgspec.structs.replace(plane.backends[0], max_connections=2)
    mirrored(plane, repeat_share=CIRCLE)
    other, client = plane.client(), plane.client()
    other.send(request("POST", body=b"[2]"))
    await settle()
    waiting = plane.backend("v1")
    await timed(plane, client, predicted("a", 1.0))
    assert plane.totals("v3").repeats == {Repeat.BUSY: 1}
    assert plane.totals("v3").arrived == 1, "the copy goes out all the same"
    waiting.answer(predicted("a", 1.0))
    await settle()
    assert plane.totals("v3").repeats == {Repeat.BUSY: 1}
    assert plane.context.copies == 3


async def test_repeats_under_way_are_bounded(plane: Plane) -> None:
    """A stable that answers slowly would be asked for more and more."""
    mirrored(plane, repeat_share=CIRCLE, max_concurrency=1)
    client = plane.client()
    await timed(plane, client, predicted("a", 1.0))
    plane.backend("v3").answer(predicted("a", 1.0))
    await settle()
    await timed(plane, client, predicted("a", 1.0))
    assert plane.totals("v3").repeats == {Repeat.BUSY: 1}


async def test_share_of_repeats_is_a_share_of_the_copies(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a tenth, or all of them, would be asked twice."""
    draws = iter([0.1, 0.05, 0.1, 0.3, 0.9])
    monkeypatch.setattr(shadow, "random", lambda: next(draws))
    mirrored(plane, share=500_000, repeat_share=100_000)
    client = plane.client()
    for asked in (1, 0, 0):
        await timed(plane, client, predicted("a", 1.0))
        assert plane.context.copies in ((2,) if asked else (0, 1))
        for name in ("v3", "v1")[: 1 + asked]:
            if plane.context.copies:
                plane.backend(name).answer(predicted("a", 1.0))
        await settle()
    assert plane.totals("v3").repeats == {Repeat.AGREED: 1}


async def test_stable_that_failed_is_not_asked_again(plane: Plane) -> None:
    """There is no first answer that a second could differ from."""
    mirrored(plane, repeat_share=CIRCLE)
    await timed(plane, plane.client(), answer(status=500))
    assert plane.context.copies == 1
    assert plane.totals("v3").repeats == {}


async def test_a_repeat_that_has_no_connection_is_said(plane: Plane) -> None:
    """A control that is missing looks like one that always agrees."""
    mirrored(plane, repeat_share=CIRCLE)
    client = plane.client()
    client.send(request("POST", body=b"[1]"))
    await settle()
    live_connection = plane.backend("v1")
    plane.clock.move(0.1)
    plane.network.refusing.add("v1.test")
    live_connection.answer(predicted("a", 1.0).replace(b"HTTP/1.1 200 X", b"HTTP/1.1 200 X\r\nConnection: close"))
    await settle()
    plane.backend("v3").answer(predicted("a", 1.0))
    await settle()
    assert plane.totals("v3").repeats == {Repeat.NO_CONNECTION: 1}


async def test_stable_is_not_asked_again_beside_a_shadow_that_cannot_answer(plane: Plane) -> None:
    """A candidate without an endpoint would cost stable a second request for each, of which none is a control."""
    plane.backends[2] = msgspec.structs.replace(plane.backends[2], max_connections=1, max_pending=0)
    mirrored(plane, repeat_share=CIRCLE)
    client = plane.client()
    await timed(plane, client, predicted("a", 1.0))
    plane.backend("v1").answer(predicted("a", 1.0))
    await settle()
    await timed(plane, client, predicted("a", 1.0))
    assert plane.context.copies == 1, "the first copy is under way, and fills the one connection"
    assert plane.totals("v3").skips == {Skip.NO_CONNECTION: 1}
    assert plane.totals("v3").repeats == {Repeat.UNPAIRED: 1}
    plane.backend("v3").answer(predicted("a", 1.0))
    await settle()
    assert plane.totals("v3").repeats == {Repeat.UNPAIRED: 1, Repeat.AGREED: 1}
