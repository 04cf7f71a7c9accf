"""What answers predicted, and everything that an answer can be instead."""

from __future__ import annotations

import gzip
import json
import os
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.data.answers.predictions import MAX_ITEMS, PredictionReader
from proxy.ledger.layout import LABELS, NUMBER_BUCKETS, OTHER, create
from proxy.ledger.reader import Reader
from proxy.ledger.reading import Reading
from proxy.ledger.writer import Writer
from proxy.snapshot import Output, Predictions, TableRef

LABEL = Output("label", "category", ("label",), table=TableRef(0, 5))
SCORE = Output("score", "number", ("score",), low=0.0, high=10.0, tolerance=0.5)


class Ledger:
    def __init__(self) -> None:
        fd = create(1, 1, 2)
        self.writer, self.reader = Writer(fd, 0), Reader(fd)
        os.close(fd)

    def labels(self) -> list[str]:
        return self.reader.labels(0, 0, 5)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def v2(ledger: Ledger) -> PredictionReader:
    return PredictionReader(Predictions("open-inference", (LABEL, SCORE)), ledger.writer)


def plain(ledger: Ledger, *path: str | int, kind: str = "number") -> PredictionReader:
    output = Output("o", kind, path, low=0.0, high=10.0, table=TableRef(0, 5))  # type: ignore[arg-type]
    return PredictionReader(Predictions("json", (output,)), ledger.writer)


def tensors(**outputs: object) -> bytes:
    return json.dumps(
        {
            "model_name": "m",
            "outputs": [{"name": n, "datatype": "?", "shape": [1], "data": d} for n, d in outputs.items()],
        }
    ).encode()


def test_v2_tensors_are_found_by_name(ledger: Ledger) -> None:
    """Predictions of the protocol that model servers speak are what versions are compared by."""
    label, score = v2(ledger).read([], tensors(other=[1], score=[2.5], label=["cat"]))
    assert label == Reading(0, labels=[0])
    assert score == Reading(1, numbers=[2.5], number_buckets=[int(2.5 / 10 * NUMBER_BUCKETS)])
    assert ledger.labels() == ["cat"]


def test_batch_counts_each_item(ledger: Ledger) -> None:
    """A batch holds many predictions, and nested tensors are flattened as the protocol says."""
    label, score = v2(ledger).read([], tensors(label=[["a", "b"], ["a", "c"]], score=[1, [2, [3]]]))
    assert label.labels == [0, 1, 0, 2]
    assert score.numbers == [1.0, 2.0, 3.0]
    label, _ = v2(ledger).read([], tensors(label=["a"] * (MAX_ITEMS + 5)))
    assert len(label.labels) == MAX_ITEMS


@pytest.mark.parametrize(
    ("path", "document", "numbers"),
    [
        (("score",), {"score": 1}, [1]),
        (("a", "b", 0, "c"), {"a": {"b": [{"c": 2}, {"c": 3}]}}, [2]),
        (("a", -1), {"a": [1, 2, 3]}, [3]),
        (("a", -2), {"a": [1, 2, 3]}, [2]),
        (("predictions", "*", "p"), {"predictions": [{"p": 1}, {"q": 9}, {"p": 3}]}, [1, 3]),
        (("predictions", "*"), {"predictions": [4, 5]}, [4, 5]),
        ((), 7, [7]),
        ((), [7, 8], [7, 8]),
    ],
)
def test_json_by_path(ledger: Ledger, path: tuple[str | int, ...], document: object, numbers: list[float]) -> None:
    """A path that misses its value makes every answer look empty."""
    assert plain(ledger, *path).read([], json.dumps(document).encode())[0].numbers == numbers


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (("a",), {"b": 1}),
        (("a", 5), {"a": [1]}),
        (("a", "b"), {"a": [1]}),
        (("a", 0), {"a": 1}),
        (("a", "*"), {"a": {}}),
    ],
)
def test_path_that_leads_nowhere_is_missing(ledger: Ledger, path: tuple[str | int, ...], document: object) -> None:
    """A version that leaves its prediction out must not look like one that predicts nothing."""
    assert plain(ledger, *path).read([], json.dumps(document).encode()) == [Reading(0, missing=1)]


