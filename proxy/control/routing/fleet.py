"""The workers as the controller sees them: what they were given last, who is alive, and who holds what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from proxy.control.routing.push import PushServer
from proxy.ledger.layout import W_HEARTBEAT
from proxy.ledger.reader import Reader
from proxy.slot import Slot
from proxy.snapshot import Backend, Snapshot, decode, encode

ACK_TIMEOUT_S: Final = 1.0
"""How long a push waits for the workers; a slower one counts as not there, and its stage as not applied."""
DEAD_AFTER_S: Final = 2.0
"""A worker beats ten times a second; one that has not for so long is dead, stopped or starved."""


class Fleet:
    """All workers. What is published lies in the slot first, so that a worker which starts now finds it."""

    def __init__(self, reader: Reader, slot: Slot, push: PushServer, monotonic: Callable[[], float]) -> None:
        self._reader, self._slot, self._push, self._monotonic = reader, slot, push, monotonic
        kept = slot.read()
        self.snapshot: Snapshot | None = None if kept is None else decode(kept)
        self._complete = False
        if kept is not None:
            self._push.push(kept, self.generation)

    @property
    def generation(self) -> int:
        """The generation that was published last, 0 for none."""
        return 0 if self.snapshot is None else self.snapshot.generation

    @property
    def ready(self) -> bool:
        """Whether clients are served: by all workers at first, later on by any."""
        holders = self._push.holders(1)
        self._complete |= holders >= set(self._reader.workers())
        return self._complete and bool(holders)

    @property
    def draining(self) -> bool:
        """Whether all of this is about to end."""
        return self._slot.draining

    async def publish(self, snapshot: Snapshot) -> bool:
        """Give all workers a snapshot; whether all that live acknowledged it in time.

        Raises:
            ValueError: it is too large for the slot; nothing was published.
        """
        self._give(snapshot)
        return await self._push.acknowledged(lambda: self.holds(snapshot.generation), ACK_TIMEOUT_S)

    def mark(self, unhealthy: Callable[[Sequence[Backend]], tuple[tuple[int, int], ...]]) -> None:
        """Tell all workers at once which endpoints are not well, if that is news. All else is what they hold, so that
        nobody's turn has to be waited for, and no store."""
        before = self.snapshot
        if before is None or (now := unhealthy(before.backends)) == before.unhealthy:
            return
        self._give(replace(before, unhealthy=now, generation=before.generation + 1))

    def alive(self) -> frozenset[int]:
        """The workers whose heart beats."""
        now_s = self._monotonic()
        return frozenset(
            worker for worker in self._reader.workers() if is_alive(self._reader.worker(worker)[W_HEARTBEAT], now_s)
        )

    def holders(self, generation: int) -> frozenset[int]:
        """The connected workers that route by a generation or a newer one."""
        return self._push.holders(generation)

    def holds(self, generation: int) -> bool:
        """Whether every worker that lives routes by a generation or a newer one; never where none lives."""
        alive = self.alive()
        return bool(alive) and alive <= self._push.holders(generation)

    def _give(self, snapshot: Snapshot) -> None:
        data = encode(snapshot)
        self._slot.write(data)
        self.snapshot = snapshot
        self._push.push(data, snapshot.generation)


def is_alive(heartbeat_s: float, now_s: float) -> bool:
    """Whether a worker that beat then is alive now."""
    return heartbeat_s > 0 and now_s - heartbeat_s < DEAD_AFTER_S
