"""Captured requests at the admin API and on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from proxy.admin import captured, side_by_side, words
from tests.proxy.admin.test_access import SETTINGS, TOKENS, bearer, serve, status
from tests.support.captures import HOSTILE, KINDS
from tests.support.fake_controller import FakeController

__all__ = ["serve"]
PATH = "/api/v1/routes/fraud/captures"


async def test_pages_lead_from_one_to_the_next(http):
    """Broken: whoever pages misses some, or leaves the kind that was asked for."""
    found, path = [], f"{PATH}?kind=sample&limit=1"
    while path is not None:
        code, body = await status(http, "GET", path)
        assert code == 200, body
        found += [(each["id"], each["kind"]) for each in body["captures"]]
        path = body["next"]
    assert found == [(7, "sample"), (6, "sample")]
    _, body = await status(http, "GET", PATH)
    assert [each["id"] for each in body["captures"]] == [number for number, _ in KINDS]
    captured.Captures.model_validate(body)
    assert body["nextBefore"] is None


@pytest.mark.parametrize("query", ["kind=all", "limit=0", "limit=101", "before=0", "kind=", "page=2"])
async def test_what_cannot_be_asked_is_refused(http, query):
    """Broken: a typo is answered with something else than was meant."""
    assert (await status(http, "GET", f"{PATH}?{query}"))[0] == 400


async def test_payloads_are_not_for_viewers(serve, controller):
    """Broken: whoever may look at reports reads what users sent."""
    session = await serve(SETTINGS)
    for method in ("GET", "HEAD", "DELETE"):
        for role in ("viewer", "feedback"):
            assert (await status(session, method, PATH, headers=bearer(TOKENS[role])))[0] == 403
        assert (await status(session, method, PATH))[0] == 401
    assert controller.captures.forgotten == []
    assert (await status(session, "GET", PATH, headers=bearer(TOKENS["operator"])))[0] == 200
    headers = bearer(TOKENS["operator"]) | {"x-understudy-actor": "ann@desk"}
    assert await status(session, "DELETE", PATH, headers=headers) == (200, {"removed": 4})
    assert controller.captures.forgotten == [("fraud", "hands: ann@desk")]


async def test_a_web_page_takes_nothing_away(http, controller):
    """Broken: a page that an operator visits takes captured requests away."""
    assert (await status(http, "DELETE", PATH, headers={"Origin": "http://evil.test"}))[0] == 403
    assert controller.captures.forgotten == []


async def test_of_a_route_that_is_gone_they_can_be_taken_away(http, controller):
    """Broken: a person's data stays for days, since its route was renamed."""
    controller.captures.found["old"] = controller.captures.found.pop("fraud")
    path = "/api/v1/routes/old/captures"
    assert len((await status(http, "GET", path))[1]["captures"]) == 4
    assert await status(http, "DELETE", path) == (200, {"removed": 4})
    assert (await status(http, "GET", path))[0] == 404
    assert (await status(http, "DELETE", path))[0] == 404
    assert await status(http, "DELETE", PATH) == (200, {"removed": 0})


async def test_a_store_that_is_away_is_said(http, controller):
    """Broken: somebody believes that nothing was captured, or that it was taken away."""
    controller.captures.error = "cannot: locked"
    for method in ("GET", "DELETE"):
        code, body = await status(http, method, PATH)
        assert (code, body["type"]) == (503, "urn:understudy:problem:store")


def shown(page, columns=200):
    console = Console(file=(out := io.StringIO()), width=columns, force_terminal=True, color_system=None)
    console.print(side_by_side.captures(page))
    return out.getvalue()


async def test_both_answers_stand_side_by_side(http):
    """Broken: one has to scroll between two answers to see where they differ."""
    _, page = await status(http, "GET", f"{PATH}?kind=disagreement")
    text = shown(page)
    for part in (
        "disagreement 9",
        "POST",
        "differs in label",
        "stable fraud-v1",
        "shadow fraud-v2",
        "12.3 ms",
        "request-timeout",
        "40 bytes application/json",
        "9 bytes: not JSON",
        "elements that were not kept",
    ):
        assert part in text, text
    assert shown({"captures": [], "nextBefore": None}).strip() == "nothing is captured"


async def test_no_captured_text_speaks_to_the_terminal(http):
    """Broken: a client that is captured moves the cursor of whoever looks, or hides what stands there."""
    _, page = await status(http, "GET", PATH)
    text = shown(page | {"nextBefore": 6})
    assert "\\x1b[31m" in text
    assert "[bold]" in text
    assert "--before 6" in text
    assert not [one for one in text if not one.isprintable() and one != "\n"]
    assert words.visible(HOSTILE).isprintable()


def test_a_long_body_is_cut_on_the_terminal():
    """Broken: one body of a thousand lines hides all the others."""
    page = {"captures": [FakeController().captures.found["fraud"][1]], "nextBefore": None}
    page["captures"][0]["request"]["body"]["value"] = list(range(1000))
    assert f"{1002 - side_by_side.LINES} more lines: --json" in shown(page)
