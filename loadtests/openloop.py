"""A fixed rate of requests, and latency counted from the moment when each was meant to start.

    python -m loadtests.openloop --port 8080 --rate 2000 --seconds 5

A generator that waits for slow answers before it sends more hides the requests that it did not send (coordinated
omission). Here the kernel keeps the schedule: a timerfd expires `rate` times a second, every expiration is one
request, and what finds no free connection waits in a queue with its clock running. Answers that have not come by
the end count with their age, and as errors. uvloop's own timers are exact to 1 ms only, hence the timerfd.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import math
import os
import struct
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import monotonic_ns
from typing import Final

import httptools
import uvloop

from loadtests.cases import KEY_HEADER, PLAIN, TARGET, USERS

CONNECTIONS: Final = 64
PATIENCE_S: Final = 2.0
"""How long answers are waited for after the last request."""
_CLOCK_MONOTONIC: Final = 1
_TIMER_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE: Final = 1


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles in microseconds. `late_p99_us` is how late the generator itself sent: noise of the measurement."""

    sent: int
    errors: int
    p50_us: float
    p99_us: float
    p999_us: float
    late_p99_us: float


class Connection(asyncio.Protocol):
    """One keep-alive connection to the proxy, with at most one request under way."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._intended_ns = 0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def send(self, request: bytes, intended_ns: int) -> None:
        """Send one request that was meant to start at a time of the monotonic clock."""
        self._intended_ns = intended_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        intended_ns, self._intended_ns = self._intended_ns, 0
        self._generator.answered(intended_ns, self._parser.get_status_code())
        if self._parser.should_keep_alive():
            self._generator.free(self)
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The request under way has failed."""
        if self._intended_ns:
            self._generator.answered(self._intended_ns, 0)
        self._generator.lost(self)

    def abandoned_ns(self) -> int:
        """The intended start of a request that never got its answer, else 0."""
        return self._intended_ns


class Generator:
    """The schedule, the connections and what came of them."""

    def __init__(self, port: int, rate: int, seconds: float, connections: int = CONNECTIONS) -> None:
        self._port, self._connections = port, connections
        self._interval_ns = 1_000_000_000 // rate
        self._total = int(rate * seconds)
        self._requests = [_request(port, user) for user in range(USERS)]
        self._start_ns = self._due = self._sent = self._errors = 0
        self._done = asyncio.Event()
        self._waiting: deque[int] = deque()
        self._free: list[Connection] = []
        self._open: set[Connection] = set()
        self._dialling: set[asyncio.Task[None]] = set()
        self._latencies_ns: list[int] = []
        self._late_ns: list[int] = []

    async def run(self) -> Latency:
        """Send all requests, wait for the answers, and say how long they took."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(self._dial() for _ in range(self._connections)))
        if not self._free:
            raise ConnectionError(f"nobody listens on 127.0.0.1:{self._port}")
        self._start_ns = monotonic_ns() + 50_000_000
        timer = _timer(self._start_ns, self._interval_ns)
        loop.add_reader(timer, self._tick, timer)
        last_s = self._total * self._interval_ns / 1e9
        try:
            await asyncio.wait_for(self._done.wait(), last_s + PATIENCE_S)
        except TimeoutError:
            self._give_up()
        finally:
            loop.remove_reader(timer)
            os.close(timer)
        return latency_of(self._latencies_ns, self._late_ns, self._total, self._errors)

    def answered(self, intended_ns: int, status: int) -> None:
        """One request has ended; status 0 if without an answer."""
        self._latencies_ns.append(monotonic_ns() - intended_ns)
        self._errors += status != 200
        if len(self._latencies_ns) == self._total:
            self._done.set()

    def free(self, connection: Connection) -> None:
        """A connection can take the next request: the one that waits longest, if any."""
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._free.append(connection)

    def lost(self, connection: Connection) -> None:
        """A connection is gone; another takes its place."""
        self._open.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if len(self._latencies_ns) < self._total:
            task = asyncio.get_running_loop().create_task(self._dial())
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._port)
        except OSError:
            return
        self._open.add(connection)
        self.free(connection)

    def _tick(self, timer: int) -> None:
        (expired,) = struct.unpack("=Q", os.read(timer, 8))
        for number in range(self._due, min(self._due + expired, self._total)):
            intended_ns = self._start_ns + number * self._interval_ns
            if self._free:
                self._send(self._free.pop(), intended_ns)
            else:
                self._waiting.append(intended_ns)
        self._due += expired

    def _send(self, connection: Connection, intended_ns: int) -> None:
        self._late_ns.append(monotonic_ns() - intended_ns)
        connection.send(self._requests[self._sent % USERS], intended_ns)
        self._sent += 1

    def _give_up(self) -> None:
        now_ns = monotonic_ns()
        unanswered = [*self._waiting, *filter(None, (one.abandoned_ns() for one in self._open))]
        self._latencies_ns += [now_ns - intended_ns for intended_ns in unanswered]
        self._errors += len(unanswered)


def latency_of(latencies_ns: Sequence[int], late_ns: Sequence[int], sent: int, errors: int) -> Latency:
    """The quantiles of all latencies."""
    ordered, late = sorted(latencies_ns), sorted(late_ns)
    p50_us, p99_us, p999_us = (quantile(ordered, q) / 1000 for q in (0.5, 0.99, 0.999))
    return Latency(sent, errors, p50_us, p99_us, p999_us, quantile(late, 0.99) / 1000)


def quantile(ordered: Sequence[int], q: float) -> int:
    """The smallest value that at least a share `q` of the sorted values do not exceed; 0 of none."""
    return ordered[max(math.ceil(q * len(ordered)), 1) - 1] if ordered else 0


def _request(port: int, user: int) -> bytes:
    head = f"POST {TARGET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{KEY_HEADER}: u{user}\r\n"
    body = "x" * PLAIN.request_bytes
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


def _timer(first_ns: int, interval_ns: int) -> int:
    """A timerfd that expires first at a time of the monotonic clock, and then at every interval."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(_CLOCK_MONOTONIC, _TIMER_FLAGS)
    spec = (ctypes.c_long * 4)(*divmod(interval_ns, 10**9), *divmod(first_ns, 10**9))
    if timer < 0 or libc.timerfd_settime(timer, _ABSOLUTE, ctypes.byref(spec), None):
        raise OSError(ctypes.get_errno(), "no timerfd")
    return timer


def main() -> None:
    """Print the latency as JSON."""
    parser = argparse.ArgumentParser(prog="openloop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=int, default=2000, help="requests per second")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args()
    generator = Generator(options.port, options.rate, options.seconds, options.connections)
    json.dump(asdict(uvloop.run(generator.run())), sys.stdout)


if __name__ == "__main__":
    main()
