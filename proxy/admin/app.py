"""The aiohttp application: what is around every request, and `start`.

Who gave a command is the name of the credential, and beside it what the header `x-understudy-actor` says, which
proves nothing; where no credential is asked for it is the header alone, else `api@<peer address>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import cache
from typing import Any, Final

import structlog
from aiohttp import web

from proxy.admin import openapi
from proxy.admin.access import Access
from proxy.admin.door import Door
from proxy.admin.endpoints import ENDPOINTS, INTAKE, OPENAPI, REGISTRY
from proxy.admin.events import NEWS, News
from proxy.admin.exposition import registry
from proxy.admin.feedback import Intake
from proxy.admin.handling import CONTROLS
from proxy.admin.latency import GATHER_EVERY_S, Latencies
from proxy.admin.overview import OVERVIEW, Overview
from proxy.admin.pages import PLAIN
from proxy.admin.problems import MAX_BODY_BYTES, RefusalError, one_shape
from proxy.admin.pulse import Pulse
from proxy.admin.surface import Controls
from proxy.control.storage.errors import StoreError

SHUTDOWN_TIMEOUT_S: Final = 2.0
"""What a stopping controller waits for admin requests; the data plane does not notice it."""
FIRST_GATHER_S: Final = 0.5
"""How often it is looked whether there are routes by now."""
_LOG = structlog.get_logger("understudy.admin")


def application(controls: Controls, environ: Mapping[str, str] = os.environ) -> web.Application:
    """The admin API over a controller. `environ` has the tokens that the configuration looks for there."""
    app = web.Application(
        middlewares=[one_shape, _store_refusals, Access(environ).check], client_max_size=MAX_BODY_BYTES
    )
    app[CONTROLS], app[NEWS], app[INTAKE] = controls, News(controls), Intake(controls.feedback)
    latencies = Latencies(controls.reader)
    app[REGISTRY], app[OVERVIEW] = registry(controls, latencies), Overview(controls, pulse := Pulse())
    # Written when somebody asks for it, which few ever do: it takes a thirtieth of the time in which this starts.
    described: Callable[[], openapi.Json] = cache(lambda: openapi.document(ENDPOINTS, controls.status()["version"]))
    app[OPENAPI] = described
    app.add_routes([web.route(e.method, e.path, e.handler) for e in ENDPOINTS])
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET":
            app.router.add_head(endpoint.path, endpoint.handler)
    app.on_response_prepare.append(_common_headers)
    app.cleanup_ctx.append(_beside(lambda: _gather(controls, latencies, pulse)))
    app.cleanup_ctx.append(_beside(app[NEWS].follow))
    app.on_shutdown.append(_end_streams)
    return app


async def start(controls: Controls, sock: socket.socket, environ: Mapping[str, str] = os.environ) -> web.AppRunner:
    """Serve the admin API on a listening socket; `await runner.cleanup()` ends it."""
    app = application(controls, environ)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    door = Door(runner, controls, sock)
    app.cleanup_ctx.append(_beside(door.follow))
    await runner.setup()
    await door.look()
    return runner


# --- around every request


@web.middleware
async def _store_refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except StoreError as error:
        raise RefusalError(503, "store", f"nothing has changed: {error}") from error


async def _common_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """No page of another origin may hold, embed or read what is answered, and no cache keeps it."""
    headers = response.headers
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("Content-Security-Policy", PLAIN)
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Referrer-Policy"] = "same-origin"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = "DENY"


def _beside(work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Something that goes on for as long as the application runs."""

    async def beside(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(work())
        task.add_done_callback(_tell_if_broken)
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])

    return beside


async def _gather(controls: Controls, latencies: Latencies, pulse: Pulse) -> None:
    """Gather latencies from the ledger between scrapes: its lanes hold the last 16 seconds only."""
    while True:
        latencies.gather(controls.rows())
        pulse.beat(time.time(), latencies.take(), controls.routes())
        await asyncio.sleep(GATHER_EVERY_S if pulse.has_begun else FIRST_GATHER_S)


async def _end_streams(app: web.Application) -> None:
    app[NEWS].close()


def _tell_if_broken(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _LOG.error("a part of the admin API ended", error=repr(error), exc_info=error)
