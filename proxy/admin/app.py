"""The aiohttp application: one table of endpoints, thin handlers, and `start`.

The table is the only list of endpoints: routes are made from it, `GET /` shows it, and a test holds
`docs/admin-api.md` to it.

Who gave a command is the header `x-understudy-actor`, else `api@<peer address>`. It is a name for the journal and no
authentication: whoever can reach the address may command, which is why it is 127.0.0.1 unless the file says
otherwise. Pages that a browser shows may not: they cannot leave the `Origin` header out, and commands with one are
refused, so that no web page can promote a version behind its visitor's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from proxy.admin.exposition import registry
from proxy.admin.latency import GATHER_EVERY_S, Latencies
from proxy.admin.problems import MAX_BODY_BYTES, RefusalError, one_shape, unknown_route
from proxy.admin.report import markdown
from proxy.admin.surface import Controls, Json, Verb
from proxy.control.rollout import IllegalEvent
from proxy.control.store import StoreError

ACTOR_HEADER: Final = "x-understudy-actor"
MAX_ACTOR_CHARS: Final = 120
HISTORY_LIMIT: Final = 100
HISTORY_MOST: Final = 1000
REPORT_ENTRIES: Final = 200
SHUTDOWN_TIMEOUT_S: Final = 2.0
"""What a stopping controller waits for admin requests; the data plane does not notice it."""

_CONTROLS: Final = web.AppKey("controls", Controls)
_REGISTRY: Final = web.AppKey("registry", CollectorRegistry)
_LATENCIES: Final = web.AppKey("latencies", Latencies)
_LOG = structlog.get_logger("understudy.admin")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One line of the table: what a request for this method and path answers."""

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[[web.Request], Awaitable[web.Response]]
    text: str


def application(controls: Controls) -> web.Application:
    """The admin API over a controller."""
    app = web.Application(
        middlewares=[one_shape, _store_refusals, _no_browser_commands], client_max_size=MAX_BODY_BYTES
    )
    app[_CONTROLS] = controls
    app[_LATENCIES] = Latencies(controls.reader)
    app[_REGISTRY] = registry(controls, app[_LATENCIES])
    app.add_routes([web.route(e.method, e.path, e.handler) for e in ENDPOINTS])
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET":
            app.router.add_head(endpoint.path, endpoint.handler)
    app.on_response_prepare.append(_common_headers)
    app.cleanup_ctx.append(_gathering)
    return app


