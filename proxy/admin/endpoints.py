"""The one table of endpoints, and their thin handlers.

Routes are made from the table, `GET /api/v1` shows it, the OpenAPI document is written from it, a test holds
`docs/admin-api.md` to it, and `access` reads in it which role a request needs.
"""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, cast

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from config.listeners.access import Role
from proxy.admin import captured, configured, documents, glancing, overview, process, recollection, recorded
from proxy.admin.dashboard import serving
from proxy.admin.events import NEWS, stream
from proxy.admin.feedback import NDJSON, Intake, Taken, Truths
from proxy.admin.handling import CONTROLS, PRINCIPAL, ROLE, actor, answer, known, names
from proxy.admin.parameters import (
    AbortOptions,
    EventsQuery,
    NoOptions,
    PageQuery,
    Parameters,
    PromoteOptions,
    RecordedQuery,
    ReportQuery,
    UndoOptions,
    VerifyQuery,
    WhyQuery,
    options,
    query,
)
from proxy.admin.problems import RefusalError, unknown_route
from proxy.admin.report import markdown
from proxy.admin.report_page import ALONE, html_page
from proxy.admin.surface import Json
from proxy.control.intent.file import Stale
from proxy.control.machine.rollout import IllegalEvent
from proxy.control.machine.verbs import Verb

REPORT_ENTRIES: Final = 200
REGISTRY: Final = web.AppKey("registry", CollectorRegistry)
OPENAPI: Final[web.AppKey[Callable[[], Json]]] = web.AppKey("openapi")
INTAKE: Final = web.AppKey("intake", Intake)
Needed = Role | Literal["public"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
YAML: Final = "application/yaml"
EVENTS: Final = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One line of the table: what a request for this method and path answers.

    `answer` is a model of JSON, or a media type; `also` are further media types, `takes` is the media type of a body
    that is no JSON, in place of `body` or beside it, `role` is the least that a request needs, and `problems` are the
    statuses of refusals that are its own.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    handler: Handler
    text: str
    answer: type[BaseModel] | str
    query: type[Parameters] | None = None
    body: type[BaseModel] | None = None
    takes: str = ""
    role: Needed = "viewer"
    also: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()


# --- reading


async def _index(_request: web.Request) -> web.Response:
    lines = "".join(f"<tr><td>{e.method}<td>{_link(e)}<td>{html.escape(e.text)}" for e in ENDPOINTS)
    return web.Response(
        text=f"<!doctype html><html lang=en><meta charset=utf-8><title>Understudy</title><h1>Understudy: admin API</h1>"
        f'<p><a href="/">To the dashboard</a></p>'
        f"<table><tr><th>Method<th>Path<th>Answers{lines}</table></html>",
        content_type="text/html",
    )


def _link(endpoint: Endpoint) -> str:
    path = html.escape(endpoint.path)
    return f'<a href="{path}">{path}</a>' if endpoint.method == "GET" and "{" not in path else path


async def _me(request: web.Request) -> web.Response:
    return answer({"name": request[PRINCIPAL], "role": request[ROLE], "actor": actor(request)})


async def _openapi(request: web.Request) -> web.Response:
    return answer(request.app[OPENAPI]())


async def _status(request: web.Request) -> web.Response:
    return answer(request.app[CONTROLS].status())


async def _routes(request: web.Request) -> web.Response:
    return answer({"routes": request.app[CONTROLS].routes()})


async def _route(request: web.Request) -> web.Response:
    return answer(known(request))


async def _report(request: web.Request) -> web.Response:
    form = query(request, ReportQuery).format
    route = known(request)
    entries = await request.app[CONTROLS].records.history(route["name"], REPORT_ENTRIES, None)
    if form == "markdown":
        return web.Response(text=markdown(route, entries), content_type="text/markdown", charset="utf-8")
    if form == "html":
        return web.Response(text=html_page(route, entries), content_type="text/html", charset="utf-8", headers=ALONE)
    return answer({**route, "history": entries})


async def _events(request: web.Request) -> web.StreamResponse:
    after = query(request, EventsQuery).after
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) < 19:
        after = int(last)
    if request.method == "HEAD":
        return web.Response(content_type=EVENTS)
    news = request.app[NEWS]
    if news.full:
        raise RefusalError(503, "too-many-listeners", "no more clients can listen: end one of those that do")
    return await stream(request, news, after)


