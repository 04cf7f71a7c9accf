"""What outlives the controller: rollouts, their evidence, the journal, configurations and counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.control.rollout import State


class StoreError(Exception):
    """The store cannot be opened, read or written; the text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `id` is given by the store (0: not written yet); `route` is "" for the whole proxy."""

    id: int
    at_s: float
    route: str
    kind: str
    actor: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollout as it was left: its state, the dump of its evidence, the last slice in it, the last verdict."""

    state: State
    evidence: bytes | None
    cursor: int
    verdict: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Revision:
    """A configuration that was live once."""

    id: int
    at_s: float
    digest: str
    actor: str
    text: str


class Store:
    """The database."""

    @classmethod
    async def open(cls, url: str) -> Store:
        """Open (and create or upgrade) the database of an URL `sqlite:///PATH`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of the database."""
        raise NotImplementedError

    async def rollouts(self) -> dict[str, Kept]:
        """All rollouts by route."""
        raise NotImplementedError

    async def transition(
        self,
        state: State,
        evidence: bytes | None,
        cursor: int,
        verdict: Mapping[str, Any] | None,
        entries: Sequence[Entry],
    ) -> None:
        """Keep a new state with all that led to it, in one transaction."""
        raise NotImplementedError

    async def keep_evidence(self, route: str, evidence: bytes, cursor: int) -> None:
        """Keep the evidence of a tick."""
        raise NotImplementedError

    async def journal(self, route: str | None, limit: int, before: int | None = None) -> list[Entry]:
        """The newest entries first."""
        raise NotImplementedError

    async def verdict(self, entry_id: int) -> Mapping[str, Any] | None:
        """The verdict that a journal entry was written with."""
        raise NotImplementedError

    async def record(self, entry: Entry) -> int:
        """Write one journal entry."""
        raise NotImplementedError

    async def keep_config(self, text: str, digest: str, actor: str) -> int:
        """Keep a configuration."""
        raise NotImplementedError

    async def last_config(self) -> Revision | None:
        """The configuration that was kept last."""
        raise NotImplementedError

    async def numbers(self, name: str) -> int:
        """The last number given out under a name."""
        raise NotImplementedError

    async def next_number(self, name: str) -> int:
        """The next number."""
        raise NotImplementedError

    async def forget(self, route: str) -> None:
        """Drop the rollout of a route; its journal stays."""
        raise NotImplementedError
