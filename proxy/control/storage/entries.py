"""What the journal says of a change, and what the change was made on: as it is written, told and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `route` is "" for the whole proxy, `config` the digest of the configuration that was
    live. `id` and `hash` are given by the store (0 and "": not written yet)."""

    id: int
    at_s: float
    route: str
    kind: str
    actor: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a decision was made on: the verdict with all its numbers, and what it can be derived from again.

    `evidence` is the judge's dump (None once retention took it away), `question` what it was asked, `elapsed_s` for
    how long the rollout had lasted.
    """

    verdict: Mapping[str, Any]
    evidence: bytes | None
    question: Mapping[str, Any]
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """A journal entry with what stood behind it; `basis` is None for an entry without a verdict, or with one of a
    release that kept no evidence (`verdict` has its numbers)."""

    entry: Entry
    verdict: Mapping[str, Any] | None
    basis: Basis | None
    intact: bool
    """Whether verdict and evidence have the digest that the entry's hash covers."""