def test_missing_tensor_is_missing(ledger: Ledger) -> None:
    """Also one whose data came in binary, outside of the JSON."""
    body = b'{"outputs": [{"name": "label", "parameters": {"binary_data_size": 3}}]}'
    assert v2(ledger).read([], body) == [Reading(0, missing=1), Reading(1, missing=1)]
    binary = body + b"\x00\xff\x01"
    head = [(b"inference-header-content-length", b"%d" % len(body))]
    assert v2(ledger).read(head, binary) == [Reading(0, missing=1), Reading(1, missing=1)]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '"3"', "true", "null", "{}", "1" + "0" * 400])
def test_number_that_is_none_is_invalid(ledger: Ledger, text: str) -> None:
    """Python servers write NaN; one of them must not poison the sums, nor hide the items beside it."""
    body = b'{"outputs": [{"name": "score", "data": [1.0, %b, 3.0]}]}' % text.encode()
    _, score = v2(ledger).read([], body)
    assert (score.numbers, score.invalid) == ([1.0, 3.0], 1)


def test_number_out_of_range_is_clipped(ledger: Ledger) -> None:
    """The bounds are what makes the mean's intervals valid: what lies beyond is counted at the bound, and said."""
    _, score = v2(ledger).read([], tensors(score=[-5, 15, 10, 0]))
    assert score.numbers == [0.0, 10.0, 10.0, 0.0]
    assert score.number_buckets == [0, NUMBER_BUCKETS - 1, NUMBER_BUCKETS - 1, 0]
    assert score.clipped == 2


@pytest.mark.parametrize(
    "values", [[3, 3.0, "3"], [True, "true"], [False, "false"], [0.5, "0.5"], ["", ""], ["ä" * 40, "ä" * 50]]
)
def test_same_label_in_another_type_is_the_same(ledger: Ledger, values: list[object]) -> None:
    """A version that answers 3.0 where the other answers 3 has not changed its prediction."""
    label, _ = v2(ledger).read([], tensors(label=values))
    assert set(label.labels) == {0}
    assert len(label.labels) == len(values)


@pytest.mark.parametrize("value", ["null", "NaN", "{}", "Infinity"])
def test_label_that_is_none_is_invalid(ledger: Ledger, value: str) -> None:
    """Nothing is not a class."""
    label, _ = v2(ledger).read([], b'{"outputs": [{"name": "label", "data": [%b]}]}' % value.encode())
    assert (label.labels, label.invalid) == ([], 1)
    assert ledger.labels() == []


def test_labels_without_end_share_the_last_slot(ledger: Ledger) -> None:
    """A free text for a label must not fill the memory."""
    label, _ = v2(ledger).read([], tensors(label=[f"l{i}" for i in range(100)]))
    assert label.labels == [*range(OTHER), *[OTHER] * (100 - OTHER)]
    assert len(ledger.labels()) == LABELS - 1


BODY = tensors(label=["a"], score=[1])


def deflated_raw() -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(BODY) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(BODY)),
        (b"x-gzip", gzip.compress(BODY)),
        (b"GZIP", gzip.compress(BODY)),
        (b"deflate", zlib.compress(BODY)),
        (b"identity", BODY),
    ],
)
def test_compressed_answers_are_read(ledger: Ledger, coding: bytes, body: bytes) -> None:
    """Clients ask for compression, and get it."""
    assert v2(ledger).read([(b"content-encoding", coding)], body)[1].numbers == [1.0]


BOMB = gzip.compress(b" " * (1 << 20) + BODY)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", BODY),
        (b"gzip", gzip.compress(BODY)[:-12]),
        (b"gzip", BOMB),
        (b"deflate", deflated_raw()),
        (b"br", BODY),
        (b"gzip, gzip", gzip.compress(gzip.compress(BODY))),
        (b"", b""),
        (b"", b"not json"),
        (b"", b'"\xff"'),
        (b"", b'{"outputs": [{"name": "label", "data": "no list"}]}'),
        (b"", b'{"error": "out of memory"}'),
        (b"", b"[]"),
        (b"", b'{"outputs": [NaN]}'),
        (b"", b"[" * 100_000),
        (b"", b'{"outputs": [{"name": "\xff", "data": [1]}]}'),
        (b"", b'{"x": ' * 5000 + b"1" + b"}" * 5000),
    ],
    ids=range(16),
)
def test_what_cannot_be_read_is_invalid(ledger: Ledger, coding: bytes, body: bytes) -> None:
    """It is counted, and it never breaks the exchange: the client already has its answer."""
    found = v2(ledger).read([(b"content-encoding", coding)] if coding else [], body)
    assert found == [Reading(0, invalid=1), Reading(1, invalid=1)]


