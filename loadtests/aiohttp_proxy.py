"""The baseline: the proxy that a Python user would write first, with aiohttp on uvloop.

    python -m loadtests.aiohttp_proxy --port P --stable P --canary P

It sends a tenth of the users to the canary, always the same ones, and passes bodies on whole. It measures nothing and
compares nothing.
"""

from __future__ import annotations

import argparse
import zlib

import aiohttp
import uvloop
from aiohttp import web

from loadtests.cases import CANARY_PERCENT, KEY_HEADER

HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}
MAX_BODY_BYTES = 64 << 20


def application(stable: str, canary: str) -> web.Application:
    """The proxy in front of two base URLs."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)

    async def session(app: web.Application):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as app["session"]:
            yield

    async def forward(request: web.Request) -> web.Response:
        user = request.headers.get(KEY_HEADER, "")
        base = canary if zlib.crc32(user.encode()) % 100 < CANARY_PERCENT else stable
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = await request.read()
        url = base + request.path_qs
        async with request.app["session"].request(request.method, url, headers=headers, data=body) as upstream:
            answer = await upstream.read()
            kept = {name: value for name, value in upstream.headers.items() if name.lower() not in HOP_BY_HOP}
            return web.Response(status=upstream.status, headers=kept, body=answer)

    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="aiohttp_proxy")
    for name in ("port", "stable", "canary"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    uvloop.install()
    app = application(f"http://127.0.0.1:{options.stable}", f"http://127.0.0.1:{options.canary}")
    web.run_app(app, host="127.0.0.1", port=options.port, access_log=None, print=None)


if __name__ == "__main__":
    main()
