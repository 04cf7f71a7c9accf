"""What needs somebody first, and what is wrong, of documents of a fake controller."""

from __future__ import annotations

import asyncio
import copy
import itertools

import pytest

from proxy.admin.overview import AT_ONCE, FRESH_S, Overview, alarms, needs
from proxy.admin.pulse import Pulse
from tests.support.fake_controller import FakeController, plain_document, problem, route_document


@pytest.mark.parametrize(
    ("changes", "urgency", "why"),
    [
        ({}, "look", "harm is found in prediction.label"),
        ({"metrics": []}, "none", ""),
        ({"phase": "Paused", "reason": "it waits for ann", "commands": []}, "act", "it waits for ann"),
        ({"phase": "Paused", "reason": "pause for 600 s"}, "none", ""),
        ({"phase": "Aborted", "reason": "errors rose"}, "act", "errors rose"),
        ({"phase": "Failed", "reason": "deadline over"}, "act", "deadline over"),
        ({"phase": "Waiting", "reason": ""}, "look", "traffic"),
        ({"phase": "Baking", "reason": "bakes"}, "look", "bakes"),
        ({"phase": "Succeeded"}, "none", ""),
        ({"error": "the ledger cannot be read"}, "act", "nothing is decided: the ledger cannot be read"),
        ({"phase": "Waiting", "error": "spoilt"}, "act", "spoilt"),
        ({"ratio": {"flagged": True}}, "act", "not split as configured"),
        ({"metrics": [], "held": {"waiting": 3}}, "look", "3 requests are held"),
    ],
)
def test_who_is_needed(changes, urgency, why):
    """Broken: a rollout that waits for somebody looks like one that goes well."""
    route = route_document() | {"webhooks": []} | changes
    found = needs(route)
    assert found[0] == urgency
    assert why in found[1]


def test_news_that_was_not_told_is_worth_a_look():
    """Broken: a chat is silent, and nobody knows that it should not be."""
    assert needs(route_document() | {"metrics": []}) == ("look", "news was not told to chat")


async def test_what_needs_somebody_comes_first(controller):
    """Broken: in a list of two hundred the one that matters is the last."""
    cases = [("a", "Progressing", None), ("b", "Aborted", 5.0), ("c", "Succeeded", 7.0), ("d", "Succeeded", 9.0),
             ("e", "Paused", None), ("f", "Waiting", None), ("g", "", None)]  # fmt: skip
    documents = {
        name: (route_document() if phase else plain_document())
        | {"name": name, "phase": phase, "endedAt": ended, "metrics": [], "webhooks": [], "held": None, "commands": []}
        for name, phase, ended in cases
    }
    controller.route = lambda name: copy.deepcopy(documents[name])
    status = controller.status()
    lines = [{key: document[key] for key in status["routes"][0]} for document in documents.values()]
    controller.status = lambda: {**status, "routes": lines}
    found = (await Overview(controller, Pulse()).document())["routes"]
    assert [route["name"] for route in found] == ["e", "b", "f", "a", "d", "c", "g"]
    assert [route["urgency"] for route in found] == ["act", "act", "look", *["none"] * 4]


async def test_it_is_made_once_a_second_however_many_look(controller):
    """Broken: twenty people who look take the controller's time from the rollouts."""
    now, asked = [0.0], []
    status = controller.status
    controller.status = lambda: asked.append(1) or status()
    overview = Overview(controller, Pulse(), monotonic=lambda: now[0])
    first, second = await asyncio.gather(overview.document(), overview.document())
    assert second is first
    now[0] += FRESH_S
    assert await overview.document() is not first
    assert len(asked) == 2


async def test_others_have_their_turn_in_between(controller):
    """Broken: while somebody looks at two hundred routes, a candidate that fails everything is not noticed."""
    status, asked, turns = controller.status(), [], []
    lines = [{**status["routes"][0], "name": str(number)} for number in range(3 * AT_ONCE)]
    controller.status = lambda: {**status, "routes": lines}
    controller.route = lambda name: asked.append(name) or route_document()
    making = asyncio.ensure_future(Overview(controller, Pulse()).document())
    while not making.done():
        turns.append(len(asked))
        await asyncio.sleep(0)
    assert max(after - before for before, after in itertools.pairwise([0, *turns, len(asked)])) <= AT_ONCE
    assert len((await making)["routes"]) == len(lines)


async def test_a_route_that_goes_meanwhile_is_left_out(controller):
    """Broken: whoever looks while a file is edited gets an error."""
    status = controller.status()
    lines = [*status["routes"], {**status["routes"][0], "name": "gone"}]
    controller.status = lambda: {**status, "routes": lines}
    assert len((await Overview(controller, Pulse()).document())["routes"]) == 2


def test_everything_that_is_wrong_is_said(controller: FakeController):
    """Broken: the store is full, a file was refused or a backend is down, and the overview is calm."""
    controller.store_error = "disk full"
    controller.last_error = {"at": 1.0, "problems": [problem(), problem()]}
    found = list(alarms(controller.status()))
    kinds = [alarm["kind"] for alarm in found]
    assert set(kinds) == {"store", "config", "worker", "endpoint", "panic", "difference", "injected", "restart"}
    texts = {alarm["kind"]: alarm["text"] for alarm in found}
    assert "disk full" in texts["store"]
    assert "2 problems" in texts["config"]
    assert "worker 1" in texts["worker"]
    assert all(alarm["remedy"] for alarm in found)
    urgent = {alarm["kind"] for alarm in found if alarm["urgency"] == "act"}
    assert {"store", "config", "worker"} <= urgent


def test_calm_is_no_alarm(controller: FakeController):
    """Broken: people learn to look past alarms."""
    status = controller.status() | {"backends": [], "differences": [], "faultInjection": [], "restartNeeded": []}
    status["workers"] = [worker for worker in status["workers"] if worker["alive"]]
    assert list(alarms(status)) == []


async def test_the_api_answers_it(http):
    """Broken: the dashboard has nothing to show."""
    async with http.get("/api/v1/overview") as response:
        assert response.status == 200
        found = await response.json()
    assert {route["name"] for route in found["routes"]} == {"fraud", "static weights/"}
    async with http.get("/api/v1/routes/fraud/course") as response:
        assert (response.status, await response.json()) == (200, {"points": [], "versions": []})
    async with http.get("/api/v1/me", headers={"x-understudy-actor": "ann@desk"}) as response:
        assert await response.json() == {"name": "", "role": "admin", "actor": "ann@desk"}