def test_an_answer_may_be_as_long_inflated_as_it_may_be_sent(ledger: Ledger) -> None:
    """A shadow could stop its worker for a second with eight kilobytes, at every copy."""
    output = Output("o", "number", ("a",))
    reader = PredictionReader(Predictions("json", (output,), max_body_bytes=2000), ledger.writer)
    fits, exceeds = (b'{"a": 1, "more": "%b"}' % (b"x" * (size - 20)) for size in (2000, 2001))
    coded = [(b"content-encoding", b"gzip")]
    assert reader.read(coded, gzip.compress(fits))[0].numbers == [1.0]
    assert reader.read(coded, gzip.compress(exceeds)) == [Reading(0, invalid=1)]


def test_answer_that_was_too_long_to_keep_is_invalid(ledger: Ledger) -> None:
    """A version whose answers grow would else drop out of the comparison without a word."""
    assert v2(ledger).read([], None) == [Reading(0, invalid=1), Reading(1, invalid=1)]


def test_deep_nesting_is_flat(ledger: Ledger) -> None:
    """Depth must not exhaust the stack."""
    body = b'{"outputs": [{"name": "score", "data": [%b1%b]}]}' % (b"[" * 400, b"]" * 400)
    assert v2(ledger).read([], body)[1].numbers == [1.0]


def test_one_value_of_each_kind_without_range(ledger: Ledger) -> None:
    """A range of no width must not divide by nothing."""
    reader = PredictionReader(Predictions("json", (Output("o", "number", (), low=1.0, high=1.0),)), ledger.writer)
    assert reader.read([], b"1")[0].number_buckets == [0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["outputs", "name", "data", "label"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON | st.binary(), st.sampled_from(["label", "score"]))
def test_nothing_that_a_backend_says_raises(document: object, name: str) -> None:
    """An exception here would leave the client's connection without an end."""
    ledger = Ledger()
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    wrapped = b'{"outputs": [{"name": "%b", "data": [%b]}]}' % (name.encode(), body)
    for reader in (v2(ledger), plain(ledger, "label"), plain(ledger, "outputs", "*", "data", kind="category")):
        for text in (body, wrapped):
            for reading in reader.read([], text):
                assert len(reading.numbers) == len(reading.number_buckets)
                assert all(0 <= bucket < NUMBER_BUCKETS for bucket in reading.number_buckets)
                assert all(0 <= slot < LABELS for slot in reading.labels)


# --- pairs


def compared(ledger: Ledger, stable: bytes, shadow: bytes) -> list:
    reader = v2(ledger)
    return reader.compare(reader.read([], stable), reader.read([], shadow))


def test_agreement_and_confusion(ledger: Ledger) -> None:
    """The pairs say which answers a candidate would change, user by user."""
    assert compared(ledger, tensors(label=["a"], score=[1]), tensors(label=["a"], score=[1.5])) == [
        (0, False, [(0, 0)]),
        (1, False, ()),
    ]
    assert compared(ledger, tensors(label=["a"], score=[1]), tensors(label=["b"], score=[1.6])) == [
        (0, True, [(0, 1)]),
        (1, True, ()),
    ]


def test_batch_disagrees_if_one_item_does(ledger: Ledger) -> None:
    """What is compared is the answer that a user would get."""
    (label,) = compared(ledger, tensors(label=["a", "b", "c"]), tensors(label=["a", "x", "c"]))
    assert (label[1], len(label[2])) == (True, 3)
    (score,) = compared(ledger, tensors(score=[1, 2]), tensors(score=[1]))
    assert score == (1, True, ())


def test_output_that_one_answer_lacks_is_not_compared(ledger: Ledger) -> None:
    """Missing is counted as missing, not as a disagreement."""
    assert compared(ledger, tensors(label=["a"]), tensors(score=[1])) == []
