"""The admin API over real HTTP, in front of a fake controller."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.endpoints import ENDPOINTS
from tests.support.fake_controller import CONFIG_TEXT, problem

API = "/api/v1"
FRAUD = f"{API}/routes/fraud"


async def problem_of(response: aiohttp.ClientResponse, status: int, kind: str) -> dict[str, Any]:
    body = await response.json(content_type="application/problem+json")
    assert response.status == status, body
    assert body["type"] == f"urn:understudy:problem:{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == response.url.path
    return body


async def test_status_is_the_controllers(http, controller):
    """Broken: people see something else than what runs."""
    async with http.get(f"{API}/status") as response:
        assert response.status == 200
        assert await response.json() == controller.status()
        assert response.headers["Cache-Control"] == "no-store"


async def test_routes_are_listed_and_read(http, controller):
    """Broken: a rollout cannot be looked at."""
    async with http.get(f"{API}/routes") as response:
        assert await response.json() == {"routes": controller.routes()}
    async with http.get(FRAUD) as response:
        assert await response.json() == controller.document


async def test_a_route_name_may_need_quoting(http):
    """Broken: a route called `a b/` is out of reach."""
    async with http.get(f"{API}/routes/static%20weights%2F") as response:
        assert (await response.json())["name"] == "static weights/"


@pytest.mark.parametrize("path", ["", "/report", "/report?format=markdown", "/history"])
async def test_an_unknown_route_is_a_problem_that_names_the_others(http, path):
    """Broken: a typing error looks like an empty answer."""
    async with http.get(f"{API}/routes/frod{path}") as response:
        body = await problem_of(response, 404, "unknown-route")
        assert "'frod'" in body["detail"]
        assert "fraud" in body["detail"]


async def test_report_is_json_with_history_or_markdown(http, controller):
    """Broken: a report cannot be read by machines, or not by people."""
    async with http.get(f"{FRAUD}/report") as response:
        assert await response.json() == {**controller.document, "history": controller.entries}
    async with http.get(f"{FRAUD}/report", params={"format": "markdown"}) as response:
        assert response.content_type == "text/markdown"
        assert (await response.text()).startswith("# fraud: fraud-v2 against fraud-v1\n")
    async with http.get(f"{FRAUD}/report", params={"format": "pdf"}) as response:
        assert "'pdf'" in (await problem_of(response, 400, "bad-parameter"))["detail"]


async def test_history_comes_in_pages_to_the_end(http, controller):
    """Broken: old entries are lost, or read twice."""
    seen: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        async with http.get(f"{FRAUD}/history", params=query) as response:
            page = await response.json()
        seen += page["entries"]
        if page["nextBefore"] is None:
            break
        query["before"] = page["nextBefore"]
    assert seen == controller.entries


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "limit=", "before=-1", "before=1e3", "before=²"])
async def test_history_refuses_numbers_that_it_cannot_use(http, query):
    """Broken: a mistyped page is answered with the wrong one, or with a 500."""
    async with http.get(f"{FRAUD}/history?{query}") as response:
        await problem_of(response, 400, "bad-parameter")


async def test_commands_reach_the_controller_with_who_gave_them(http, controller):
    """Broken: a command does nothing, or the journal does not know who gave it."""
    posts = [
        ("promote", b'{"full": true}', {"x-understudy-actor": "ann@desk"}),
        ("abort", b'{"reason": "smells"}', {"x-understudy-actor": "\tann@desk \x01"[1:-1]}),
        ("pause", b"", {}),
        ("retry", b"{}", {"x-understudy-actor": "x" * 500}),
    ]
    for verb, body, headers in posts:
        async with http.post(f"{FRAUD}/{verb}", data=body, headers=headers) as response:
            assert response.status == 200
            assert (await response.json())["name"] == "fraud"
    assert controller.acts == [
        ("fraud", "promote", "ann@desk", True, ""),
        ("fraud", "abort", "ann@desk", False, "smells"),
        ("fraud", "pause", "api@127.0.0.1", False, ""),
        ("fraud", "retry", "x" * 120, False, ""),
    ]


async def test_a_command_that_the_phase_does_not_allow_is_a_conflict(http, controller):
    """Broken: an illegal command is taken for done."""
    async with http.post(f"{FRAUD}/resume") as response:
        body = await problem_of(response, 409, "illegal-event")
    assert "pause it first" in body["detail"]
    assert (body["route"], body["verb"]) == ("fraud", "resume")
    assert controller.acts == []


async def test_a_command_that_cannot_be_kept_says_that_nothing_changed(http, controller):
    """Broken: with a full disk, an operator does not know whether the abort holds."""
    controller.store_error = "disk full"
    async with http.post(f"{FRAUD}/abort") as response:
        assert "nothing has changed: disk full" in (await problem_of(response, 503, "store"))["detail"]


@pytest.mark.parametrize(
    ("verb", "body", "kind"),
    [
        ("promote", b"{full: true}", "malformed-json"),
        ("promote", b"\xff\xfe", "malformed-json"),
        ("promote", b"[]", "malformed-json"),
        ("promote", b'{"fulll": true}', "unknown-member"),
        ("promote", b'{"full": "yes"}', "bad-member"),
        ("abort", b'{"reason": 7}', "bad-member"),
        ("pause", b'{"full": true}', "unknown-member"),
        ("promote", b"[" * 100_000, "malformed-json"),
    ],
)
async def test_a_command_with_a_bad_body_does_nothing(http, controller, verb, body, kind):
    """Broken: `{"ful": true}` promotes by one step where the operator meant something else."""
    async with http.post(f"{FRAUD}/{verb}", data=body) as response:
        await problem_of(response, 400, kind)
    assert controller.acts == []


async def test_a_web_page_cannot_give_commands(http, controller):
    """Broken: any page that an operator visits can promote a version."""
    async with http.post(f"{FRAUD}/promote", headers={"Origin": "https://example.com"}) as response:
        await problem_of(response, 403, "browser")
    assert controller.acts == []


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing/here", 404, "not-found"),
        ("POST", f"{FRAUD}/redo", 404, "not-found"),
        ("GET", f"{FRAUD}/promote", 405, "method"),
        ("DELETE", FRAUD, 405, "method"),
        ("POST", "/metrics", 405, "method"),
    ],
)
async def test_what_is_not_there_is_a_problem_too(http, method, path, status, kind):
    """Broken: clients must read several shapes of error."""
    async with http.request(method, path) as response:
        await problem_of(response, status, kind)
        if status == 405:
            assert response.headers["Allow"]


async def test_a_body_over_the_limit_is_a_problem(http):
    """Broken: a large body fills the controller's memory, or is answered in another shape."""
    for path in (f"{API}/config/validate", f"{FRAUD}/promote"):
        async with http.post(path, data=b"#" * ((1 << 20) + 1)) as response:
            await problem_of(response, 413, "too-large")


