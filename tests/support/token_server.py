"""A server of chat completions that streams tokens as server-sent events, for real OpenAI clients.

    python -m tests.support.token_server [--name v1]

It says its port on standard output. Tokens are `gapMs` of the request's `metadata` apart, 50 by default.
"""

from __future__ import annotations

import argparse
import asyncio
import json

from aiohttp import web

TOKENS = ["All", " the", " world", "'s", " a", " stage", ","]


async def complete(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    gap_s = float((asked.get("metadata") or {}).get("gapMs", "50")) / 1000
    frame = {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": asked["model"]}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": "".join(TOKENS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({**frame, "object": "chat.completion", "choices": [choice]})
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    for token in TOKENS:
        choice = {"index": 0, "delta": {"content": token}, "finish_reason": None}
        await answer.write(b"data: " + json.dumps({**frame, "choices": [choice]}).encode() + b"\n\n")
        await asyncio.sleep(gap_s)
    await answer.write(b"data: [DONE]\n\n")
    return answer


async def serve() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="tokens")
    parser.parse_args()
    asyncio.run(serve())
