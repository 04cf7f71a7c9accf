"""Labels that nobody outside a worker learns."""

from __future__ import annotations

import os
import re

import pytest

from proxy.data.answers import disguise
from proxy.data.answers.predictions import PredictionReader
from proxy.ledger.layout import LABELS, OTHER, create
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from proxy.snapshot import Output, Predictions, TableRef

KEY, OTHER_KEY = b"k" * disguise.KEY_BYTES, b"o" * disguise.KEY_BYTES
"""Two keys of two stores."""


class Shared:
    """The memory that a worker writes to, and what others see in it."""

    def __init__(self) -> None:
        self.fd = create(2, 1, 2)
        self.reader = Reader(self.fd)

    def worker(self, number: int = 0) -> Writer:
        return Writer(self.fd, number)

    def labels(self, number: int = 0) -> list[str]:
        return self.reader.labels(number, 0, 5)

    @property
    def memory(self) -> bytes:
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)


@pytest.fixture
def shared():
    found = Shared()
    yield found
    os.close(found.fd)


def output(privacy: str) -> Output:
    return Output("label", "category", ("label",), table=TableRef(0, 5), privacy=privacy)  # type: ignore[arg-type]


def answers(writer: Writer, privacy: str, *labels: str, key: bytes = KEY) -> list[list[int]]:
    """The slots that answers with these labels are counted in."""
    reader = PredictionReader(Predictions("json", (output(privacy),)), writer, key)
    return [list(reader.read([], b'{"label": "%b"}' % label.encode())[0].labels) for label in labels]


def test_a_hash_is_the_same_everywhere_and_tells_labels_apart(shared: Shared) -> None:
    """Broken: two workers, or the days before and after a restart, would have one label as two."""
    assert answers(shared.worker(0), "hash", "cancer", "healthy", "cancer") == [[0], [1], [0]]
    assert answers(shared.worker(1), "hash", "healthy", "cancer") == [[0], [1]]
    first, second = shared.labels(0)
    assert shared.labels(1) == [second, first]
    assert answers(shared.worker(0), "hash", "healthy", "new", "cancer") == [[1], [2], [0]]
    assert all(re.fullmatch("[0-9a-f]{12}", text) for text in shared.labels(0))


def test_a_hash_says_nothing_without_its_key(shared: Shared) -> None:
    """Broken: whoever reads a report finds each label by hashing all that there might be."""
    write, other = disguise.hashed(KEY), disguise.hashed(OTHER_KEY)
    assert write("cancer") != other("cancer")
    assert answers(shared.worker(), "hash", "cancer", key=b"") == [[]]
    assert answers(shared.worker(), "mask", "cancer", key=b"") == [[]]
    assert shared.labels() == []


@pytest.mark.parametrize("privacy", ["hash", "mask", "drop"])
def test_no_label_reaches_the_memory_that_others_read(shared: Shared, privacy: str) -> None:
    """Broken: the ledger, and with it reports, metrics, recordings and the journal, tell what the model said."""
    answers(shared.worker(), privacy, "cancer-of-4711", "healthy-4711")
    assert b"4711" not in shared.memory
    answers(shared.worker(), "keep", "cancer-of-4711")
    assert b"4711" in shared.memory


def test_a_mask_shows_the_ends_and_tells_the_rest_apart(shared: Shared) -> None:
    """Broken: labels that look alike are one label, so that a shift from one to the other is not seen."""
    write = disguise.masked(KEY)
    assert re.fullmatch("c…r#[0-9a-f]{6}", write("cancer"))
    assert write("cancer") != write("career")
    assert re.fullmatch("…#[0-9a-f]{6}", write("cat"))
    assert answers(shared.worker(), "mask", "cancer", "career", "cancer") == [[0], [1], [0]]
    assert shared.labels() == [write("cancer"), write("career")]


@pytest.mark.parametrize("text", ["", "x" * 500, "\ud800x", "a\0b", "Größe"])
def test_any_text_has_a_hash(text: str) -> None:
    """Broken: an answer with an odd label leaves its exchange without an end."""
    assert len(disguise.hashed(KEY)(text)) == disguise.HASH_DIGITS
    assert len(disguise.masked(KEY)(text).encode()) < 62


def test_a_full_table_sends_the_rest_to_other(shared: Shared) -> None:
    """Broken: a model that invents labels fills the worker's memory, or counts one label as another."""
    found = answers(shared.worker(), "hash", *(f"label {i}" for i in range(2000)))
    assert found == [[min(i, OTHER)] for i in range(2000)]
    assert len(set(shared.labels())) == LABELS - 1


def test_what_an_earlier_tenant_wrote_is_wiped(shared: Shared) -> None:
    """Broken: labels from before the file said `hash` stay in the memory."""
    answers(shared.worker(), "keep", "cancer-of-4711")
    assert b"4711" in shared.memory
    shared.worker().labels(0, 6)
    assert b"4711" not in shared.memory


def pairs(shared: Shared, stable: bytes, shadow: bytes, privacy: str = "drop") -> list:
    reader = PredictionReader(Predictions("json", (output(privacy),)), shared.worker(), KEY)
    return reader.compare(reader.read([], stable), reader.read([], shadow))


def test_what_is_dropped_is_compared_in_pairs_and_counted_nowhere(shared: Shared) -> None:
    """Broken: `drop` judges nothing, or counts what nobody was to count."""
    assert pairs(shared, b'{"label": "a"}', b'{"label": "a"}') == [(0, False, [])]
    assert pairs(shared, b'{"label": "a"}', b'{"label": "b"}') == [(0, True, [])]
    assert pairs(shared, b'{"label": ["a", "b"]}', b'{"label": ["a"]}') == [(0, True, [])]
    assert pairs(shared, b'{"label": 1}', b'{"label": "1"}') == [(0, False, [])]
    assert pairs(shared, b'{"label": "a"}', b'{"label": {}}') == []
    assert pairs(shared, b'{"label": "a"}', b"{}") == []
    reader = PredictionReader(Predictions("json", (output("drop"),)), shared.worker(), KEY)
    assert reader.read([], b'{"label": [{}, "a"]}')[0].invalid == 1
    assert shared.labels() == []
