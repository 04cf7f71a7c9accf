"""The model behind the proxies: as quick as Python gets, so that the proxies are what is measured.

    python -m loadtests.upstream

It prints one JSON line with its ports: `stable`, `canary` and `shadow` answer inferences, `control` answers how many
requests each of them has had, which shows that a peer really splits and copies. Every answer is a valid Open Inference
V2 answer of 150 bytes, or as long as the request's body where that has over 1 KiB. Bodies are counted, not kept.
"""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Final

import uvloop

ROLES: Final = ("stable", "canary", "shadow")
LARGE_BYTES: Final = 1024
_OPEN: Final = b'{"model_name":"m","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[3]}'
_CLOSE: Final = b',{"name":"score","datatype":"FP32","shape":[1],"data":[0.93]}]}'


@functools.lru_cache(maxsize=64)
def answer(request_bytes: int) -> bytes:
    """The whole answer to a request with a body of so many bytes; blanks in the JSON make up the length."""
    blanks = max(request_bytes - len(_OPEN) - len(_CLOSE), 0) if request_bytes > LARGE_BYTES else 0
    return _response(_OPEN + b" " * blanks + _CLOSE)


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One connection: requests with a Content-Length or without a body, pipelined or not."""

    def __init__(self, role: str, counts: dict[str, int]) -> None:
        self._role, self._counts = role, counts
        self._head = b""
        self._body_bytes = 0
        self._left_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete with this data."""
        while data:
            if self._left_bytes:
                taken = min(self._left_bytes, len(data))
                self._left_bytes -= taken
                data = data[taken:]
            else:
                data = self._take_head(self._head + data)
            if not self._left_bytes and not self._head:
                self._answer()

    def _take_head(self, data: bytes) -> bytes:
        """Read a request's head, if it is whole; returns what comes behind it."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
            return b""
        self._head = b""
        head = data[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        self._body_bytes = self._left_bytes = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        return data[end + 4 :]

    def _answer(self) -> None:
        if self._role == "control":
            self._transport.write(_response(json.dumps(self._counts).encode()))
            return
        self._counts[self._role] += 1
        self._transport.write(answer(self._body_bytes))


async def serve() -> None:
    """Listen on free ports, say which, and serve until killed."""
    loop = asyncio.get_running_loop()
    counts = dict.fromkeys(ROLES, 0)
    ports = {}
    for role in (*ROLES, "control"):
        server = await loop.create_server(functools.partial(Connection, role, counts), "127.0.0.1", 0, backlog=4096)
        ports[role] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
