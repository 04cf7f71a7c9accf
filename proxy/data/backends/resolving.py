"""Names of endpoints: looked up again and again, away from the requests.

    look up ─▶ addresses, those before as long as it fails ─▶ followers: pools for new ones, no more for those gone

The system's resolver is asked (getaddrinfo), by a thread of its own, so that what /etc/hosts, search domains and the
cluster's resolver say holds here as it does for every other program of the machine. It tells no time to live: names are
looked up by interval. The alternatives, aiodns and dnspython, know times to live, but each is a second resolver with a
configuration of its own, one of them in C, for an answer that a resolver nearby has in its memory anyway.

A name that hangs holds one thread, and is not asked again before that thread is back. Addresses cost nothing: who has
one never comes here.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import random
from typing import Final

from proxy.data.logs.notices import Seldom, log

Lookup = Callable[[str], Awaitable[Sequence[str]]]
Change = Callable[[], None]

MAX_ADDRESSES: Final = 128
"""Each has connections of its own in every worker; a name with more is no list of model servers."""
HANG_S: Final = 5.0
"""A question that takes longer is told; glibc gives up after 10 s or more."""
AGAIN_S: Final = 1.0
"""A name that has no address yet is asked for again after this, if its interval is longer."""
_JITTER: Final = 0.1


def is_name(host: str) -> bool:
    """Whether a host has to be looked up.

    >>> is_name("models.svc"), is_name("10.0.0.1"), is_name("::1"), is_name("")
    (True, False, False, False)
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return False
    return bool(host)


class Name:
    """A name and what is known of it. `failure` says why it has no addresses, "" while nobody knows."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()
        self.failure = ""
        self.followers: dict[Change, float] = {}
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def known(self) -> tuple[str, ...]:
        """Its addresses, which are waited for if nobody has asked for them yet; none where it does not resolve."""
        if not self.addresses and not self.failure:
            await self._news.wait()
        return self.addresses

    def learn(self, addresses: tuple[str, ...], failure: str = "") -> None:
        """Take in an answer. What was found last is kept for as long as asking fails."""
        self.failure = failure
        changed = bool(addresses) and addresses != self.addresses
        if changed:
            self.addresses = addresses
            for follower in list(self.followers):
                follower()
        self._news.set()


class Names:
    """All names of a worker. Each is asked for once, however many backends use it."""

    def __init__(self, lookup: Lookup | None = None, draw: Callable[[], float] = random) -> None:
        self._lookup = lookup or look_up
        self._draw = draw
        self._names: dict[str, Name] = {}

    def follow(self, host: str, interval_s: float, changed: Change) -> Name:
        """The name of a host, whose changes are told from now on; the shortest interval of all followers counts."""
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = Name(host)
            name.task = asyncio.get_running_loop().create_task(self._ask_on(name))
            name.task.add_done_callback(_ended)
        name.followers[changed] = interval_s
        return name

    def leave(self, changed: Change) -> None:
        """Tell this follower nothing more; a name without followers is forgotten."""
        for name in list(self._names.values()):
            if name.followers.pop(changed, None) is not None and not name.followers:
                del self._names[name.host]
                if name.task is not None:
                    name.task.cancel()

    async def _ask_on(self, name: Name) -> None:
        seldom = Seldom()
        while True:
            await self._ask(name, seldom)
            interval_s = min(name.followers.values(), default=AGAIN_S)
            if not name.addresses:
                interval_s = min(interval_s, AGAIN_S)
            await asyncio.sleep(interval_s * (1 + _JITTER * (2 * self._draw() - 1)))

    async def _ask(self, name: Name, seldom: Seldom) -> None:
        asking = asyncio.ensure_future(self._lookup(name.host))
        try:
            while not (await asyncio.wait({asking}, timeout=HANG_S))[0]:
                self._fail(name, seldom, f"no answer within {HANG_S:g} s")
        finally:
            asking.cancel()
        try:
            found = sorted(set(asking.result()))
        except (OSError, UnicodeError, RuntimeError) as error:  # the last where no thread can be started
            said = getattr(error, "strerror", None) or str(error)
            self._fail(name, seldom, said.lower())
            return
        if not found:
            self._fail(name, seldom, "it has no address")
            return
        if len(found) > MAX_ADDRESSES:
            reason = f"it has {len(found)} addresses, of which {MAX_ADDRESSES} are used"
            seldom.say("name has too many addresses", reason, name=name.host)
        before, now = name.addresses, tuple(found[:MAX_ADDRESSES])
        if now != before or name.failure:
            log("info", "name resolved", name=name.host, addresses=now, before=before)
        name.learn(now)

    def _fail(self, name: Name, seldom: Seldom, reason: str) -> None:
        seldom.say(
            "name does not resolve",
            reason,
            name=name.host,
            used=name.addresses,
            remedy="check the name and the resolver; the addresses found last are used as long as there are some",
        )
        name.learn((), reason)


def _ended(task: asyncio.Task[None]) -> None:
    """Asking ends when it is cancelled; of any other end somebody has to know, as addresses then stay what they are."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log(
            "error", "a name is not looked up any more", reason=repr(error), remedy="restart this worker, and report it"
        )


async def look_up(host: str) -> list[str]:
    """The addresses of a host, in a thread that nobody waits for at the end of the process.

    Raises:
        OSError: it does not resolve (`socket.gaierror`).
        UnicodeError: it is no name of a host.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(found)
        else:
            answer.set_exception(error)

    def ask() -> None:
        found: list[str] = []
        failure: Exception | None = None
        try:
            told = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            found = [str(address[0]) for *_, address in told]
        except (OSError, UnicodeError) as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended: nobody wants to know
            loop.call_soon_threadsafe(settle, found, failure)

    # Not the threads of the loop: libuv gives lookups two of its four, and two names that hang would stop all others;
    # the executor's threads are waited for when the process ends.
    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await answer
