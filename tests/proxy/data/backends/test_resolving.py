"""Names: asked for again and again, and what is kept when nobody answers. The resolver is played."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.data.backends import resolving
from proxy.data.backends.resolving import MAX_ADDRESSES, Name, Names, is_name, look_up
from tests.support.transports import settle

Said = pytest.CaptureFixture[str]


class Resolver:
    """Answers with what the test has put there: addresses, an error, or nothing at all."""

    def __init__(self, *answers: Sequence[str] | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


class Sleeper:
    """Takes the place of `asyncio.sleep` in the module: sleeps until the test wakes it."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._wake = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._wake.clear()
        await self._wake.wait()

    async def wake(self) -> None:
        self._wake.set()
        await turns()


async def turns() -> None:
    await settle(12)


@pytest.fixture
async def sleeper(monkeypatch: pytest.MonkeyPatch) -> Sleeper:
    sleeper = Sleeper()
    real = asyncio.sleep

    class Asyncio:
        """The module, with another sleep."""

        sleep = sleeper

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    assert real is not sleeper
    monkeypatch.setattr(resolving, "asyncio", Asyncio())
    return sleeper


class Follower:
    def __init__(self) -> None:
        self.changes = 0

    def __call__(self) -> None:
        self.changes += 1


def lines(said: Said, event: str) -> list[dict[str, Any]]:
    return [line for text in said.readouterr().err.splitlines() if (line := json.loads(text))["event"] == event]


GONE = socket.gaierror(-2, "Name or service not known")


async def test_changes_are_told_and_nothing_else(sleeper: Sleeper) -> None:
    """Requests would go to where nobody is any more; or every answer would cost connections."""
    resolver, follower = Resolver(["10.0.0.2", "10.0.0.1"], ["10.0.0.1", "10.0.0.2"], ["10.0.0.3"]), Follower()
    names = Names(resolver, lambda: 0.5)
    name = names.follow("m.test", 5.0, follower)
    assert name.addresses == ()
    await turns()
    assert (name.addresses, follower.changes) == (("10.0.0.1", "10.0.0.2"), 1)
    await sleeper.wake()
    assert follower.changes == 1
    await sleeper.wake()
    assert (name.addresses, follower.changes) == (("10.0.0.3",), 2)
    assert sleeper.slept == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("failure", [GONE, [], UnicodeError("label too long"), RuntimeError("can't start new thread")])
async def test_what_was_found_last_is_kept(sleeper: Sleeper, capsys: Said, failure: Any) -> None:
    """A resolver that restarts would take every model with it."""
    resolver, follower = Resolver(["10.0.0.1"], failure, failure, ["10.0.0.1"]), Follower()
    name = Names(resolver).follow("m.test", 5.0, follower)
    await turns()
    for _ in range(2):
        await sleeper.wake()
        assert name.addresses == ("10.0.0.1",)
        assert name.failure
    (line,) = lines(capsys, "name does not resolve")
    assert (line["name"], line["used"], line["level"]) == ("m.test", ["10.0.0.1"], "warning")
    await sleeper.wake()
    assert (name.failure, follower.changes) == ("", 1)
    assert len(lines(capsys, "name resolved")) == 1


async def test_a_name_that_never_resolved_is_asked_for_soon_again(sleeper: Sleeper) -> None:
    """A model server that is deployed a second after the proxy would wait for an hour."""
    name = Names(Resolver(GONE, ["10.0.0.1"]), lambda: 0.5).follow("m.test", 3600.0, Follower())
    assert await asyncio.wait_for(name.known(), 5) == ()
    assert name.failure == "name or service not known"
    assert sleeper.slept == [resolving.AGAIN_S]
    await sleeper.wake()
    assert await name.known() == ("10.0.0.1",)


