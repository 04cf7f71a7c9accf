"""The aiohttp application: what is around every request, and `start`.

Who gave a command is the header `x-understudy-actor`, else `api@<peer address>`. It is a name for the journal and no
authentication: whoever can reach the address may command, which is why it is 127.0.0.1 unless the file says
otherwise. Pages that a browser shows may not: they cannot leave the `Origin` header out, and commands with one are
refused, so that no web page can promote a version behind its visitor's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from proxy.admin import openapi
from proxy.admin.endpoints import CONTROLS, ENDPOINTS, OPENAPI, REGISTRY
from proxy.admin.exposition import registry
from proxy.admin.latency import GATHER_EVERY_S, Latencies
from proxy.admin.problems import MAX_BODY_BYTES, RefusalError, one_shape
from proxy.admin.surface import Controls
from proxy.control.store import StoreError

SHUTDOWN_TIMEOUT_S: Final = 2.0
"""What a stopping controller waits for admin requests; the data plane does not notice it."""

_LATENCIES: Final = web.AppKey("latencies", Latencies)
_LOG = structlog.get_logger("understudy.admin")


def application(controls: Controls) -> web.Application:
    """The admin API over a controller."""
    app = web.Application(
        middlewares=[one_shape, _store_refusals, _no_browser_commands], client_max_size=MAX_BODY_BYTES
    )
    app[CONTROLS] = controls
    app[_LATENCIES] = Latencies(controls.reader)
    app[REGISTRY] = registry(controls, app[_LATENCIES])
    app[OPENAPI] = openapi.document(ENDPOINTS, controls.status()["version"])
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
    controls, latencies = app[CONTROLS], app[_LATENCIES]

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
