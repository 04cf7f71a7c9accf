"""The journal as a chain: each entry's hash covers its content and the hash of the entry before. Pure.

    hash = sha256(hash of the entry before, line feed, content)

`content` is JSON with sorted keys, without spaces. It has the digest of the verdict and of the evidence that a decision
was made on, so that neither can be changed afterwards without breaking the chain. Retention may take the oldest
entries away once a checkpoint entry, itself a link of the chain, says which was the last of them and what its hash was.

What this shows and what it does not: whoever changes, removes or inserts an entry has to write all later hashes anew.
Who can do that has to be caught by a hash that was kept elsewhere: each one is in the log, and `verify` looks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

GENESIS: Final = ""
"""What comes before the first entry."""
CHECKPOINT: Final = "checkpoint"
"""The kind of an entry that stands for entries which retention took away."""
ANEW: Final = "store"
"""The kind of an entry that says what became of the database's file, and whether entries before it are missing."""
_CONTENT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Link:
    """One entry as the chain sees it. `evidence` is the digest of verdict and evidence, "" for an entry without."""

    id: int
    instance: str
    at_s: float
    route: str
    kind: str
    actor: str
    text: str
    details: Mapping[str, Any]
    config: str
    evidence: str
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a chain holds. `broken` is the first entry that does not follow from the one before, 0 if all do."""

    entries: int
    first: int
    last: int
    head: str
    """The hash of the last entry."""
    broken: int = 0
    reason: str = ""
    removed_through: int = 0
    """The last entry that retention took away, for which a checkpoint stands; 0 for none."""
    begun_anew: int = 0
    """The last entry that says that the database's file was removed or replaced, and that entries before it are
    missing: nothing shows what they said; 0 for none."""


def content(link: Link) -> bytes:
    """What of an entry is hashed. Its id is not: the hash before says where it stands."""
    return msgspec.json.encode(
        {
            "version": _CONTENT_VERSION,
            "instance": link.instance,
            "at": link.at_s,
            "route": link.route,
            "kind": link.kind,
            "actor": link.actor,
            "text": link.text,
            "details": link.details,
            "config": link.config,
            "evidence": link.evidence,
        },
        order="sorted",
    )


def hash_of(before: str, link: Link) -> str:
    """The hash of an entry that follows one with the hash `before`."""
    return hashlib.sha256(before.encode() + b"\n" + content(link)).hexdigest()


def evidence_digest(verdict: Mapping[str, Any], evidence_sha256: str, question: Any, elapsed_s: float | None) -> str:
    """The digest of a verdict and of all that it is derived from."""
    facts = {"verdict": verdict, "evidence": evidence_sha256, "question": question, "elapsed": elapsed_s}
    return sha256(msgspec.json.encode(facts, order="sorted"))


def sha256(data: bytes | None) -> str:
    """The digest of bytes; "" for none."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


@dataclass(slots=True)
class Verifier:
    """Follows a chain, entry by entry in order of their ids, from where the last checkpoint says that it begins."""

    through: int = 0
    before: str = GENESIS
    seen: int = 0
    first: int = 0
    last: int = 0
    broken: int = 0
    reason: str = ""
    anew: int = 0
    _hashes: set[str] = field(default_factory=set)

    @classmethod
    def after(cls, checkpoints: Iterable[Link]) -> Verifier:
        """From the newest of these checkpoints on, from the very first entry if there are none."""
        verifier = cls()
        for link in checkpoints:
            through, head = link.details.get("through"), link.details.get("hash")
            if isinstance(through, int) and isinstance(head, str) and through > verifier.through:
                verifier.through, verifier.before = through, head
        return verifier

    def follow(self, link: Link, found: str = "") -> None:
        """The next entry; `found` is the digest of its verdict and evidence as they are stored now, "" for none."""
        if link.id <= self.through or self.broken:
            return
        self.seen, self.last, self.first = self.seen + 1, link.id, self.first or link.id
        if hash_of(self.before, link) != link.hash:
            self.broken = link.id
            self.reason = "its content was changed, or an entry before it was removed or put in"
        elif found != link.evidence:
            self.broken, self.reason = link.id, "the verdict or the evidence that it was decided on is another one"
        if link.kind == ANEW and link.details.get("missing"):
            self.anew = link.id
        self.before = link.hash
        self._hashes.add(link.hash)

    def verified(self, expected: str = "") -> Verified:
        """What was found. `expected` is a hash that somebody kept: an entry with it, or one that begins so, must be
        there."""
        broken, reason = self.broken, self.reason
        if not broken and expected and not any(each.startswith(expected) for each in self._hashes):
            why = f"entry {self.anew} says which are missing" if self.anew else "the journal was written anew"
            broken, reason = self.last, f"no entry has the hash {expected}: {why}, or its end was cut off"
        return Verified(self.seen, self.first, self.last, self.before, broken, reason, self.through, self.anew)
