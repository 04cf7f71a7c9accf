"""A model server for system tests: Open Inference Protocol V2 over REST, in a process of its own, quick and steerable.

    python -m tests.support.model_server --port 9000 --name v1

`POST /control` with JSON changes how it behaves: `delayMs` (each answer waits), `failEvery` (each Nth inference
answers 500, 0 for never), `flipEvery` (each Nth answers label "dog" for "cat"), `flipShare` (so does that share of the
answers, drawn anew for each), `labelled` (a text before each label), `hang` (inferences are never answered), `nan`
(each score is NaN, written as such). What it answers otherwise depends on the body of the request alone, so two servers
agree unless they are told not to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import zlib

import httptools
import uvloop

NAMES = {"delayMs": "delay_ms", "failEvery": "fail_every", "flipEvery": "flip_every", "flipShare": "flip_share"}


class Behaviour:
    """How the server behaves now, and what it has seen."""

    def __init__(self) -> None:
        self.delay_ms = 0.0
        self.fail_every = 0
        self.flip_every = 0
        self.flip_share = 0.0
        self.random = random.Random(7)
        self.labelled = ""
        self.hang = False
        self.nan = False
        self.seen = 0
        self.shadows = 0


class Connection(asyncio.Protocol):
    """One connection; requests are answered one after the other."""

    def __init__(self, behaviour: Behaviour, name: str) -> None:
        self._behaviour, self._name = behaviour, name
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._target = b""
        self._shadow = False

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._parser.feed_data(data)

    def on_message_begin(self):
        self._body, self._target, self._shadow = b"", b"", False

    def on_url(self, data):
        self._target += data

    def on_header(self, name, value):
        self._shadow |= name.lower() == b"x-understudy-shadow"

    def on_body(self, data):
        self._body += data

    def on_message_complete(self):
        behaviour = self._behaviour
        if self._target == b"/control":
            for key, value in json.loads(self._body or b"{}").items():
                setattr(behaviour, NAMES.get(key, key), value)
            self._answer(200, {"seen": behaviour.seen, "shadows": behaviour.shadows})
            return
        if self._target.endswith(b"/ready"):
            self._answer(200, {"ready": True})
            return
        behaviour.seen += 1
        behaviour.shadows += self._shadow
        if behaviour.hang:
            return
        status, answer = self._infer(behaviour)
        if behaviour.delay_ms:
            asyncio.get_running_loop().call_later(behaviour.delay_ms / 1000, self._answer, status, answer)
        else:
            self._answer(status, answer)

    def _infer(self, behaviour):
        if behaviour.fail_every and behaviour.seen % behaviour.fail_every == 0:
            return 500, {"error": "the model failed"}
        digest = zlib.crc32(self._body)
        label = "cat" if digest % 10 < 7 else "dog"
        if behaviour.flip_every and behaviour.seen % behaviour.flip_every == 0:
            label = "dog" if label == "cat" else "cat"
        if behaviour.flip_share and behaviour.random.random() < behaviour.flip_share:
            label = "dog" if label == "cat" else "cat"
        score = math.nan if behaviour.nan else (digest % 1000) / 1000
        return 200, {
            "model_name": self._name,
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [1], "data": [behaviour.labelled + label]},
                {"name": "score", "datatype": "FP32", "shape": [1], "data": [score]},
            ],
        }

    def _answer(self, status, answer):
        body = json.dumps(answer).encode()
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        if not self._transport.is_closing():
            self._transport.write(head + body)


async def serve(port: int, name: str) -> None:
    behaviour = Behaviour()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(behaviour, name), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="model")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.name))