async def test_a_resolver_that_hangs_is_told_and_not_asked_twice(
    sleeper: Sleeper, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question would take another thread, until there are no more; and requests would wait for each of them."""
    monkeypatch.setattr(resolving, "HANG_S", 0.001)
    resolver = Resolver(["10.0.0.1"], None)
    name = Names(resolver).follow("m.test", 5.0, Follower())
    await turns()
    await sleeper.wake()
    async with asyncio.timeout(5):
        while not name.failure:  # noqa: ASYNC110 - the name tells nobody of this
            await asyncio.sleep(0)
    assert name.addresses == ("10.0.0.1",)
    await asyncio.sleep(0.01)
    assert resolver.asked == ["m.test"] * 2
    assert len(lines(capsys, "name does not resolve")) == 1


async def test_a_name_is_asked_for_once_for_all_who_use_it(sleeper: Sleeper) -> None:
    """Ten backends of one service would ask ten times; the most eager of them says how often it is."""
    resolver, one, two = Resolver(["10.0.0.1"]), Follower(), Follower()
    names = Names(resolver, lambda: 0.5)
    assert names.follow("m.test", 60.0, one) is names.follow("m.test", 2.0, two)
    await turns()
    assert (one.changes, two.changes, resolver.asked) == (1, 1, ["m.test"])
    assert sleeper.slept == [2.0]
    names.leave(two)
    await sleeper.wake()
    assert sleeper.slept == [2.0, 60.0]
    names.leave(one)
    await sleeper.wake()
    assert resolver.asked == ["m.test"] * 2


async def test_intervals_differ(sleeper: Sleeper) -> None:
    """All workers of all proxies would ask at the same moment."""
    for draw, slept_s in ((0.0, 9.0), (1.0, 11.0)):
        names = Names(Resolver(["10.0.0.1"]), lambda draw=draw: draw)  # type: ignore[misc]
        names.follow("m.test", 10.0, Follower())
        await turns()
        assert sleeper.slept[-1] == pytest.approx(slept_s)


async def test_no_more_addresses_than_a_worker_can_bear(sleeper: Sleeper, capsys: Said) -> None:
    """An answer made up by somebody else would take all memory and descriptors."""
    many = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
    name = Names(Resolver(many)).follow("m.test", 5.0, Follower())
    await turns()
    assert len(name.addresses) == MAX_ADDRESSES
    assert lines(capsys, "name has too many addresses")


async def test_an_end_that_nobody_meant_is_told(sleeper: Sleeper, capsys: Said) -> None:
    """Addresses would stay what they are for ever, and the first deployment after that would be an outage."""

    def broken() -> None:
        raise ValueError("a follower with a mistake")

    Names(Resolver(["10.0.0.1"])).follow("m.test", 5.0, broken)
    await turns()
    (line,) = lines(capsys, "a name is not looked up any more")
    assert line["level"] == "error"
    assert "a follower with a mistake" in line["reason"]


async def test_the_real_resolver() -> None:
    """The thread would die with the answer, or a failure would look like another."""
    assert "127.0.0.1" in await asyncio.wait_for(look_up("localhost"), 10)
    with pytest.raises(UnicodeError):
        await asyncio.wait_for(look_up("a..b"), 10)


async def test_a_lookup_that_hangs_keeps_nobody_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is told to stop would wait for a resolver that never answers."""
    back = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        back.wait(30)
        raise GONE

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    asking = asyncio.ensure_future(look_up("m.test"))
    await settle()
    asking.cancel()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "resolve m.test")
    back.set()
    await settle()


@pytest.mark.parametrize(
    ("host", "named"),
    [("10.0.0.1", False), ("::1", False), ("fe80::1", False), ("", False), ("localhost", True), ("10.0.0", True)],
)
def test_addresses_are_no_names(host: str, named: bool) -> None:
    """An address would be looked up, with a thread of its own."""
    assert is_name(host) is named


async def test_waiting_for_a_name_that_is_known_takes_no_turn() -> None:
    """Every new connection would wait for the loop to come around."""
    name = Name("m.test")
    name.learn(("10.0.0.1",))
    waiting = name.known()
    with pytest.raises(StopIteration) as ended:
        waiting.send(None)
    assert ended.value.value == ("10.0.0.1",)
