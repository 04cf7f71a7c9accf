"""The dashboard in a real browser, on a whole Understudy with models behind it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import http.server
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support import browser as browsing
from tests.support.browser import tab
from tests.support.load import Load
from tests.support.system import Understudy, canary, models, understudy

pytestmark = [pytest.mark.system, pytest.mark.slow]

HOSTILE = "<img src=x onerror=hacked()>"
REASON = '<script>hacked()</script> & "it smells"'
GATE = [{"setWeight": 10}, {"pause": {}}]
RAMP = [{"setWeight": 20}, {"analysis": {"minSamples": 20}}, {"setWeight": 40}, {"pause": {}}]
ROUTES = {"ramp": RAMP, "foreign": GATE, "hostile": GATE, "several": GATE}
MISSED = ("Failed to load resource",)
"""What a browser says of an answer that is an error, or of none."""
expect.set_options(timeout=browsing.PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def servers() -> Iterator[Any]:
    with models("v1", "v2") as found:
        for server in found:
            server.control(labelled=HOSTILE)
        yield found


@pytest.fixture(scope="module")
def running(servers, tmp_path_factory) -> Iterator[Understudy]:
    """The system without a login, with a route for each test that changes one; `ramp` has traffic."""
    with understudy(tmp_path_factory.mktemp("dashboard"), routes(servers, ROUTES)) as system, loaded(system.port):
        yield system


def routes(servers: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    config = canary(*servers, RAMP, [{"name": "errors", "maxIncrease": "20pp"}], workers=1)
    (line,) = config["routes"]
    config["routes"] = [
        {
            **line,
            "name": name,
            "match": [{"path": {"prefix": f"/v2/models/{'m' if name == 'ramp' else name}"}}],
            "strategy": {"canary": {"steps": steps}},
        }
        for name, steps in wanted.items()
    ]
    return config


@contextlib.contextmanager
def loaded(port: int) -> Iterator[None]:
    """Traffic from a thread: a page is driven from this one."""
    ended = threading.Event()

    async def load() -> None:
        async with Load(port, rate=80):
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(load()))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def go(page: Page, system: Understudy, view: str = "") -> None:
    page.goto(f"{system.admin}/#/{view}")
    expect(page.locator("h1")).to_be_visible()


def line(page: Page, name: str) -> Any:
    """A route's line in the overview."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def test_a_ramp_is_seen_going_up(browser, running):
    """Broken: whoever wants to know where the ramp is has to reload, or sees what is not so."""
    with tab(browser) as page:
        go(page, running)
        page.evaluate("globalThis.stayed = true")
        weight = line(page, "ramp").locator(".share")
        expect(weight).to_contain_text(re.compile("^(2|4)0 %$"))
        assert line(page, "ramp").locator("meter").get_attribute("value") in ("20", "40")
        expect(weight).to_contain_text("40 %")
        expect(line(page, "ramp")).to_contain_text("Paused")
        expect(line(page, "ramp")).to_contain_text("Needs somebody")
        line(page, "ramp").get_by_role("link", name="ramp").click()
        expect(page.locator(".steps li[aria-current=step]")).to_contain_text("pause until an operator")
        expect(page.locator(".metrics tbody tr")).to_have_count(len(running.route("ramp")["metrics"]))
        expect(page.locator(".interval .effect").first).to_be_visible()
        expect(page.locator("#chart .main-svg").first).to_be_visible()
        shown = page.evaluate("document.getElementById('chart').data.map((each) => each.name)")
        assert {"weight", "v1 (stable)", "v2 (canary)"} <= set(shown)
        assert page.evaluate("globalThis.stayed"), "the page was loaded again"
        assert page.evaluate("document.cookie + JSON.stringify(localStorage)") == "{}"


def test_hostile_texts_are_shown_as_text(browser, running):
    """Broken: a label that a model answers, or the reason of an abort, runs in the browser of an operator."""
    with tab(browser) as page:
        page.add_init_script("globalThis.hacks = 0; globalThis.hacked = () => globalThis.hacks++")
        status, _ = running.post("/routes/hostile/abort", reason=REASON)
        assert status == 200
        go(page, running, "routes/ramp")
        expect(page.locator(".label-text").first).to_contain_text(HOSTILE)
        go(page, running, "routes/hostile")
        expect(page.locator("#reason")).to_contain_text(REASON)
        expect(page.locator(".journal")).to_contain_text(REASON)
        go(page, running, "journal")
        expect(page.locator(".journal")).to_contain_text(REASON)
        assert page.locator("main :is(img, script)").count() == 0
        assert page.evaluate("globalThis.hacks") == 0
    with tab(browser, MISSED) as page:
        go(page, running, "routes/" + HOSTILE)
        expect(page.locator("#main")).to_contain_text(f"no route is called '{HOSTILE}'")
        assert page.locator("main img").count() == 0
    with tab(browser) as page:
        go(page, running, "routes/hostile")
        with page.expect_download() as download:
            page.get_by_role("button", name="HTML").click()
        assert "&lt;script&gt;" in Path(download.value.path()).read_text()