async def _config(request: web.Request) -> web.Response:
    controls = request.app[CONTROLS]
    digest = controls.status()["config"]["digest"]
    if not digest:
        raise RefusalError(503, "not-ready", "no configuration is live yet")
    response = web.Response(text=controls.config_text, content_type=YAML, charset="utf-8")
    response.etag = str(digest)
    return response


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[REGISTRY]), headers={"Content-Type": content_type})


async def _healthz(_request: web.Request) -> web.Response:
    return answer({"status": "ok"})


async def _readyz(request: web.Request) -> web.Response:
    controls = request.app[CONTROLS]
    if controls.draining:
        raise RefusalError(503, "draining", "this process is about to end: send new connections elsewhere")
    if controls.ready:
        return answer({"status": "ready"})
    raise RefusalError(503, "not-ready", "no worker serves a configuration yet")


# --- commanding


async def _act(request: web.Request) -> web.Response:
    name, verb = request.match_info["name"], cast(Verb, request.path.rpartition("/")[2])
    given = await options(request, _COMMANDS[verb][1])
    controls = request.app[CONTROLS]
    try:
        return answer(await controls.act(name, verb, actor(request), **given))
    except KeyError as error:
        raise unknown_route(name, names(controls)) from error
    except IllegalEvent as error:
        raise RefusalError(409, "illegal-event", str(error), route=name, verb=verb) from error


async def _validate(request: web.Request) -> web.Response:
    problems = await request.app[CONTROLS].validate(await _text(request))
    return answer({"valid": not problems, "problems": problems})


async def _replace(request: web.Request) -> web.Response:
    if "If-Match" not in request.headers:
        detail = "say with If-Match which configuration this one replaces: the ETag of GET, or * for any"
        raise RefusalError(428, "precondition", detail)
    known = [tag.value for tag in request.if_match or () if not tag.is_weak]
    controls = request.app[CONTROLS]
    try:
        found = await controls.replace(await _text(request), actor(request), None if "*" in known else known)
    except Stale as error:
        raise RefusalError(412, "stale", str(error)) from error
    response = _live(found)
    response.etag = str(controls.status()["config"]["digest"])
    return response


async def _feedback(request: web.Request) -> web.Response:
    return answer(await request.app[INTAKE].take(request))


async def _reload(request: web.Request) -> web.Response:
    await options(request, NoOptions)
    return _live(await request.app[CONTROLS].reload(actor(request)))


def _live(found: Json) -> web.Response:
    if found["ok"]:
        return answer(found)
    count = len(found["problems"])
    detail = f"the configuration file has {count} problem{'s' * (count != 1)}; what runs stays as it was"
    raise RefusalError(422, "invalid-config", detail, **found)


# --- reading a request


