"""A model for what the quick upstream cannot do: bodies of any size, streams, failures, answers cut off.

    python -m loadtests.model

It prints one JSON line with its port under every role's name. What a request gets is what its `x-want` asks for:
`digest` length and SHA-256 of its body, `body N` or `chunks N` so many bytes, `stream N` so many tokens, one every
20 ms, `fail` a 500, `cut` half an answer; anything else is an Open Inference V2 answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Final

import uvloop
from aiohttp import web

from loadtests.upstream import ROLES, answer

WANT_HEADER: Final = "x-want"
BLOCK_BYTES: Final = 1 << 20
TOKEN_S: Final = 0.02
_FILL: Final = hashlib.shake_256(b"understudy").digest(BLOCK_BYTES - 8)
_V2: Final = answer(0).partition(b"\r\n\r\n")[2]


def blocks(length: int) -> Iterator[bytes]:
    """A body of so many bytes; no two blocks are the same, so that a lost, doubled or moved one changes the hash."""
    for number in range(-(-length // BLOCK_BYTES)):
        yield (number.to_bytes(8, "big") + _FILL)[: length - number * BLOCK_BYTES]


async def handle(request: web.Request) -> web.StreamResponse:
    """One request."""
    want, _, number = request.headers.get(WANT_HEADER, "").partition(" ")
    digest, length = hashlib.sha256(), 0
    async for data in request.content.iter_any():
        length += len(data)
        if want == "digest":
            digest.update(data)
    match want:
        case "digest":
            return web.json_response({"bytes": length, "sha256": digest.hexdigest()})
        case "body" | "chunks":
            return await _give(request, int(number), chunked=want == "chunks")
        case "stream":
            return await _stream(request, int(number))
        case "fail":
            return web.Response(status=500, text="the model failed as it was asked to")
        case "cut":
            return await _cut(request)
        case _:
            return web.Response(body=_V2, content_type="application/json")


async def _give(request: web.Request, length: int, *, chunked: bool) -> web.StreamResponse:
    response = web.StreamResponse()
    if not chunked:
        response.content_length = length
    await response.prepare(request)
    for block in blocks(length):
        await response.write(block)
    await response.write_eof()
    return response


async def _stream(request: web.Request, tokens: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for number in range(tokens):
        await response.write(b"data: %d\n\n" % number)
        await asyncio.sleep(TOKEN_S)
    await response.write_eof()
    return response


async def _cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = 2 * len(_V2)
    await response.prepare(request)
    await response.write(_V2)
    if request.transport is not None:
        request.transport.abort()
    return response


async def serve() -> None:
    """Listen on a free port, say which, and serve until killed."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=600, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    port = runner.addresses[0][1]
    print(json.dumps(dict.fromkeys(ROLES, port)), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
