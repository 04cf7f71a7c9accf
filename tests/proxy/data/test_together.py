"""All features at once, in any order of events: whatever happens, every request ends once and nothing is left behind.

`UNDERSTUDY_SEEDS=1000:3000` plays other seeds than the few of every day.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from proxy.data.backends.resolving import Names
from proxy.data.backends.upstream import Upstream
from proxy.data.logs import access_log
from proxy.data.routing.routing import Routing
from proxy.snapshot import (
    CIRCLE,
    AccessLog,
    Arm,
    Backend,
    Endpoint,
    Injection,
    Key,
    Mirror,
    Outliers,
    RateLimit,
    Retries,
    Segment,
    Snapshot,
)
from tests.support.plane import ROWS, Plane, PlayedBackend, PlayedClient, chunked, request
from tests.support.transports import settle
from tests.support.upgrades import UPGRADE

_FIRST, _, _LAST = os.environ.get("UNDERSTUDY_SEEDS", "0:60").partition(":")
SEEDS: Final = range(int(_FIRST), int(_LAST))
STEPS: Final = 120
NAMED: Final = re.compile(rb"<(\d+)>")
ASKED: Final = re.compile(rb"/(\d+) HTTP/1\.")
LONG_S: Final = 4000.0
ADDRESSES: Final = ("10.0.0.1", "10.0.0.2", "10.0.0.3")


class Person:
    """A client with what it still has to send, and the requests of which it is owed answers, in this order."""

    def __init__(self, played: PlayedClient) -> None:
        self.played = played
        self.transport = played.transport
        self.unsent: deque[bytes] = deque()
        self.owed: list[int] = []
        self.heard = b""
        self.ended = False

    def send(self) -> None:
        if self.unsent and not self.ended and self.transport.reading and not self.transport.lost:
            self.played.send(self.unsent.popleft())

    def end(self) -> None:
        """Half-close, as a socket does that is shut down for writing."""
        if not self.ended and not self.transport.lost:
            self.ended = True
            if not self.transport.protocol.eof_received():
                self.transport.close()

    def listen(self) -> None:
        """Every answer must be for a request of this client, in their order, and none may come twice."""
        self.heard += self.played.take()
        for found in NAMED.findall(self.heard):
            number = int(found)
            assert number in self.owed, f"an answer to {number}, which was answered already or is of somebody else"
            del self.owed[: self.owed.index(number) + 1]
        self.heard = self.heard[max(self.heard.rfind(b">") + 1, len(self.heard) - 20) :]


class Server:
    """A backend's end of a connection: answers come in pieces, and name the request that they are for."""

    def __init__(self, played: PlayedBackend) -> None:
        self.played = played
        self.transport = played.transport
        self.asked = b""
        self.tunnel = False
        self.unsent: deque[bytes] = deque()

    def serve(self, dice: random.Random) -> None:
        transport = self.transport
        self.asked += self.played.take()
        if transport.lost or not transport.reading:
            return
        if self.tunnel:
            self.played.transport.protocol.data_received(b"bytes")
            self.asked = b""
        elif not self.unsent and (numbers := ASKED.findall(self.asked)):
            whole = self.asked.partition(b"\r\n\r\n")
            assert len(numbers) == 1, "a second request on a connection that has not answered the first"
            if whole[1]:
                raw = _answer(dice, b"<%b>" % numbers[0], whole[0])
                self.tunnel = b" 101 " in raw
                self.unsent.extend([raw] if self.tunnel else pieces(dice, raw))
                self.asked = b""
        if self.unsent:
            self.played.answer(self.unsent.popleft())


def pieces(dice: random.Random, raw: bytes) -> list[bytes]:
    cuts = sorted({0, len(raw), *(dice.randrange(len(raw)) for _ in range(dice.choice((0, 0, 1, 3))))})
    return [raw[start:end] for start, end in pairwise(cuts)]


def _answer(dice: random.Random, name: bytes, head: bytes) -> bytes:
    if b"upgrade: websocket" in head and dice.random() < 0.7:
        return b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes"
    begin = b"HTTP/1.1 100 Continue\r\n\r\n" * (dice.random() < 0.2)
    status = dice.choice((200, 200, 200, 404, 500, 503))
    begin += b"HTTP/1.1 %d X\r\n" % status
    body = b"" if head.startswith(b"HEAD ") else name
    match dice.randrange(7):
        case 0:
            body = body and chunked(body, b"y" * 50)[:-2] + b"X-Sum: 1\r\n\r\n"
            return begin + b"Transfer-Encoding: chunked\r\n\r\n" + body
        case 1:
            return begin + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(name) + body
        case 2:
            return begin + b"\r\n" + body  # until the connection ends
        case 3 if dice.random() < 0.3:
            return b"\0\0\r\n"
        case 4 if body:
            return begin + b"Content-Length: 90\r\n\r\n" + body + b"z" * (90 - len(body))
        case _:
            return begin + b"Content-Length: %d\r\n\r\n" % len(name) + body


