"""Who may do what at the admin API, over real HTTP, in front of a fake controller."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from config.files import Contents
from config.files import digest as digest_of
from config.listeners.access import Admin
from proxy.admin.access import FAILURES, FORGIVEN_S, MOST_ADDRESSES, Failures
from proxy.admin.app import start
from proxy.admin.endpoints import ENDPOINTS
from tests.support.certificates import Authority
from tests.support.fake_controller import FakeController

ROLES = ("viewer", "operator", "admin")
TOKENS = {role: f"{role}-token-0123456789" for role in (*ROLES, "feedback")}
ENVIRON = {"ADMIN_TOKEN": TOKENS["admin"], "SHORT": "short"}
SETTINGS = {
    "tokens": (
        {"name": "eyes", "role": "viewer", "sha256": hashlib.sha256(TOKENS["viewer"].encode()).hexdigest()},
        {"name": "hands", "role": "operator", "sha256": hashlib.sha256(TOKENS["operator"].encode()).hexdigest()},
        {"name": "shop", "role": "feedback", "sha256": hashlib.sha256(TOKENS["feedback"].encode()).hexdigest()},
        {"name": "boss", "role": "admin", "env": "ADMIN_TOKEN"},
        {"name": "weak", "role": "admin", "env": "SHORT"},
        {"name": "unset", "role": "admin", "env": "NOWHERE"},
    )
}


@pytest.fixture
async def serve(controller: FakeController) -> AsyncIterator[Callable[..., Any]]:
    """Starts the API by these settings, and answers a session that asks it."""
    opened: list[Any] = []

    async def served(settings: dict[str, Any] | None = None, url: str = "http://127.0.0.1") -> aiohttp.ClientSession:
        controller.admin = Admin.model_validate(settings or {})
        sock = socket.create_server(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        runner = await start(controller, sock, ENVIRON)
        session = aiohttp.ClientSession(f"{url}:{port}")
        opened.extend([runner.cleanup, session.close])
        return session

    yield served
    for close in reversed(opened):
        await close()


async def status(session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with session.request(method, path, **options) as response:
        body = await response.json(content_type=None) if "json" in response.content_type else await response.text()
        return response.status, body


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
async def test_every_endpoint_asks_for_its_role(serve, endpoint):
    """Broken: an endpoint is open to strangers, or a viewer can promote."""
    session = await serve(SETTINGS)
    path = endpoint.path.replace("{name}", "fraud").replace("{file}", "index.html")
    # Truths move rollouts, which a viewer does not; who tells them does nothing else.
    needed = 0 if endpoint.role == "public" else 2 if endpoint.role == "feedback" else 1 + ROLES.index(endpoint.role)
    found, body = await status(session, endpoint.method, path)
    assert (found == 401) == (needed > 0), body
    for rank, role in enumerate(ROLES, 1):
        async with session.request(endpoint.method, path, headers=bearer(TOKENS[role])) as response:
            assert response.status != 401
            assert (response.status == 403) == (rank < needed)
    async with session.request(endpoint.method, path, headers=bearer(TOKENS["feedback"])) as response:
        assert (response.status == 403) == (endpoint.role not in ("public", "feedback"))


async def test_what_is_not_there_is_not_told_to_strangers(serve):
    """Broken: strangers learn by 404 and 405 what there is."""
    session = await serve(SETTINGS)
    for method, path in (("GET", "/nothing"), ("DELETE", "/metrics"), ("GET", "/api/v1/routes/frod")):
        found, body = await status(session, method, path)
        assert (found, body["type"]) == (401, "urn:understudy:problem:credential")
    async with session.get("/api/v1/status") as response:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer short", "Bearer " + "x" * 5000])
async def test_a_credential_that_is_not_known_is_refused(serve, given):
    """Broken: an empty, short or unset token is a key to everything."""
    session = await serve(SETTINGS)
    assert (await status(session, "GET", "/api/v1/status", headers={"Authorization": given}))[0] == 401


async def test_the_journal_has_the_name_that_is_proven(serve, controller):
    """Broken: anybody gives commands in the name of somebody else."""
    session = await serve(SETTINGS)
    headers = bearer(TOKENS["operator"])
    await status(session, "POST", "/api/v1/routes/fraud/pause", headers=headers)
    headers |= {"x-understudy-actor": "boss"}
    await status(session, "POST", "/api/v1/routes/fraud/pause", headers=headers)
    assert [act[2] for act in controller.acts] == ["hands", "hands: boss"]


async def test_guessing_is_slowed_down(serve, capsys):
    """Broken: tokens can be tried by the thousand; or those are locked out who send none."""
    session = await serve(SETTINGS)
    for _ in range(3 * FAILURES):
        assert (await status(session, "GET", "/api/v1/status"))[0] == 401
    for guess in range(FAILURES):
        assert (await status(session, "GET", "/api/v1/status", headers=bearer(f"guess-{guess:020}")))[0] == 401
    async with session.get("/api/v1/status", headers=bearer(TOKENS["admin"])) as response:
        assert response.status == 429, "the next guess could be right"
        assert 1 <= int(response.headers["Retry-After"]) <= FORGIVEN_S
    assert (await status(session, "GET", "/healthz"))[0] == 200
    said = capsys.readouterr().out
    assert "guess-" not in said
    assert all(token not in said for token in TOKENS.values())


def test_failures_are_forgiven_and_bounded():
    """Broken: one typing error locks an office out for ever, or a botnet fills the memory."""
    now = [0.0]
    failures = Failures(lambda: now[0])
    for _ in range(FAILURES):
        assert failures.wait_s("10.0.0.1") == 0
        failures.add("10.0.0.1")
    assert failures.wait_s("10.0.0.1") == pytest.approx(FORGIVEN_S)
    assert failures.wait_s("10.0.0.2") == 0
    now[0] += FORGIVEN_S
    assert failures.wait_s("10.0.0.1") == 0
    for _ in range(FAILURES):
        failures.add("2001:db8::1")
    assert failures.wait_s("2001:db8::ffff") > 0, "one host has 2^64 addresses"
    for number in range(MOST_ADDRESSES + 10):
        failures.add(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(failures._level) == MOST_ADDRESSES


async def test_a_stolen_token_is_taken_back_by_a_reload(serve, controller):
    """Broken: a token is good until the next restart."""
    session = await serve(SETTINGS)
    headers = bearer(TOKENS["viewer"])
    assert (await status(session, "GET", "/api/v1/status", headers=headers))[0] == 200
    controller.admin = Admin.model_validate({"tokens": SETTINGS["tokens"][1:]})
    assert (await status(session, "GET", "/api/v1/status", headers=headers))[0] == 401


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1:9901", 200),
        ("[::1]:9901", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("evil.example.com", 421),
        ("localhost.evil.example.com", 421),
        ("127.0.0.1.evil.example.com:9901", 421),
        ("", 421),
    ],
)
async def test_a_page_cannot_come_in_by_a_name_of_its_own(serve, host, found):
    """Broken: a page whose name leads to 127.0.0.1 (DNS rebinding) reads and commands an API without a login."""
    session = await serve()
    for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/routes/fraud/pause")):
        assert (await status(session, method, path, headers={"Host": host}))[0] == found


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1:9901"])
async def test_a_page_cannot_command(serve, controller, origin):
    """Broken: a page sends commands to the API of whoever looks at it (CSRF), with or without a login."""
    for settings in ({}, SETTINGS):
        session = await serve(settings)
        headers = {"Origin": origin, **bearer(TOKENS["admin"])}
        found, body = await status(session, "POST", "/api/v1/routes/fraud/promote", headers=headers)
        assert (found, body["type"]) == (403, "urn:understudy:problem:browser")
    assert controller.acts == []


async def test_nobody_is_let_in_before_it_is_known_who_may(serve, controller):
    """Broken: while the configuration cannot be read, everybody is an admin."""
    session = await serve()
    controller.admin = None
    assert (await status(session, "GET", "/api/v1/status"))[0] == 503
    assert (await status(session, "GET", "/healthz"))[0] == 200


def tls_settings(authority: Authority, **more: Any) -> dict[str, Any]:
    pair = authority.issue("localhost")
    return {"tls": {"certificates": ({"certFile": str(pair.certificate), "keyFile": str(pair.key)},), **more}}


def trusting(authority: Authority, *pair: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if pair:
        context.load_cert_chain(*pair)
    return context


async def test_certificates_of_clients_have_roles(serve, tmp_path):
    """Broken: a client without a certificate gets in, or one has a role that the file does not give it."""
    authority = Authority(tmp_path)
    settings = tls_settings(authority, clientCaFile=str(authority.certificate))
    session = await serve(
        {**settings, "clients": ({"subject": "ops.internal", "role": "operator"},)}, "https://localhost"
    )
    known = trusting(authority, *authority.issue("ops.internal", client=True))
    other = trusting(authority, *authority.issue("intern.internal", client=True))
    assert (await status(session, "GET", "/api/v1/status", ssl=known))[0] == 200
    assert (await status(session, "POST", "/api/v1/routes/fraud/pause", ssl=known))[0] == 200
    assert (await status(session, "POST", "/api/v1/config/reload", ssl=known))[0] == 403
    assert (await status(session, "GET", "/api/v1/status", ssl=other))[0] == 401
    with pytest.raises(aiohttp.ClientError):
        await status(session, "GET", "/healthz", ssl=trusting(authority))


async def test_tls_follows_the_configuration(serve, controller, tmp_path):
    """Broken: a renewed certificate needs a restart; or plain text goes on after TLS was asked for."""
    first, second = Authority(tmp_path), Authority(tmp_path)
    session = await serve(tls_settings(first), "https://localhost")
    assert (await status(session, "GET", "/healthz", ssl=trusting(first)))[0] == 200
    settings = tls_settings(second)
    controller.contents = Contents({path: digest_of(path) for path in settings["tls"]["certificates"][0].values()}, {})
    controller.admin = Admin.model_validate(settings)
    port = session._base_url.port
    async with aiohttp.ClientSession() as fresh:
        for _ in range(100):
            try:
                found, _body = await status(fresh, "GET", f"https://localhost:{port}/healthz", ssl=trusting(second))
                break
            except aiohttp.ClientConnectorCertificateError:
                await asyncio.sleep(0.05)
        assert found == 200
        with pytest.raises(aiohttp.ClientError):
            await status(fresh, "GET", f"http://localhost:{port}/healthz")
