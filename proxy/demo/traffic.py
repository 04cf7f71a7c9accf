"""Users who send rows that no model was trained on, through the proxy, at a constant rate.

The loop is open: a request is sent when it is due, whether or not earlier ones were answered, and its latency counts
from when it was due, so that a stall shows in every request that it delayed.

    python -m proxy.demo.traffic --url URL [--rate PER_SECOND]      goes on until it is stopped
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
import uvloop

from proxy.demo.models import SEED, Rows, split
from proxy.demo.server import INPUT, MODEL, VERSION_HEADER
from proxy.demo.settings import USER_HEADER

USERS = 240
RATE = 200.0
TIMEOUT_S = 10.0
BACKEND_HEADER = "x-understudy-backend"
PATH = f"/v2/models/{MODEL}/infer"


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request.

    `sent_at` is seconds since 1970; `backend` the version that answered, as the proxy says, or empty; `by_model`
    whether a model server wrote the answer itself; `status` 0 where there was none.
    """

    user: str
    sent_at: float
    latency_s: float
    status: int
    backend: str
    by_model: bool
    right: bool

    @property
    def failed(self) -> bool:
        """Whether the client did not get what it asked for."""
        return self.status != 200


@dataclass(frozen=True, slots=True)
class Traffic:
    """An endless stream of requests; `record` is told what became of each."""

    url: str
    rows: Rows
    record: Callable[[Answered], None]
    rate: float = RATE
    users: int = USERS

    async def send(self) -> None:
        """Send until cancelled; requests that are on their way are then dropped."""
        draw = random.Random(SEED)  # noqa: S311  which user sends which row
        bodies = [_body(row) for row in self.rows.pixels.tolist()]
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            start_s = time.perf_counter()  # the clock of uvloop has steps of 1 ms
            for number in itertools.count():
                due_s = start_s + number / self.rate
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                user, row = f"user-{draw.randrange(self.users)}", draw.randrange(len(bodies))
                group.create_task(self._ask(session, user, bodies[row], str(self.rows.digits[row]), due_s))

    async def _ask(self, session: aiohttp.ClientSession, user: str, body: bytes, digit: str, due_s: float) -> None:
        sent_at, status, backend, by_model, right = time.time(), 0, "", False, False
        headers = {USER_HEADER: user, "Content-Type": "application/json"}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(self.url + PATH, data=body, headers=headers) as response:
                answer = await response.read()
                status = response.status
                backend = response.headers.get(BACKEND_HEADER, "")
                by_model = VERSION_HEADER in response.headers
                right = status == 200 and label(answer) == digit
        latency_s = time.perf_counter() - due_s
        self.record(Answered(user, sent_at, latency_s, status, backend, by_model, right))


def label(answer: bytes) -> str:
    """The label in an inference response, or nothing if it has none."""
    try:
        return str(next(output["data"][0] for output in json.loads(answer)["outputs"] if output["name"] == "label"))
    except (ValueError, LookupError, TypeError, StopIteration):
        return ""


def _body(row: Sequence[float]) -> bytes:
    tensor = {"name": INPUT, "shape": [1, len(row)], "datatype": "FP64", "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


def main(argv: list[str]) -> int:
    """Send until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m proxy.demo.traffic", description="users who send digits")
    parser.add_argument("--url", required=True, help="of the proxy, as http://host:port")
    parser.add_argument("--rate", type=float, default=RATE, help="requests per second")
    options = parser.parse_args(argv)
    uvloop.run(Traffic(options.url, split()[1], lambda _: None, options.rate).send())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