class World:
    """The played plane with people, servers, and everything that an operator may do."""

    def __init__(self, plane: Plane, dice: random.Random, folder: Path) -> None:
        self.plane, self.dice, self.folder = plane, dice, folder
        self.names = Names(self.look_up, lambda: 0.5)
        self.upstreams: set[Upstream] = set()
        self.people: list[Person] = []
        self.servers: dict[int, Server] = {}
        self.said = 0
        plane.context.routing = Routing(Snapshot(1), plane.writer, names=self.names)
        self.reload()

    async def look_up(self, host: str) -> tuple[str, ...]:
        return ADDRESSES[:2]

    def _backend(self, name: str) -> Backend:
        dice = self.dice
        endpoints = [Endpoint("10.1.0.1", 81), Endpoint("10.1.0.2", 81), Endpoint("models.test", 81)]
        return Backend(
            name,
            tuple(dice.sample(endpoints, dice.randint(1, 3))),
            max_connections=dice.choice((1, 2, 50)),
            max_pending=dice.choice((0, 1, 50)),
            max_requests=dice.choice((0, 0, 2)),
            outliers=dice.choice((None, Outliers(server_errors=2, ejection_s=3.0, interval_s=1.0))),
        )

    def reload(self) -> None:
        """Another file: of what a route can do anything may be on or off."""
        dice, plane = self.dice, self.plane
        if dice.random() < 0.5:
            plane.backends = [self._backend(name) for name in ("v1", "v2", "v3")]
        route = msgspec.structs.replace(
            plane.route,
            arms=(Arm(0, ROWS["v1"]), Arm(1, ROWS["v2"], mirrored=dice.random() < 0.5)),
            segments=(Segment(dice.choice((0, CIRCLE // 2)), 1), Segment(CIRCLE, 0)),
            mirrors=dice.choice(((), (Mirror(2, CIRCLE, ROWS["v3"], max_concurrency=dice.choice((1, 64))),))),
            retries=dice.choice(
                (
                    None,
                    Retries(2, ("5xx", "refused-stream"), methods=("GET", "POST"), base_interval_s=0.0, budget_floor=2),
                    Retries(3, ("5xx",), try_timeout_s=2.0, base_interval_s=0.002, budget_floor=50),
                )
            ),
            injection=dice.choice(
                (
                    None,
                    Injection(0.001, CIRCLE // 3, 503, CIRCLE // 5),
                    Injection(0.001, CIRCLE // 3, 503, CIRCLE // 5, backend=0),
                )
            ),
            rate_limits=dice.choice(((), (RateLimit(5, 1.0, 5, keys=(Key("sourceIp"),), max_keys=1),))),
            max_body_bytes=dice.choice((0, 0, 60)),
            first_byte_s=dice.choice((0.0, 1.0)),
            connect_timeout_s=0.01,
        )
        plane.route = route
        unhealthy = tuple((number, 0) for number in range(3) if dice.random() < 0.2)
        snapshot = Snapshot(
            plane.context.routing.generation + 1, tuple(plane.backends), (route,), unhealthy=unhealthy,
            listeners=(plane.listener,),
        )  # fmt: skip
        plane.context.routing = Routing(snapshot, plane.writer, plane.context.routing)
        self.upstreams.update(plane.context.routing.upstreams.values())
        log = dice.choice((None, AccessLog(str(self.folder / dice.choice("ab")), CIRCLE)))
        plane.context.note(access_log.adopt(log, plane.writer, plane.context.access_log))

    def say(self, person: Person) -> None:
        """A request of some kind, in pieces; now and then the next one in the same piece."""
        dice = self.dice
        raw = b""
        for _ in range(dice.choice((1, 1, 1, 2))):
            self.said += 1
            person.owed.append(self.said)
            raw += self._request(f"/{self.said}")
        person.unsent.extend(pieces(dice, raw))

    def _request(self, target: str) -> bytes:
        match self.dice.randrange(10):
            case 0:
                return request("HEAD", target)
            case 1:
                return request("POST", target, ("Transfer-Encoding: chunked",)) + chunked(b"a" * 30, b"b" * 40)
            case 2:
                return request("POST", target, ("Expect: 100-continue",), body=b"c" * 20)
            case 3:
                return request("GET", target, UPGRADE)
            case 4:
                return request("GET", target, version="1.0")
            case 5 if self.dice.random() < 0.2:
                return b"nonsense\r\n\r\n"
            case 6:
                return request("POST", target, body=b"d" * 300)
            case _:
                return request("GET", target)

    def serving(self) -> list[Server]:
        for made in self.plane.network.made.values():
            for played in made:
                self.servers.setdefault(id(played), Server(played))
        return [server for server in self.servers.values() if not server.transport.lost]

    async def step(self) -> None:
        dice, network = self.dice, self.plane.network
        alive = [person for person in self.people if not person.transport.lost]
        serving = self.serving()
        match dice.randrange(20):
            case 0 | 1 if len(alive) < 8:
                self.people.append(Person(self.plane.client(dice.choice((1 << 40, 1 << 40, 60)))))
            case 2 | 3 | 4 if alive:
                self.say(dice.choice(alive))
            case 5 | 6 | 7 | 8 if alive:
                dice.choice(alive).send()
            case 9 if alive and dice.random() < 0.3:
                dice.choice(alive).end()
            case 10 if alive and dice.random() < 0.3:
                dice.choice(alive).transport.lose(dice.choice((None, ConnectionResetError())))
            case 11 if alive:
                dice.choice(alive).transport.drain()
            case 12 | 13 | 14 | 15 if serving:
                dice.choice(serving).serve(dice)
            case 16 if serving and dice.random() < 0.5:
                server = dice.choice(serving)
                dice.choice((server.played.close, server.played.reset, server.transport.drain))()
            case 17:
                self.plane.sweep(dice.choice((0.0, 0.3, 2.0, 11.0)))
            case 18 if dice.random() < 0.3:
                network.refusing = {host for host in ("10.1.0.1", ADDRESSES[0]) if dice.random() < 0.3}
                network.silent = {host for host in ("10.1.0.2", ADDRESSES[1]) if dice.random() < 0.2}
                network.room = dice.choice((1 << 40, 100))
                for name in self.names._names.values():
                    name.learn(tuple(sorted(dice.sample(ADDRESSES, dice.randint(1, 3)))))
            case 19 if dice.random() < 0.3:
                self.reload()
        await settle(dice.randrange(4))
        if dice.random() < 0.03:
            await asyncio.sleep(0.004)  # what is delayed, or waits for another attempt, goes on
        for person in self.people:
            person.listen()

    async def end(self) -> None:
        """Nobody begins anything any more, and there is all the time in the world."""
        self.plane.context.draining = True
        await asyncio.sleep(0.02)
        for _ in range(6):
            await settle()
            for server in self.serving():
                server.transport.drain()
            for person in self.people:
                person.transport.drain()
                person.listen()
            self.plane.sweep(LONG_S)
            await asyncio.sleep(0.004)
        await settle()


@pytest.mark.parametrize("seed", SEEDS)
async def test_everything_ends_once(plane: Plane, tmp_path: Path, seed: int) -> None:
    """What a request leaves behind where features meet shows only when several things happen in some order: a client
    that hangs, a count that never comes back, a connection that is lent twice, an answer of somebody else."""
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    random.seed(seed)
    world = World(plane, random.Random(seed), tmp_path)
    for _ in range(STEPS):
        await world.step()
        assert not wrong, wrong
    await world.end()
    assert not wrong, wrong
    assert not plane.context.live
    assert plane.context.copies == 0
    assert not plane.registry
    assert plane.context.admission.total == 0
    assert not any(person.transport.lost is False for person in world.people)
    for upstream in world.upstreams:
        held = (upstream.copies, upstream.retrying, upstream.in_flight)
        assert held == (0, 0, 0), upstream.backend
    open_ = {id(server.transport) for server in world.serving()}
    kept = {id(c.transport) for u in world.upstreams for pool in u.pools for c in pool._connections}
    assert open_ == kept, "a connection that nobody holds, or one that is held and gone"
    for row in ROWS.values():
        if (totals := plane.reader.totals(0, row.index, row.tenant)) is not None:
            assert (totals.arrived, totals.lost) == (totals.finished, 0), row
            assert totals.failed <= totals.finished
    if plane.context.access_log is not None:
        plane.context.access_log.close(1.0)
    for name in list(world.names._names.values()):
        for follower in list(name.followers):
            world.names.leave(follower)
