"""What goes on while its store's file is removed, replaced or damaged, written into the file that takes its place.

What the process knows wins: rollouts with their evidence, keys, counters, the configuration and what webhooks have yet
to be told are written over what the file has of them, be it a backup or nothing. The journal is only added to: an entry
says what became of the file and which entries are missing, and one for each rollout as what it goes on. Ids go on after
the last that was given, so that whoever follows the journal misses none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.machine.state import State
from proxy.control.storage import charges, configs, given, journal, kept_rollouts, kept_seen, post
from proxy.control.storage.chain import ANEW
from proxy.control.storage.database import Database
from proxy.control.storage.entries import Entry
from proxy.control.storage.post import Letter
from proxy.control.storage.seen import Changes
from proxy.control.storage.tables import LETTERS, SEEN, VERDICTS
from proxy.snapshot import CIRCLE

CARRIED: Final = "carried"
"""The kind of the entry that says as what a rollout goes on."""
_ACTOR: Final = "store"
_NAMES: Final = ("candidate_digest", "plan_digest", "attempt")
"""What tells a rollout from those before it in the same route."""


@dataclass(frozen=True, slots=True)
class Carried:
    """One rollout as it is now: what `Store.transition` and `Store.keep_evidence` have kept of it."""

    state: State
    evidence: bytes | None
    verdict: Mapping[str, Any] | None
    seen: Changes


@dataclass(frozen=True, slots=True)
class Live:
    """All that a process would have to know after a restart. `config` is the text of what is live and its digest."""

    at_s: float
    rollouts: Sequence[Carried]
    letters: Sequence[Letter]
    generation: int
    secrets: Mapping[str, bytes]
    config: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Before:
    """The store that is lost: what became of it, who used it and whether another had taken charge of it since, and the
    last entry of its journal."""

    what: str
    holder: str
    outranked: bool
    entry: int
    hash: str


async def carry(db: AsyncConnection, database: Database, instance: str, live: Live, before: Before) -> list[Entry]:
    """Write it, in the transaction that the connection is in; answers the entries as they are kept."""
    known = await kept_rollouts.standing(db, instance)
    await kept_rollouts.drop(db, instance)
    for table in (SEEN, LETTERS):
        await db.execute(delete(table).where(table.c.instance == instance))
    await charges.take(db, database, instance, before.holder, live.at_s)
    await given.following(db, database, instance, "generation", live.generation - 1)
    for name, value in live.secrets.items():
        await given.know(db, database, instance, name, value)
    digest = ""
    if live.config is not None:
        digest = live.config[1]
        await configs.keep(db, instance, *live.config, _ACTOR, live.at_s)
    begun = await _begin_anew(db, instance, live, before, digest)
    await post.add(db, instance, live.letters)
    entries = [begun]
    for going in live.rollouts:
        run, verdict_id = _of_the_same(going, known.get(going.state.route))
        if verdict_id is None and going.verdict is not None:
            verdict_id = await _verdict(db, instance, live.at_s, going)
        (kept,) = await journal.append(db, instance, [_entry(going.state, live.at_s, digest)], verdict_id)
        entries.append(kept)
        place = db, database, instance
        await kept_rollouts.keep(*place, going.state, going.evidence, 0, verdict_id, kept.id if run is None else run)
        await kept_seen.keep(*place, going.state.route, going.seen)
    return entries


async def _begin_anew(db: AsyncConnection, instance: str, live: Live, before: Before, digest: str) -> Entry:
    last_id, last_hash = await journal.last(db, instance)
    missing = bool(before.hash) and not await journal.has(db, instance, before.hash)
    if not missing:
        said = "no entry of the journal is missing"
    elif last_id:
        said = f"the journal goes on from entry {last_id} of the file that is there now: what was written beyond it is"
        said += f" missing, up to entry {before.entry} with the hash {before.hash}"
    else:
        said = f"the journal begins anew: all up to entry {before.entry} with the hash {before.hash} is missing"
    text = f"{before.what}; all that goes on is in the one that is there now; {said}"
    details = {
        "what": before.what, "missing": missing, "lastEntry": before.entry, "lastHash": before.hash,
        "foundEntry": last_id, "foundHash": last_hash, "rollouts": [going.state.route for going in live.rollouts],
    }  # fmt: skip
    entry = Entry(0, live.at_s, "", ANEW, _ACTOR, text, details, digest)
    (kept,) = await journal.append(db, instance, [entry], None, max(last_id, before.entry) + 1)
    return kept


def _of_the_same(going: Carried, found: kept_rollouts.Standing | None) -> tuple[int | None, int | None]:
    """The run and the verdict that the file has of this very rollout: what was recorded of it goes on."""
    if found is None or any(found.state.get(name) != getattr(going.state, name) for name in _NAMES):
        return None, None
    return found.run, found.verdict_id if found.verdict == going.verdict else None


async def _verdict(db: AsyncConnection, instance: str, at_s: float, going: Carried) -> int:
    """The verdict that a rollout stands on. What it was made on is missing with the entry that had it."""
    values = {"instance": instance, "route": going.state.route, "at_s": at_s, "body": dict(going.verdict or {})}
    key = (await db.execute(insert(VERDICTS).values(**values, digest=""))).inserted_primary_key
    assert key is not None
    return int(key[0])


def _entry(state: State, at_s: float, digest: str) -> Entry:
    weight = state.weight_ppm * 100 / CIRCLE
    details = {
        "phase": str(state.phase), "verdict": state.verdict, "decidedBy": state.decided_by, "step": state.step,
        "stage": state.stage, "weight": weight, "mirror": state.mirror_ppm * 100 / CIRCLE,
    }  # fmt: skip
    text = f"stands as it did: {state.phase}, weight {weight:g} %" + (state.reason and f": {state.reason}")
    return Entry(0, at_s, state.route, CARRIED, _ACTOR, text, details, digest)
