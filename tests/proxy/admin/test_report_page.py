"""A report as a page of its own."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from proxy.admin.report_page import html_page
from tests.support.fake_controller import history_entries, route_document

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>[a](javascript:alert(3)) "quoted"'


class Tags(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def parsed(text: str) -> Tags:
    found = Tags()
    found.feed(text)
    return found


def test_texts_from_outside_stay_texts():
    """Broken: a label or a reason runs in the browser of whoever opens a report."""
    route = route_document() | {"name": HOSTILE, "reason": HOSTILE}
    entries = history_entries()
    entries[0] |= {"text": HOSTILE, "actor": HOSTILE}
    page = parsed(html_page(route, entries))
    assert {tag for tag, _ in page.tags} & {"script", "img", "a", "iframe", "object", "form"} == set()
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count("alert(1)") >= 3, "what came is shown as it came"


async def test_it_is_served_as_a_page_that_runs_nothing(http):
    """Broken: a report that is opened here runs with the rights of the dashboard."""
    async with http.get("/api/v1/routes/fraud/report?format=html") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert re.search(r"\bsandbox\b", response.headers["Content-Security-Policy"])
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        page = parsed(await response.text())
    assert ("h1", {}) in page.tags
    assert [tag for tag, _ in page.tags].count("table") > 4
    assert "fraud-v2 against fraud-v1" in page.text
