"""A model server that speaks WebSocket (the `websockets` package), in a process of its own.

    python -m tests.support.socket_server --port 9000 --name v1

It greets with its name and the subprotocol, and sends each message back. Text is a command where it begins with `!`:
`!close CODE REASON`, `!flood COUNT BYTES` (that many messages), `!silent` (it reads no more). `/refuse` is answered
403, and what is no upgrade 426.
"""

from __future__ import annotations

import argparse
import asyncio
import http
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

MAX_BYTES = 32 << 20


async def converse(socket: ServerConnection, name: str) -> None:
    """Greet, then echo."""
    await socket.send(f"{name} {socket.subprotocol or '-'}")
    async for message in socket:
        if not isinstance(message, str) or not message.startswith("!"):
            await socket.send(message)
            continue
        command, *words = message[1:].split()
        if command == "close":
            await socket.close(int(words[0]), words[1])
        elif command == "flood":
            for _ in range(int(words[0])):
                await socket.send(b"x" * int(words[1]))
        elif command == "silent":
            socket.transport.pause_reading()


def refuse(socket: ServerConnection, request: Request) -> Response | None:
    """403 where that is asked for."""
    if request.path.startswith("/refuse"):
        return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", Headers({"Content-Length": "2"}), b"no")
    return None


def choose(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """The first that is known; a client need not offer any."""
    return next((one for one in offered if one in ("model.v1", "model.v2")), None)


async def main(port: int, name: str) -> None:
    async with serve(
        lambda socket: converse(socket, name),
        "127.0.0.1",
        port,
        process_request=refuse,
        select_subprotocol=choose,
        max_size=MAX_BYTES,
        compression=None,
    ) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="model")
    options = parser.parse_args()
    asyncio.run(main(options.port, options.name))