async def start(controller: Controls, sock: socket.socket) -> web.AppRunner:
    """Serve the admin API on a listening socket; `await runner.cleanup()` ends it."""
    runner = web.AppRunner(application(controller), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    return runner


# --- around every request


@web.middleware
async def _no_browser_commands(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method == "POST" and "Origin" in request.headers:
        raise RefusalError(
            403, "browser", "commands from web pages are refused; use `understudy`, or curl, without Origin"
        )
    return await handler(request)


@web.middleware
async def _store_refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except StoreError as error:
        raise RefusalError(503, "store", f"nothing has changed: {error}") from error


async def _common_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"


async def _gathering(app: web.Application) -> AsyncIterator[None]:
    """Gather latencies from the ledger between scrapes: its lanes hold the last 16 seconds only."""
    controls, latencies = app[_CONTROLS], app[_LATENCIES]

    async def gather() -> None:
        while True:
            latencies.gather(controls.rows())
            await asyncio.sleep(GATHER_EVERY_S)

    task = asyncio.create_task(gather())
    task.add_done_callback(_tell_if_broken)
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([task])


def _tell_if_broken(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _LOG.error("latencies are gathered at scrapes alone from now on", error=repr(error), exc_info=error)


# --- reading


async def _index(_request: web.Request) -> web.Response:
    lines = "".join(f"<tr><td>{e.method}<td>{_link(e)}<td>{html.escape(e.text)}" for e in ENDPOINTS)
    return web.Response(
        text=f"<!doctype html><html lang=en><meta charset=utf-8><title>Understudy</title><h1>Understudy: admin API</h1>"
        f"<table><tr><th>Method<th>Path<th>Answers{lines}</table></html>",
        content_type="text/html",
    )


def _link(endpoint: Endpoint) -> str:
    path = html.escape(endpoint.path)
    return f'<a href="{path}">{path}</a>' if endpoint.method == "GET" and "{" not in path else path


async def _status(request: web.Request) -> web.Response:
    return _json(request.app[_CONTROLS].status())


async def _routes(request: web.Request) -> web.Response:
    return _json({"routes": request.app[_CONTROLS].routes()})


async def _route(request: web.Request) -> web.Response:
    return _json(_known(request))


async def _report(request: web.Request) -> web.Response:
    form = _choice(request, "format", ("json", "markdown"))
    route = _known(request)
    entries = await request.app[_CONTROLS].history(route["name"], REPORT_ENTRIES, None)
    if form == "markdown":
        return web.Response(text=markdown(route, entries), content_type="text/markdown", charset="utf-8")
    return _json({**route, "history": entries})


async def _history(request: web.Request) -> web.Response:
    limit = _whole(request, "limit", HISTORY_LIMIT, HISTORY_MOST)
    before = _whole(request, "before", None, None)
    name = _known(request)["name"]
    entries = await request.app[_CONTROLS].history(name, cast(int, limit), before)
    more = len(entries) == limit
    return _json({"entries": entries, "nextBefore": entries[-1]["id"] if more else None})


async def _config(request: web.Request) -> web.Response:
    controls = request.app[_CONTROLS]
    digest = controls.status()["config"]["digest"]
    if not digest:
        raise RefusalError(503, "not-ready", "no configuration is live yet")
    response = web.Response(text=controls.config_text, content_type="application/yaml", charset="utf-8")
    response.etag = str(digest)
    return response


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[_REGISTRY]), headers={"Content-Type": content_type})


async def _healthz(_request: web.Request) -> web.Response:
    return _json({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    controls = request.app[_CONTROLS]
    if controls.draining:
        raise RefusalError(503, "draining", "this process is about to end: send new connections elsewhere")
    if controls.ready:
        return _json({"status": "ready"})
    raise RefusalError(503, "not-ready", "no worker serves a configuration yet")


# --- commanding


async def _act(request: web.Request) -> web.Response:
    name, verb = request.match_info["name"], cast(Verb, request.path.rpartition("/")[2])
    options = await _options(request, _COMMANDS[verb].options)
    controls = request.app[_CONTROLS]
    try:
        return _json(await controls.act(name, verb, _actor(request), **options))
    except KeyError as error:
        raise unknown_route(name, _names(controls)) from error
    except IllegalEvent as error:
        raise RefusalError(409, "illegal-event", str(error), route=name, verb=verb) from error


async def _validate(request: web.Request) -> web.Response:
    try:
        text = (await request.read()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusalError(400, "not-utf-8", f"the body is not UTF-8 at byte {error.start}") from error
    problems = request.app[_CONTROLS].validate(text)
    return _json({"valid": not problems, "problems": problems})


async def _reload(request: web.Request) -> web.Response:
    await _options(request, {})
    answer = await request.app[_CONTROLS].reload(_actor(request))
    if answer["ok"]:
        return _json(answer)
    count = len(answer["problems"])
    detail = f"the configuration file has {count} problem{'s' * (count != 1)}; what runs stays as it was"
    raise RefusalError(422, "invalid-config", detail, **answer)


# --- reading a request


def _known(request: web.Request) -> Json:
    name, controls = request.match_info["name"], request.app[_CONTROLS]
    try:
        return controls.route(name)
    except KeyError as error:
        raise unknown_route(name, _names(controls)) from error


def _names(controls: Controls) -> list[str]:
    return [str(route["name"]) for route in controls.routes()]


def _actor(request: web.Request) -> str:
    given = "".join(c for c in request.headers.get(ACTOR_HEADER, "") if c.isprintable()).strip()
    return given[:MAX_ACTOR_CHARS] or f"api@{request.remote or 'unknown'}"


def _choice(request: web.Request, name: str, choices: tuple[str, ...]) -> str:
    value = request.query.get(name, choices[0])
    if value not in choices:
        raise RefusalError(400, "bad-parameter", f"{name}: {value!r} is not known; give one of {', '.join(choices)}")
    return value


def _whole(request: web.Request, name: str, default: int | None, most: int | None) -> int | None:
    value = request.query.get(name)
    if value is None:
        return default
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 19 else 0
    if number < 1 or (most is not None and number > most):
        limits = "of 1 and above" if most is None else f"from 1 to {most}"
        raise RefusalError(400, "bad-parameter", f"{name}: {value!r} is not usable; give a whole number {limits}")
    return number


async def _options(request: web.Request, known: dict[str, type]) -> dict[str, Any]:
    """The members of a JSON object in the body, if there is one; all of them are optional."""
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RefusalError(
            400, "malformed-json", f"the body is not JSON: {error}; send an object, or nothing"
        ) from error
    if not isinstance(value, dict):
        raise RefusalError(
            400, "malformed-json", f"the body is a JSON {type(value).__name__}; send an object, or nothing"
        )
    for name, member in value.items():
        if name not in known:
            options = ", ".join(known) or "none"
            detail = f"{name!r} is not an option of this command; its options are: {options}"
            raise RefusalError(400, "unknown-member", detail)
        if not isinstance(member, known[name]):
            raise RefusalError(400, "bad-member", f"{name}: {member!r} is not usable; give a {_WORDS[known[name]]}")
    return value


@dataclass(frozen=True, slots=True)
class _Command:
    """What a command does, and the members that its body may have."""

    text: str
    options: dict[str, type] = field(default_factory=dict)


_COMMANDS: Final[dict[Verb, _Command]] = {
    "promote": _Command('go one step further; body {"full": true}: all traffic to the candidate now', {"full": bool}),
    "abort": _Command('all traffic back to stable; body {"reason": "…"} for the journal', {"reason": str}),
    "pause": _Command("hold the rollout where it is; its guardrails go on"),
    "resume": _Command("go on after a pause"),
    "retry": _Command("begin again with a version that was aborted, with fresh evidence"),
}
_WORDS: Final[dict[type, str]] = {bool: "boolean (true or false)", str: "string"}


def _json(value: Any) -> web.Response:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return web.Response(text=text, content_type="application/json")


_ROUTE: Final = "/api/v1/routes/{name}"
ENDPOINTS: Final = (
    Endpoint("GET", "/", _index, "this list"),
    Endpoint(
        "GET",
        "/api/v1/status",
        _status,
        "the process, its workers, the endpoints of backends, a summary of each route",
    ),
    Endpoint("GET", "/api/v1/routes", _routes, "a summary of each route, in order of precedence"),
    Endpoint("GET", _ROUTE, _route, "one route: rollout, arms, metrics with evidence, sample ratio, pairs"),
    Endpoint("GET", f"{_ROUTE}/report", _report, "the same with its history; ?format=json (default) or markdown"),
    Endpoint("GET", f"{_ROUTE}/history", _history, "journal entries, newest first; ?limit=100&before=ID"),
    *(Endpoint("POST", f"{_ROUTE}/{verb}", _act, command.text) for verb, command in _COMMANDS.items()),
    Endpoint("GET", "/api/v1/config", _config, "the configuration that is live, as YAML with its digest as ETag"),
    Endpoint("POST", "/api/v1/config/validate", _validate, "every problem of the configuration in the body"),
    Endpoint("POST", "/api/v1/config/reload", _reload, "read the file again and say which generation workers hold"),
    Endpoint("GET", "/metrics", _metrics, "metrics for Prometheus (text or OpenMetrics, by Accept)"),
    Endpoint("GET", "/healthz", _healthz, "200 while this process lives"),
    Endpoint("GET", "/readyz", _readyz, "200 once workers serve a configuration, 503 before and while draining"),
)
