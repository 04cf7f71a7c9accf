"""What pages in a browser may do at the admin API, over real HTTP, in front of a fake controller."""

from __future__ import annotations

from typing import Any

import pytest

JSON = {"Content-Type": "application/json"}
PAUSE = "/api/v1/routes/fraud/pause"


def origin(http: Any, scheme: str = "http") -> str:
    """The origin of the dashboard of this server."""
    return f"{scheme}://127.0.0.1:{http._base_url.port}"


async def kind(response: Any) -> str:
    return (await response.json(content_type=None)).get("type", "").rpartition(":")[2]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "own"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "own"},
        {"Origin": "own by https"},
    ],
)
async def test_the_dashboard_commands(http, controller, headers):
    """Broken: nobody can abort from the dashboard; or not behind a proxy that ends TLS."""
    own = {"own": origin(http), "own by https": origin(http, "https")}
    headers = {name: own.get(value, value) for name, value in headers.items()}
    async with http.post(PAUSE, headers={**JSON, **headers}, data=b"{}") as response:
        assert response.status == 200
    assert [act[1] for act in controller.acts] == ["pause"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "own"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:9901"},
        {"Origin": "moz-extension://own"},
        {"Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"},
        {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"},
        {"Origin": "own", "Content-Type": "multipart/form-data"},
    ],
)
async def test_a_foreign_page_commands_nothing(http, controller, headers):
    """Broken: a page of another origin, of another port of this machine, or a form, commands in its visitor's name."""
    headers = {name: origin(http) if value == "own" else value for name, value in headers.items()}
    for method, path in (("POST", PAUSE), ("PUT", "/api/v1/config"), ("DELETE", "/api/v1/routes/fraud/captures")):
        async with http.request(method, path, headers={**JSON, **headers}, data=b"{}") as response:
            assert (response.status, await kind(response)) == (403, "browser")
    assert controller.acts == []


@pytest.mark.parametrize("path", ["/api/v1/status", "/metrics", "/api/v1/events", "/", "/dashboard/app.js", "/healthz"])
async def test_a_page_cannot_read(http, path):
    """Broken: a page of another origin embeds what is here, or takes the places of those who listen to events."""
    for site in ("cross-site", "same-site"):
        for mode, dest in (("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe"), ("websocket", "empty")):
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            async with http.get(path, headers=headers) as response:
                assert (response.status, await kind(response)) == (403, "browser")
                assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("site", ["none", "cross-site", "same-origin"])
async def test_a_link_leads_to_the_dashboard(http, site):
    """Broken: a link in a chat leads to a refusal."""
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with http.get("/", headers=headers) as response:
        assert response.status == 200


async def test_a_preflight_of_a_foreign_page_is_not_answered(http):
    """Broken: a browser learns that other pages may send JSON here."""
    headers = {"Origin": "https://evil.example.com", "Access-Control-Request-Method": "POST"}
    async with http.options(PAUSE, headers=headers) as response:
        assert response.status == 403
        assert not [name for name in response.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/dashboard/app.js", "/api/v1", "/api/v1/status", "/metrics", "/nothing"])
async def test_every_answer_forbids_what_browsers_could_do_with_it(http, path):
    """Broken: an answer can be framed, embedded, guessed to be a script, or kept by a cache."""
    async with http.get(path) as response:
        headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "Set-Cookie" not in headers
    assert headers["Cache-Control"] == ("no-cache" if path in ("/", "/dashboard/app.js") else "no-store")
