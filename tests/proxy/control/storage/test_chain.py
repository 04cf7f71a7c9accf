"""The chain: what its hashes cover, to the letter, and what a verifier says."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.control.storage.chain import CHECKPOINT, GENESIS, Link, Verifier, content, evidence_digest, hash_of, sha256

LINK = Link(1, "understudy", 12.5, "fraud", "step", "ann", "größer", {"b": [1, 2.5, None], "a": 1}, "c0ffee", "e1")
CHANGES = [
    {"at_s": 12.500001}, {"actor": "bob"}, {"text": "x"}, {"route": ""}, {"details": {}}, {"config": ""},
    {"hash": "f" * 64}, {"evidence": "e2"}, {"instance": "other"}, {"kind": "abort"},
]  # fmt: skip


def test_what_is_hashed_stays_what_it_is() -> None:
    """If broken, a new release says of every journal of an older one that it was tampered with."""
    text = (
        '{"actor":"ann","at":12.5,"config":"c0ffee","details":{"a":1,"b":[1,2.5,null]},"evidence":"e1",'
        '"instance":"understudy","kind":"step","route":"fraud","text":"größer","version":1}'
    )
    assert content(LINK) == text.encode()
    assert hash_of("ab", LINK) == hashlib.sha256(b"ab\n" + text.encode()).hexdigest()
    facts = b'{"elapsed":7.5,"evidence":"' + sha256(b"x").encode() + b'","question":{"a":1},"verdict":{"n":null}}'
    assert evidence_digest({"n": float("nan")}, sha256(b"x"), {"a": 1}, 7.5) == hashlib.sha256(facts).hexdigest()


def chain(n: int, before: str = GENESIS, first: int = 1) -> list[Link]:
    """Entries that follow each other."""
    links = []
    for number in range(first, first + n):
        link = replace(LINK, id=number, text=str(number))
        before = hash_of(before, link)
        links.append(replace(link, hash=before))
    return links


def followed(links: list[Link], expected: str = "") -> tuple[int, int, int]:
    """How many entries were looked at, the broken one, and up to where a checkpoint stands for them."""
    verifier = Verifier.after([link for link in links if link.kind == CHECKPOINT])
    for link in links:
        verifier.follow(link, "e1")
    found = verifier.verified(expected)
    return found.entries, found.broken, found.removed_through


@given(st.integers(1, 12), st.data())
def test_any_one_change_is_found_where_it_is(n: int, data: st.DataObject) -> None:
    """If broken, some change of a journal goes unnoticed."""
    links = chain(n)
    assert followed(links) == (n, 0, 0)
    at = data.draw(st.integers(0, n - 1))
    changed = replace(links[at], **data.draw(st.sampled_from(CHANGES)))
    assert followed([*links[:at], changed, *links[at + 1 :]])[1] == at + 1
    assert followed(links[:at] + links[at + 1 :])[1] == (at + 2 if at < n - 1 else 0)
    if at:
        swapped = [*links[: at - 1], links[at], links[at - 1], *links[at + 1 :]]
        assert followed(swapped)[1] == at + 1


def test_a_checkpoint_stands_for_what_is_gone() -> None:
    """If broken, retention breaks the chain, or hides what somebody else took away."""
    links = chain(6)
    checkpoint = replace(LINK, id=7, kind=CHECKPOINT, details={"through": 4, "hash": links[3].hash})
    checkpoint = replace(checkpoint, hash=hash_of(links[5].hash, checkpoint))
    for left in (links, links[2:], links[4:]):
        assert followed([*left, checkpoint]) == (3, 0, 4)
    assert followed([links[5], checkpoint])[1] == 6, "more is gone than was signed off"
    lie = replace(checkpoint, details={"through": 5, "hash": links[4].hash})
    assert followed([*links[5:], lie])[1] == 7


def test_a_hash_that_was_kept_elsewhere_must_be_there() -> None:
    """If broken, a journal that was written anew from its first entry on passes for the old one."""
    links = chain(3)
    assert followed(links, links[1].hash[:12]) == (3, 0, 0)
    assert followed(links, "0" * 64) == (3, 3, 0)
