"""What pages in a browser may do here: the dashboard's own everything, those of other origins nothing.

A browser sends what it has along with every request (a client certificate, or merely that it is on this machine),
whichever page asks. What a page cannot forge says which one that is:

    Sec-Fetch-Site   `same-origin` for the dashboard's own, `none` for what its user typed; browsers send it over HTTPS
                     and on loopback, and there it decides
    Origin           with every command; elsewhere it must name the address that was asked for

Another page may lead here (a link), but neither read, nor embed, nor command. Commands of pages must also be marked as
JSON, which no form can do. Who sends neither field is no page: `understudy`, curl, Prometheus.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from proxy.admin.problems import RefusalError

_SAFE: Final = ("GET", "HEAD")
PLAIN: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The content security policy of all that is no page of the dashboard: whatever is in it, a browser carries nothing
out."""


def refuse_foreign_page(request: web.Request) -> None:
    """Let through what no page has sent, or one of the dashboard.

    Raises:
        RefusalError: a page of another origin asks.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    if request.method in _SAFE:
        if site not in ("", "same-origin", "none") and not _is_led_here(request):
            raise RefusalError(403, "browser", "pages of other origins cannot read this; open it in a tab of its own")
        return
    origin = request.headers.get("Origin", "")
    if not site and not origin:
        return
    if (site != "same-origin") if site else (_authority(origin) != request.headers.get("Host", "").lower()):
        detail = (
            "commands from web pages of another origin are refused; use the dashboard, `understudy`, or curl without "
            "Origin. If a proxy stands in front, have it pass `Host` on as it came"
        )
        raise RefusalError(403, "browser", detail)
    if request.content_type not in ("application/json", "application/yaml"):
        detail = "a page must mark what it sends: give Content-Type: application/json"
        raise RefusalError(403, "browser", detail)


def _is_led_here(request: web.Request) -> bool:
    """Whether somebody followed a link: the answer is shown in a tab, and the page that led here does not see it."""
    headers = request.headers
    return headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"


def _authority(origin: str) -> str:
    """Host and port of an origin; of `null` and the like something that no Host is."""
    scheme, mark, authority = origin.lower().partition("://")
    return authority if mark and scheme in ("http", "https") else "(none)"
