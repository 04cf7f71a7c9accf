"""Answers get a name where truths may be told of them."""

from __future__ import annotations

import msgspec

from proxy.answer_id import AnswerId, read
from proxy.data.routing.routing import Routing
from proxy.snapshot import CIRCLE, Key, Retries, Segment, Snapshot
from tests.support.plane import ROWS, Plane, answer, request, split
from tests.support.transports import settle

KEY = b"k" * 32


def naming(plane: Plane, key: bytes = KEY, **route: object) -> None:
    """A generation in which the route names its answers."""
    plane.route = msgspec.structs.replace(plane.route, **{"feedback": True, **route})
    generation = plane.context.routing.generation + 1
    snapshot = Snapshot(generation, tuple(plane.backends), (plane.route,), feedback_key=key)
    plane.context.routing = Routing(snapshot, plane.writer, plane.context.routing)


async def name_of(plane: Plane, status: int = 200, headers: tuple[str, ...] = (), version: str = "v1") -> AnswerId:
    fields = split(await plane.exchange(plane.client(), request(headers=headers), answer(b"x", status), version))[1]
    found = read(fields["x-understudy-id"], KEY)
    assert found is not None
    return found


async def test_an_answer_is_named_by_the_row_that_counts_it(plane: Plane) -> None:
    """Broken: truths count for a version that did not answer."""
    naming(plane)
    stable = await name_of(plane)
    naming(plane, segments=(Segment(CIRCLE, 1),))
    canary = await name_of(plane, version="v2")
    assert (stable.tenant, canary.tenant) == (ROWS["v1"].tenant, ROWS["v2"].tenant)


async def test_a_reload_goes_on_counting(plane: Plane) -> None:
    """Broken: two answers have one name after a reload, or the memory of what was heard of grows with each."""
    naming(plane)
    first = await name_of(plane)
    naming(plane)
    second = await name_of(plane)
    assert (second.run, second.serial) == (first.run, first.serial + 1)


async def test_the_group_is_that_of_the_user(plane: Plane) -> None:
    """Broken: what sticky users are worth is measured from groups that are none."""
    naming(plane)
    assert (await name_of(plane)).group == -1
    naming(plane, keys=(Key("header", "x-user"),))
    one, again, other = [await name_of(plane, headers=(f"x-user: {user}",)) for user in ("ann", "ann", "bob")]
    assert one.group == again.group != other.group
    assert 0 <= one.group < 64


async def test_an_answer_without_a_prediction_has_no_name(plane: Plane) -> None:
    """Broken: truths are told of errors."""
    naming(plane)
    for status in (500, 404, 302):
        fields = split(await plane.exchange(plane.client(), request(), answer(b"x", status)))[1]
        assert "x-understudy-id" not in fields


async def test_a_second_attempt_is_named(plane: Plane) -> None:
    """Broken: no truth can be told of an answer that took two attempts."""
    naming(plane, retries=Retries(1, ("5xx",), base_interval_s=0.0, budget_floor=100))
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(answer(b"x", 500))
    await settle()
    plane.backend().answer(answer(b"yes"))
    found = read(split(client.take())[1]["x-understudy-id"], KEY)
    assert found is not None
    assert found.tenant == ROWS["v1"].tenant


async def test_a_name_from_a_backend_is_not_passed_on(plane: Plane) -> None:
    """Broken: a client tells truths by a name that is not ours, or finds two."""
    theirs = answer(b"x", headers=("X-Understudy-Id: theirs",))
    assert "x-understudy-id" not in split(await plane.exchange(plane.client(), request(), theirs))[1]
    naming(plane)
    fields = split(await plane.exchange(plane.client(), request(), theirs))[1]
    assert read(fields["x-understudy-id"], KEY) is not None


async def test_nothing_is_named_without_a_key_or_a_wish(plane: Plane) -> None:
    """Broken: a controller without its store has answers named that it cannot read."""
    naming(plane, key=b"")
    assert "x-understudy-id" not in split(await plane.exchange(plane.client(), request(), answer(b"x")))[1]
    naming(plane, feedback=False)
    assert "x-understudy-id" not in split(await plane.exchange(plane.client(), request(), answer(b"x")))[1]
