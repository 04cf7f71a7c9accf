"""What is remembered of fuzzing, replayed: the same comes of it in any cutting, with any release of the parser."""

from __future__ import annotations

import random
import re

import pytest

from tests.support import corpus
from tests.support.corpus import Entry

REQUESTS, ANSWERS = corpus.load("requests"), corpus.load("answers")
CUTTINGS = 12


def cuttings(raw: bytes) -> list[list[bytes]]:
    """The bytes whole, one by one, in two at some places and in pieces of some sizes."""
    rng = random.Random(raw)
    places = rng.sample(range(1, len(raw)), min(CUTTINGS, len(raw) - 1))
    halves = [[raw[:at], raw[at:]] for at in places]
    return [
        [raw],
        *halves,
        *([raw[at : at + size] for at in range(0, len(raw), size)] for size in (1, 7, 50)),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("share", range(4))
@pytest.mark.parametrize(("kind", "entries"), [("requests", REQUESTS), ("answers", ANSWERS)])
def test_the_same_comes_of_it_in_any_cutting(kind: str, entries: list[Entry], share: int) -> None:
    """A parser that became lenient, or that depends on where the network cuts, is how messages are smuggled. If it is
    right that something else comes of these bytes now, `python -m tests.support.corpus` writes it anew."""
    for raw, outcome in entries[share::4]:
        for parts in cuttings(raw):
            assert corpus.play(kind, parts).facts == outcome.facts, parts


def test_it_is_large_and_says_why() -> None:
    """An empty file would pass every test; a number is no reason, and is what people were once told of a 101."""
    for entries, reasons in ((REQUESTS, 50), (ANSWERS, 40)):
        whys = {entry.outcome.why for entry in entries}
        assert len(whys) >= reasons
        assert not [why for why in whys if re.search(r": \d+$", why)]


def test_mutants_are_sought_and_kept_once() -> None:
    """Whoever looks for more would be told of what is known, or lose it."""
    entries, played = corpus.seek("answers", seed=5, seconds=0.5)
    assert played > 10
    assert {entry.outcome.facts for entry in ANSWERS} <= {entry.outcome.facts for entry in entries}
    assert len(entries) < len(ANSWERS) + 20