def test_a_token_is_asked_for_and_forgotten(browser, servers, tmp_path):
    """Broken: the dashboard is open to strangers, a viewer aborts, a token outlives its end, or the journal does not
    know who aborted."""
    tokens = {role: f"{role}-0123456789abcdef" for role in ("viewer", "operator")}
    listed = [
        {"name": f"the-{role}", "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()}
        for role, token in tokens.items()
    ]
    config = routes(servers, {"gate": GATE}) | {"admin": {"tokens": listed}}
    with understudy(tmp_path, config) as system, tab(browser, MISSED) as page:
        page.goto(system.admin)
        expect(page.get_by_role("heading")).to_have_text("A token is needed")
        page.get_by_label("Token").fill("viewer-0123456789abcdeX")
        page.get_by_role("button", name="Enter").click()
        expect(page.locator("#token-problem")).to_have_text("The API does not know this token.")
        enter(page, tokens["viewer"])
        page.get_by_role("link", name="gate").click()
        expect(page.locator("#may-not")).to_contain_text("the-viewer")
        assert page.locator("[data-command]").count() == 0
        page.get_by_role("button", name="Forget token").click()
        assert page.evaluate("JSON.stringify(sessionStorage)") == "{}"
        enter(page, tokens["operator"])
        page.get_by_role("button", name="Abort").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("All traffic goes to v1; v2 gets nothing until somebody retries.")
        dialog.get_by_label("Reason").fill("customers complain")
        dialog.get_by_role("button", name="Abort").click()
        expect(page.locator("h1")).to_contain_text("Aborted")
        expect(page.locator(".journal li").first).to_contain_text("customers complain by the-operator")
        expect(page.get_by_role("button", name="Retry")).to_be_visible()
        assert page.get_by_role("button", name="Abort").count() == 0
        system.write({**system.config, "admin": {**system.config["admin"], "tokens": listed[:1]}})
        expect(page.locator("#token-problem")).to_contain_text("does not know this token any more")
        assert page.evaluate("JSON.stringify([sessionStorage, localStorage]) + document.cookie") == "[{},{}]"


def enter(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#who")).to_contain_text("the-")


ATTACK = """async ([url, forms]) => {
  const json = {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"};
  const tried = {
    simple: () => fetch(url + "/api/v1/routes/foreign/abort", {method: "POST", mode: "no-cors"}),
    simpleWithCookies: () => fetch(url + "/api/v1/routes/foreign/abort", {method: "POST", mode: "no-cors",
                                                                         credentials: "include", body: "{}"}),
    json: () => fetch(url + "/api/v1/routes/foreign/abort", json),
    beacon: () => navigator.sendBeacon(url + "/api/v1/routes/foreign/abort", "{}"),
    read: () => fetch(url + "/api/v1/status").then((answer) => answer.text()),
    events: () => new Promise((resolve) => {
      const source = new EventSource(url + "/api/v1/events");
      source.onmessage = source.onopen = () => resolve("heard");
      source.onerror = () => resolve("nothing");
    }),
    script: () => new Promise((resolve) => {
      const script = Object.assign(document.createElement("script"), {src: url + "/dashboard/app.js", type: "module"});
      script.onload = () => resolve("ran");
      script.onerror = () => resolve("nothing");
      document.head.append(script);
    }),
    frame: () => new Promise((resolve) => {
      const frame = Object.assign(document.createElement("iframe"), {src: url + "/"});
      frame.onload = () => resolve(String(frame.contentWindow.length));
      document.body.append(frame);
    }),
    form: () => new Promise((resolve) => {
      const frame = Object.assign(document.createElement("iframe"), {name: "sink"});
      frame.onload = () => resolve("sent");
      const form = Object.assign(document.createElement("form"),
        {action: url + "/api/v1/routes/foreign/abort", method: "post", enctype: "text/plain", target: "sink"});
      document.body.append(frame, form);
      form.submit();
    }),
  };
  const found = {};
  for (const [name, attempt] of Object.entries(tried)) {
    try {
      const answer = await attempt();
      found[name] = answer instanceof Response ? answer.type : answer;
    } catch (error) {
      found[name] = "refused";
    }
  }
  return found;
}"""


@contextlib.contextmanager
def other_page(folder: Path) -> Iterator[int]:
    """A page of somebody else, on a port of this machine."""
    (folder / "index.html").write_text("<!doctype html><title>somebody else</title>")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that does not say what it does."""

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_can_neither_command_nor_read(browser, running, tmp_path, host):
    """Broken: any page that an operator visits aborts a rollout or reads reports, where no login is asked."""
    before = running.route("foreign")
    with other_page(tmp_path) as port, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://{host}:{port}/")
        found = page.evaluate(ATTACK, [running.admin, None])
        assert found.pop("beacon") in (True, False), "it was sent, and nobody knows what came of it"
        assert found.pop("form") == "sent"
        opaque = {found.pop(name) for name in ("simple", "simpleWithCookies")}
        assert opaque <= {"opaque", "refused"}
        assert found == {"json": "refused", "read": "refused", "events": "nothing", "script": "nothing", "frame": "0"}
        assert context.cookies() == []
    after = running.route("foreign")
    assert (after["phase"], after["stage"], after["weight"]) == (before["phase"], before["stage"], before["weight"])
    assert "Aborted" not in json.dumps(running.get("/routes/foreign/history"))


def test_a_command_is_given_from_the_own_page(browser, running):
    """Broken: where no login is asked, a browser is refused whatever page it shows; or a dialog does what was
    cancelled."""
    with tab(browser) as page:
        go(page, running, "routes/several")
        page.get_by_role("button", name="Promote fully").click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert running.phase("several") == "Paused"
        page.get_by_role("button", name="Resume").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Next: analysis")
        page.keyboard.press("Enter")
        expect(page.locator("#toast")).to_have_text("Resume: done.")
        expect(page.locator("h1")).not_to_contain_text("Paused")


def test_news_that_stops_is_said(browser, running):
    """Broken: at three in the morning somebody decides on figures that are minutes old."""
    with tab(browser, MISSED) as page:
        go(page, running)
        expect(page.locator("#news")).to_have_text("Live")
        (controller,) = running.pids("controller")
        os.kill(controller, signal.SIGSTOP)
        expect(page.locator("#news")).to_have_text(re.compile(r"^No news for \d+ s"))
        expect(line(page, "ramp")).to_be_visible()
        os.kill(controller, signal.SIGKILL)
        expect(page.locator("#news")).to_have_text("Live")
        expect(line(page, "ramp")).to_contain_text("40 %")


def test_two_hundred_routes(browser, running):
    """Broken: with many routes the page is slow, or one cannot be found."""
    with tab(browser) as page:

        def many(route: Any) -> None:
            document = route.fetch().json()
            lines = document["routes"]
            document["routes"] = [{**lines[i % len(lines)], "name": f"route-{i:03}"} for i in range(200)]
            route.fulfill(json=document)

        page.route("**/api/v1/overview", many)
        go(page, running)
        expect(page.locator("tbody tr")).to_have_count(200)
        took_ms = page.evaluate(
            """async () => {
              const {draw, load} = await import("./dashboard/overview.js");
              const {morph} = await import("./dashboard/dom.js");
              const data = await load(), main = document.getElementById("main"), took = [];
              for (let i = 0; i < 5; i++) {
                const began = performance.now();
                morph(main, draw(data));
                took.push(performance.now() - began);
              }
              return Math.min(...took);
            }"""
        )
        assert took_ms < 500
        page.get_by_label("Search by name").fill("route-17")
        expect(page.locator("tbody tr")).to_have_count(10)
        expect(page.locator(".search [role=status]")).to_have_text("10 of 200")
        assert page.evaluate("document.activeElement.id") == "search", "what is typed goes on to be typed"


def test_a_refused_file_is_explained(browser, running):
    """Broken: a file was refused, and the dashboard shows the old one as if nothing were wrong."""
    good = running.path.read_text()
    with tab(browser) as page:
        go(page, running, "config")
        expect(page.locator(".file")).to_contain_text("name: ramp")
        running.path.write_text(good.replace("setWeight: 20", "setWeight: 140"))
        problem = page.locator(".problems li")
        expect(problem).to_contain_text("140 is above 100")
        expect(problem).to_contain_text(re.compile(r"understudy\.yaml:\d+:\d+"))
        expect(problem.locator(".remedy")).to_contain_text("from 0 to 100, in percent")
        page.get_by_role("link", name="Routes").click()
        expect(page.locator(".alarms")).to_contain_text("the file was refused (1 problem)")
        running.path.write_text(good)
        expect(page.locator(".alarms .bad")).to_have_count(0)


@pytest.mark.parametrize(
    ("scheme", "views"),
    [("light", ("", "routes/ramp", "journal", "config", "routes/nothing")), ("dark", ("routes/ramp",))],
)
def test_it_can_be_used_by_everybody(browser, running, scheme, views):
    """Broken: without a mouse, without colours, with a screen reader or on a narrow screen something is missing."""
    axe = Axe()
    allowed = MISSED if "routes/nothing" in views else ()
    with tab(browser, allowed, color_scheme=scheme, viewport={"width": 400, "height": 800}) as page:
        for view in views:
            go(page, running, view)
            if view == "routes/ramp":
                expect(page.locator("#chart .main-svg").first).to_be_visible()
                page.get_by_role("button", name="Abort").click()
                assert violations(axe.run(page)) == []
                page.keyboard.press("Escape")
            assert violations(axe.run(page)) == []
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{view} is {wide} px too wide"
        page.reload()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"


def violations(results: Any) -> list[str]:
    return [f"{each['id']}: {node['html']}" for each in results.response["violations"] for node in each["nodes"]]
