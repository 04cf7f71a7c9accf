"""What is known of routes on its way into the store: tick by tick, and all of it where the store is another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from proxy.control.evidence.isolation import alone
from proxy.control.evidence.subject import Subject
from proxy.control.machine.state import State
from proxy.control.storage.carrying import Carried
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.seen import Changes
from proxy.control.storage.store import Kept
from proxy.ledger.reader import Reader


async def keep(keeper: Keeper, subject: Subject, reader: Reader, cursor: int) -> None:
    """Keep the evidence of a tick with what made it.

    Raises:
        StoreError: it cannot be kept; it is kept with that of a later tick.
    """
    blob, recording, seen = subject.dump(reader), subject.recorder.pending(), subject.collected.truths.seen
    changes = seen.changes()
    ids = await keeper.ask(lambda store: store.keep_evidence(subject.name, blob, cursor, changes, recording))
    if ids is not None:
        seen.kept(changes)
        subject.recorder.kept(ids)


def begin_anew(subjects: Iterable[Subject]) -> None:
    """Nothing of them is in the store any more: what is kept next must not rely on what was."""
    for subject in subjects:
        subject.recorder.begin_anew()
        subject.collected.truths.seen.begin_anew()


def carried(subjects: Mapping[str, Subject], kept: Mapping[str, Kept], reader: Reader) -> list[Carried]:
    """All rollouts at this moment: those of live routes as they are, the others as they were kept."""
    others = ((name, each) for name, each in kept.items() if name not in subjects or subjects[name].state is None)
    found = [Carried(each.state, each.evidence, each.verdict, Changes(True, 0, each.seen)) for _, each in others]
    return found + [
        _as_it_is(one, state, kept.get(one.name), reader) for one in subjects.values() if (state := one.state)
    ]


def _as_it_is(subject: Subject, state: State, kept: Kept | None, reader: Reader) -> Carried:
    evidence, verdict = (None, None) if kept is None else (kept.evidence, kept.verdict)
    with alone(subject):  # the evidence of its last transition is better than none of all routes
        evidence = subject.dump(reader)
    return Carried(state, evidence, verdict, subject.collected.truths.seen.changes())