async def test_a_bug_is_a_problem_without_its_insides(http, controller, capsys):
    """Broken: one bug drops connections, or shows its trace to strangers."""
    del controller.document
    async with http.get(FRAUD) as response:
        body = await problem_of(response, 500, "internal")
    assert "AttributeError" not in json.dumps(body)
    assert "AttributeError" in capsys.readouterr().out


async def test_validate_names_every_problem_and_changes_nothing(http, controller):
    """Broken: a bad file passes, or trying one has effects."""
    async with http.post(f"{API}/config/validate", data="listen: []") as response:
        assert await response.json() == {"valid": True, "problems": []}
    async with http.post(f"{API}/config/validate", data="lissen: []") as response:
        assert response.status == 200
        assert await response.json() == {"valid": False, "problems": [problem()]}
    async with http.post(f"{API}/config/validate", data=b"ab\xff") as response:
        assert "byte 2" in (await problem_of(response, 400, "not-utf-8"))["detail"]
    assert controller.reloads == []


async def test_reload_says_what_is_live(http, controller):
    """Broken: nobody knows whether an edit is live."""
    async with http.post(f"{API}/config/reload", headers={"x-understudy-actor": "ann@desk"}) as response:
        body = await response.json()
        assert response.status == 200
    assert (body["generation"], body["workersAcknowledged"]) == (7, 2)
    assert controller.reloads == ["ann@desk"]
    controller.reload_problems = [problem()]
    async with http.post(f"{API}/config/reload") as response:
        body = await problem_of(response, 422, "invalid-config")
    assert body["problems"] == [problem()]
    assert "1 problem;" in body["detail"]


