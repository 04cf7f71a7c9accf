"""The files of the dashboard, over real HTTP."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from yarl import URL

from proxy.admin.dashboard import serving

SCRIPTS = sorted(serving.STATIC.glob("*.js"))


async def test_every_file_is_served_as_what_it_is(http):
    """Broken: a browser refuses a module for its type, and the page stays empty."""
    types = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    for name in serving.names():
        async with http.get(f"/dashboard/{name}") as response:
            assert response.status == 200
            assert response.content_type == types[name[name.rindex(".") :]]
            assert await response.read() == (serving.STATIC / name).read_bytes()
    async with http.get("/") as response:
        assert await response.read() == (serving.STATIC / serving.INDEX).read_bytes()


@pytest.mark.parametrize("path", ["/", "/dashboard/app.js", "/dashboard/plotly.min.js"])
async def test_what_a_browser_has_is_not_sent_again(http, path):
    """Broken: each look loads five megabytes; or an old page stays after an update."""
    async with http.get(path) as response:
        assert response.status == 200
        tag, body = response.headers["ETag"], await response.read()
        assert response.headers["Cache-Control"] == "no-cache"
    async with http.get(path, headers={"If-None-Match": tag}) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == tag
    async with http.get(path, headers={"If-None-Match": '"another"'}) as response:
        assert (response.status, await response.read()) == (200, body)
    async with http.head(path) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(body)))
        assert response.headers["ETag"] == tag


@pytest.mark.parametrize(
    "name",
    [
        "..%2Fserving.py",
        "%2e%2e",
        "%2Fetc%2Fpasswd",
        "app.js%00",
        "App.js",
        "nothing.js",
        "static%2Fapp.js",
        ".",
        "x" * 999,
    ],
)
async def test_no_name_leads_out_of_the_folder(http, name):
    """Broken: the dashboard serves the files of the machine."""
    async with http.get(URL(f"/dashboard/{name}", encoded=True)) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


async def test_the_page_may_run_what_is_served_here_alone(http):
    """Broken: a text that gets into the page as markup runs."""
    async with http.get("/") as response:
        policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in serving.POLICY
    text = (serving.STATIC / serving.INDEX).read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:|https?://", text)


def test_nothing_is_set_as_markup():
    """Broken: a label with a tag in it becomes a tag."""
    markup = (
        r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|DOMParser|\beval\b|new Function|ContextualF"
    )
    assert len(SCRIPTS) > 5
    assert [script.name for script in SCRIPTS if re.search(markup, script.read_text("utf-8"))] == []


def test_modules_are_short_and_ask_nobody_else():
    """Broken: a file holds more than one idea, or the page needs the internet."""
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        assert len(text.splitlines()) <= 400, script.name
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), script.name
        for target in re.findall(r'^(?:import|export) .* from "\./([^"]+)"', text, re.M):
            assert (serving.STATIC / target).is_file(), f"{script.name} imports {target}"


def test_plotly_is_found_and_never_imported():
    """Broken: the controller takes megabytes and time at its start, for a file that it only passes on."""
    path = serving.plotly()
    assert path is not None
    assert path.stat().st_size > 1_000_000
    script = "import sys, proxy.admin.app as a\nfrom proxy.admin.dashboard import serving\nserving.plotly()\n"
    script += "print([name for name in sys.modules if name.startswith(('plotly', 'markdown_it'))])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


async def test_without_plotly_the_rest_is_there(http, monkeypatch):
    """Broken: an installation without plotly has no dashboard."""
    monkeypatch.setattr(serving, "find_spec", lambda _: None)
    async with http.get("/dashboard/plotly.min.js") as response:
        assert response.status == 404
        assert "pip install plotly" in (await response.json(content_type=None))["detail"]
    async with http.get("/") as response:
        assert response.status == 200
