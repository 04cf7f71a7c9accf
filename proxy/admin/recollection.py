"""Handlers about the past: the journal, why a decision was made, and recorded evidence."""

from __future__ import annotations

from aiohttp import web

from proxy.admin.handling import CONTROLS, answer, known
from proxy.admin.parameters import PageQuery, RecordedQuery, VerifyQuery, WhyQuery, query
from proxy.admin.problems import RefusalError
from proxy.admin.surface import Json


async def history(request: web.Request) -> web.Response:
    """Entries of a route's journal."""
    asked = query(request, PageQuery)
    name = known(request)["name"]
    return _page(request, asked, await request.app[CONTROLS].records.history(name, asked.limit, asked.before))


def _page(request: web.Request, asked: PageQuery, entries: list[Json]) -> web.Response:
    before = entries[-1]["id"] if len(entries) == asked.limit and entries[-1]["id"] > 1 else None
    path = None if before is None else f"{request.rel_url.raw_path}?limit={asked.limit}&before={before}"
    return answer({"entries": entries, "nextBefore": before, "next": path})


async def journal(request: web.Request) -> web.Response:
    """Entries of the whole journal."""
    asked = query(request, PageQuery)
    return _page(request, asked, await request.app[CONTROLS].records.journal(asked.limit, asked.before))


async def why(request: web.Request) -> web.Response:
    """What a decision was made on."""
    entry = query(request, WhyQuery).entry
    name = known(request)["name"]
    found = await request.app[CONTROLS].records.why(name, entry)
    if found is not None:
        return answer(found)
    if entry is None:
        raise RefusalError(404, "no-decision", f"route {name}: nothing was decided on evidence yet", route=name)
    detail = f"route {name}: the journal has no entry {entry}; `understudy history {name}` lists what it has"
    raise RefusalError(404, "unknown-entry", detail, route=name)


async def recordings(request: web.Request) -> web.Response:
    """Which rollouts of a route are recorded."""
    return answer({"runs": await request.app[CONTROLS].records.recordings(known(request)["name"])})


async def recorded(request: web.Request) -> web.Response:
    """Rows of one of them."""
    after, run = query(request, RecordedQuery).after, request.match_info["run"]
    name = known(request)["name"]
    number = int(run) if run.isascii() and run.isdigit() and len(run) < 10 else 0
    page = await request.app[CONTROLS].records.recorded(name, number, after)
    if not page["rows"] and not after:
        detail = f"route {name} has no recording {run}: /api/v1/routes/{name}/recordings lists those that there are"
        raise RefusalError(404, "unknown-recording", detail, route=name)
    return answer(page)


async def verify(request: web.Request) -> web.Response:
    """Whether the chain of the journal holds."""
    return answer(await request.app[CONTROLS].records.verify(query(request, VerifyQuery).expect))