async def test_the_live_configuration_can_be_read_back(http):
    """Broken: one cannot see what is live, or whether it is one's own."""
    async with http.get(f"{API}/config") as response:
        assert response.content_type == "application/yaml"
        assert await response.text(encoding="utf-8") == CONFIG_TEXT
        assert response.headers["ETag"] == f'"{"0123456789abcdef" * 4}"'


async def test_metrics_are_valid_in_both_formats(http):
    """Broken: Prometheus drops the whole scrape."""
    async with http.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        names = {family.name for family in text_string_to_metric_families(await response.text())}
    assert {"understudy_requests", "understudy_build_info", "process_resident_memory_bytes"} <= names
    async with http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as response:
        assert response.headers["Content-Type"].startswith("application/openmetrics-text")
        names = {family.name for family in openmetrics(await response.text())}
    assert {"understudy_requests", "understudy_build"} <= names


async def test_health_and_readiness_differ(http, controller):
    """Broken: a proxy without workers gets traffic, or a waiting one is restarted."""
    controller.ready = False
    async with http.get("/healthz") as response:
        assert response.status == 200
    async with http.get("/readyz") as response:
        await problem_of(response, 503, "not-ready")
    controller.ready = True
    async with http.get("/readyz") as response:
        assert response.status == 200
    async with http.head("/readyz") as response:
        assert response.status == 200


async def test_readiness_fails_once_a_drain_begins(http, controller):
    """Broken: a load balancer sends clients to a process that is about to end."""
    controller.draining = True
    async with http.get("/readyz") as response:
        await problem_of(response, 503, "draining")


async def test_the_index_names_every_endpoint(http):
    """Broken: whoever looks for the API in a browser is lost."""
    async with http.get("/api/v1") as response:
        assert response.content_type == "text/html"
        text = await response.text()
    for endpoint in ENDPOINTS:
        assert endpoint.path in text


def test_the_document_names_every_endpoint():
    """Broken: docs/admin-api.md is stale."""
    text = (Path(__file__).parents[3] / "docs" / "admin-api.md").read_text("utf-8")
    for endpoint in ENDPOINTS:
        assert f"| `{endpoint.method}` | `{endpoint.path}` |" in text


async def test_many_clients_at_once(http):
    """Broken: a scrape at the same time as a report gets a wrong answer."""

    async def read(path: str) -> int:
        async with http.get(path) as response:
            await response.read()
            return response.status

    paths = ["/metrics", FRAUD, f"{FRAUD}/report?format=markdown", f"{API}/status"] * 10
    assert set(await asyncio.gather(*map(read, paths))) == {200}


async def test_the_configuration_is_replaced_by_whoever_knows_it(http, controller):
    """Broken: an edit is written over by somebody who has not seen it; or nothing can be written at all."""
    path, tag = f"{API}/config", f'"{"0123456789abcdef" * 4}"'
    cases = [
        ({}, 428, "precondition"),
        ({"If-Match": '"other"'}, 412, "stale"),
        ({"If-Match": f"W/{tag}"}, 412, "stale"),
    ]
    for headers, status, kind in cases:
        async with http.put(path, data="listen: []", headers=headers) as response:
            await problem_of(response, status, kind)
    async with http.put(path, data="lissen: []", headers={"If-Match": tag}) as response:
        assert (await problem_of(response, 422, "invalid-config"))["problems"] == [problem()]
    assert controller.config_text == CONFIG_TEXT
    for known in (tag, "*", f'"other", {tag}'):
        async with http.put(path, data="listen: []", headers={"If-Match": known}) as response:
            assert response.status == 200
            assert response.headers["ETag"] == tag
    assert controller.config_text == "listen: []"


async def test_the_journal_of_everything_comes_in_pages(http, controller):
    """Broken: what happened to the configuration can be read nowhere."""
    async with http.get(f"{API}/journal?limit=3") as response:
        page = await response.json()
    async with http.get(page["next"]) as response:
        assert page["entries"] + (await response.json())["entries"] == controller.entries