async def _text(request: web.Request) -> str:
    try:
        return (await request.read()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusalError(400, "not-utf-8", f"the body is not UTF-8 at byte {error.start}") from error


_COMMANDS: Final[dict[Verb, tuple[str, type[Parameters]]]] = {
    "promote": (
        'go one step further; body {"full": true}: all traffic to the candidate now, '
        'or to the "candidate" that is named',
        PromoteOptions,
    ),
    "abort": (
        'all traffic back to stable, or with {"candidate": "NAME"} that of this one of several; '
        'body {"reason": "…"} for the journal',
        AbortOptions,
    ),
    "pause": ("hold the rollout where it is; its guardrails go on", NoOptions),
    "resume": ("go on after a pause", NoOptions),
    "retry": ("begin again with a version that was aborted, with fresh evidence", NoOptions),
    "undo": ('after a promotion: all traffic back to the version before; body {"reason": "…"}', UndoOptions),
}
_ROUTE: Final = "/api/v1/routes/{name}"
ENDPOINTS: Final = (
    Endpoint("GET", "/", serving.shell, "the dashboard", "text/html", role="public"),
    Endpoint("GET", "/dashboard/{file}", serving.file, "its files, without data", "text/javascript",
             also=("text/css", "text/html", "image/svg+xml"), role="public"),
    Endpoint("GET", "/api/v1", _index, "this list", "text/html"),
    Endpoint("GET", "/api/v1/me", _me, "who asks, and what they may do", process.Me),
    Endpoint("GET", "/api/v1/openapi.json", _openapi, "this API as an OpenAPI document", "application/json"),
    Endpoint(
        "GET",
        "/api/v1/status",
        _status,
        "the process, its workers, the endpoints of backends, a summary of each route",
        process.Status,
    ),
    Endpoint(
        "GET", "/api/v1/overview", overview.overview,
        "all routes at a glance, those that need somebody first, and what is wrong", glancing.Overview,
    ),
    Endpoint("GET", "/api/v1/routes", _routes, "a summary of each route, in order of precedence", documents.Routes),
    Endpoint(
        "GET", _ROUTE, _route, "one route: rollout, arms, metrics with evidence, sample ratio, pairs", documents.Route
    ),
    Endpoint(
        "GET", f"{_ROUTE}/report", _report, "the same with its history; ?format=json (default), markdown or html",
        documents.Report, query=ReportQuery, also=("text/markdown", "text/html"), problems=(503,),
    ),
    Endpoint(
        "GET", f"{_ROUTE}/course", overview.course, "weight, requests, errors and p99 since the controller began",
        glancing.CourseDocument,
    ),
    Endpoint(
        "GET",
        f"{_ROUTE}/history",
        recollection.history,
        "journal entries of a route, newest first; ?limit=100&before=ID",
        documents.Page,
        query=PageQuery,
        problems=(503,),
    ),
    Endpoint(
        "GET", f"{_ROUTE}/why", recollection.why,
        "what a decision was made on, and whether it follows from that now; ?entry=ID",
        recorded.Why, query=WhyQuery, problems=(503,),
    ),
    Endpoint(
        "GET", f"{_ROUTE}/recordings", recollection.recordings, "the rollouts of a route whose evidence is recorded",
        recorded.Recordings, problems=(503,),
    ),
    Endpoint(
        "GET", f"{_ROUTE}/recordings/{{run}}", recollection.recorded, "recorded evidence, for a backtest; ?after=ID",
        recorded.RecordedPage, query=RecordedQuery, problems=(503,),
    ),
    Endpoint(
        "GET", f"{_ROUTE}/captures", captured.captures,
        "captured requests of a route, newest first; ?kind=disagreement&limit=20&before=ID",
        captured.Captures, query=captured.CapturesQuery, problems=(503,), role="operator",
    ),
    Endpoint(
        "DELETE", f"{_ROUTE}/captures", captured.forget,
        "take away all that was captured of a route, and say so in the journal",
        captured.Forgotten, problems=(503,), role="operator",
    ),
    *(
        Endpoint("POST", f"{_ROUTE}/{verb}", _act, text, documents.Route, body=body, problems=(409, 503),
                 role="operator")
        for verb, (text, body) in _COMMANDS.items()
    ),
    Endpoint(
        "GET", "/api/v1/journal", recollection.journal,
        "journal entries of all routes, newest first; ?limit=100&before=ID",
        documents.Page, query=PageQuery,
    ),
    Endpoint(
        "GET", "/api/v1/journal/verify", recollection.verify,
        "whether the chain of the journal holds; ?expect=HASH must be in it",
        recorded.Verified, query=VerifyQuery,
    ),
    Endpoint(
        "GET", "/api/v1/events", _events, "what happens, as server-sent events; Last-Event-ID or ?after=ID goes on",
        EVENTS, query=EventsQuery,
    ),
    Endpoint(
        "PUT", "/api/v1/config", _replace, "write the configuration file; If-Match says which one it replaces",
        configured.Reloaded, takes=YAML, problems=(412, 422, 428), role="admin",
    ),
    Endpoint(
        "GET",
        "/api/v1/config",
        _config,
        "the configuration that is live, as YAML with its digest as ETag",
        YAML,
        problems=(503,),
    ),
    Endpoint(
        "POST",
        "/api/v1/config/validate",
        _validate,
        "every problem of the configuration in the body",
        configured.Validation,
        takes=YAML,
        role="admin",
    ),
    Endpoint(
        "POST",
        "/api/v1/config/reload",
        _reload,
        "read the file again and say which generation workers hold",
        configured.Reloaded,
        body=NoOptions,
        problems=(422,),
        role="admin",
    ),
    Endpoint(
        "POST", "/api/v1/feedback", _feedback, "what turned out true of answers, by their x-understudy-id",
        Taken, body=Truths, takes=NDJSON, role="feedback", problems=(408, 503),
    ),
    Endpoint("GET", "/metrics", _metrics, "metrics for Prometheus (text or OpenMetrics, by Accept)", "text/plain",
             also=("application/openmetrics-text",)),
    Endpoint("GET", "/healthz", _healthz, "200 while this process lives", documents.Health, role="public"),
    Endpoint("GET", "/readyz", _readyz, "200 once workers serve a configuration, 503 before and while draining",
             documents.Health, problems=(503,), role="public"),
)  # fmt: skip
