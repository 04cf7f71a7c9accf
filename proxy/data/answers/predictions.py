"""What an answer predicted: labels and numbers read from the bytes that went by, after the client has them.

Protocols: Open Inference Protocol V2 over REST, whose outputs are tensors found by name, and plain JSON, whose
outputs are found by path (names, list indexes, and `*` for every element of a list). A body that is compressed is
inflated up to a bound. What cannot be read is counted as missing (not there) or invalid (not of its kind, or not a
finite number), for a version that stops answering properly must not look like one that predicts nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from itertools import islice
from math import isfinite
from typing import Any, Final

import msgspec

from proxy.data.answers import disguise, open_inference
from proxy.data.wire.http1 import Headers
from proxy.ledger.labels import LabelTable
from proxy.ledger.layout import NUMBER_BUCKETS
from proxy.ledger.reading import Reading
from proxy.ledger.writer import Writer
from proxy.snapshot import Output, Predictions

MAX_ITEMS: Final = 1024
"""Predictions of one output that are read from one answer; a larger batch is counted up to here."""
_NUMBERS: Final = frozenset((int, float))
"""What JSON numbers are decoded to; `bool` is an int in Python and no number here."""
HUGE: Final = 10**300
"""JSON has integers that are no float: they would break the arithmetic. NaN is not below it either."""


class Unlisted(Reading):
    """Labels that no table has: they are in no count, and two answers can be compared. `prints` are 64-bit hashes of
    them that mean nothing outside this process."""

    __slots__ = ("prints",)

    def __init__(self, output: int, prints: list[int], invalid: int) -> None:
        super().__init__(output, invalid=invalid)
        self.prints = prints


_DECODE_ANY: Final = msgspec.json.Decoder()


class PredictionReader:
    """Reads the outputs of one route. `max_body_bytes` bounds an answer as it comes and as it is read: eight kilobytes
    of gzip may be eight megabytes of brackets, which take a second to read and 200 MB."""

    __slots__ = ("_categories", "_names", "_outputs", "_tables", "_v2", "max_body_bytes")

    def __init__(self, predictions: Predictions, writer: Writer, label_key: bytes = b"") -> None:
        self._v2 = predictions.protocol == "open-inference"
        self._outputs = predictions.outputs
        self._categories = tuple(output.kind == "category" for output in predictions.outputs)
        self._names = tuple(output.name for output in predictions.outputs)
        self._tables = tuple([disguise.table(writer, output, label_key) for output in predictions.outputs])
        self.max_body_bytes = predictions.max_body_bytes

    def read(self, headers: Headers, body: bytes | None) -> list[Reading]:
        """One reading for each output of the route, in order. `body` is None where it was too long to be kept."""
        found = None if body is None else self._values(headers, body)
        if found is None:
            return [Reading(index, invalid=1) for index in range(len(self._outputs))]
        readings: list[Reading] = []
        for index, output in enumerate(self._outputs):
            values = found[index]
            if values is None:
                readings.append(Reading(index, missing=1))
            elif self._categories[index]:
                readings.append(read_category(index, values, self._tables[index]))
            else:
                readings.append(read_number(index, values, output))
        return readings

    def compare(
        self, stable: Sequence[Reading], shadow: Sequence[Reading]
    ) -> list[tuple[int, bool, Sequence[tuple[int, int]]]]:
        """For each output that both answers had: (output, whether they disagree, label pairs)."""
        found: list[tuple[int, bool, Sequence[tuple[int, int]]]] = []
        for index, output in enumerate(self._outputs):
            one, other = stable[index], shadow[index]
            differ = compared(output, self._categories[index], one, other)
            if differ is not None:
                labels = zip(one.labels, other.labels)  # noqa: B905 - a keyword costs as much as the rest
                found.append((index, differ, list(labels) if self._categories[index] else ()))
        return found

    def _values(self, headers: Headers, body: bytes) -> list[list[Any] | None] | None:
        """The raw values of each output (None where it is missing), or None where the body cannot be read."""
        text = plain(headers, body, self.max_body_bytes)
        if text is None:
            return None
        if self._v2:
            answer = _decode(open_inference.DECODER, text)
            if not isinstance(answer, open_inference.Answer):
                return None
            tensors: dict[str, list[Any] | None] = {}
            for tensor in answer.outputs:
                tensors[tensor.name] = tensor.data
            return [tensors.get(name) for name in self._names]
        document = _decode(_DECODE_ANY, text)
        return None if document is _UNREADABLE else [_at(document, output.path) for output in self._outputs]


def compared(output: Output, category: bool, one: Reading, other: Reading) -> bool | None:
    """Whether two readings of an output disagree; None where one of them has nothing to compare."""
    if category:
        if one.labels and other.labels:
            return one.labels != other.labels
        if isinstance(one, Unlisted) and isinstance(other, Unlisted) and one.prints and other.prints:
            return one.prints != other.prints
        return None
    return _apart(one.numbers, other.numbers, output.tolerance) if one.numbers and other.numbers else None


def _apart(numbers: Sequence[float], others: Sequence[float], tolerance: float) -> bool:
    if len(numbers) != len(others):
        return True
    for at, number in enumerate(numbers):  # noqa: SIM110 - a generator is never compiled
        if abs(number - others[at]) > tolerance:
            return True
    return False


_UNREADABLE: Final = object()


def _decode(decoder: Any, text: bytes) -> Any:
    """The document, or _UNREADABLE. Python servers write NaN and Infinity, which JSON does not have: read those too."""
    try:
        return decoder.decode(text)
    except RecursionError:
        return _UNREADABLE
    except ValueError:
        try:
            document = json.loads(text)
            return msgspec.convert(document, open_inference.Answer) if decoder is open_inference.DECODER else document
        except (ValueError, RecursionError):
            return _UNREADABLE


def plain(headers: Headers, body: bytes, max_bytes: int) -> bytes | None:
    """The body without its content coding, or None where it cannot be undone within the bound."""
    coding = b""
    json_bytes = None
    for name, value in headers:
        if name == b"content-encoding":
            coding = value.strip().lower()
        elif name == b"inference-header-content-length" and value.isdigit():
            json_bytes = int(value)
    if coding in (b"gzip", b"x-gzip", b"deflate"):
        inflater = zlib.decompressobj(47 if coding != b"deflate" else 15)
        try:
            body = inflater.decompress(body, max_bytes + 1)
        except zlib.error:
            return None
        if len(body) > max_bytes:
            return None
    elif coding not in (b"", b"identity"):
        return None
    return body if json_bytes is None else body[:json_bytes]


def _at(document: Any, path: Sequence[str | int]) -> list[Any] | None:
    """The values at a path, or None where it leads nowhere."""
    here = [document]
    for step in path:
        here = [found for value in here for found in _step(value, step)][:MAX_ITEMS]
    return here or None


def _step(value: Any, step: str | int) -> list[Any]:
    if isinstance(value, list):
        if step == "*":
            return value[:MAX_ITEMS]
        return value[step : step + 1 or None] if isinstance(step, int) else []
    return [value[step]] if isinstance(value, dict) and step in value else []


def _flat(values: list[Any]) -> list[Any]:
    """The values of lists in lists, in their order, up to the bound; most are flat already."""
    for value in values:
        if isinstance(value, list):
            return list(islice(_deep(values), MAX_ITEMS))
    return values if len(values) <= MAX_ITEMS else values[:MAX_ITEMS]


def _deep(values: Iterable[Any]) -> Iterable[Any]:
    open_lists = [iter(values)]
    while open_lists:
        for value in open_lists[-1]:
            if isinstance(value, list):
                open_lists.append(iter(value))
                break
            yield value
        else:
            open_lists.pop()


def read_category(index: int, values: list[Any], table: LabelTable | None) -> Reading:
    """The values of an output that is counted by label, or (without a table) compared alone."""
    if table is None:
        return _read_unlisted(index, values)
    slots: list[int] = []
    invalid = 0
    for value in _flat(values):
        label = label_of(value)
        if label is None:
            invalid += 1
        else:
            slots.append(table.slot(label))
    return Reading(index, labels=slots, invalid=invalid)


def _read_unlisted(index: int, values: list[Any]) -> Reading:
    labels = [label_of(value) for value in _flat(values)]
    prints = [hash(label) for label in labels if label is not None]
    return Unlisted(index, prints, len(labels) - len(prints))


def label_of(value: Any) -> str | None:
    """A label as text: `3`, `3.0` and `"3"` are one label, for versions differ in the type they answer with."""
    if isinstance(value, str):
        return value
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if abs(value) < HUGE else None
        case float() if isfinite(value):
            return str(int(value)) if value.is_integer() else repr(value)
        case _:
            return None


def read_number(index: int, values: list[Any], output: Output) -> Reading:
    """The values of an output that is a number, clipped to its range."""
    low, high = output.low, output.high
    scale = NUMBER_BUCKETS / (high - low) if high > low else 0.0
    numbers: list[float] = []
    buckets: list[int] = []
    invalid = clipped = 0
    for value in _flat(values):
        if type(value) not in _NUMBERS or not abs(value) < HUGE:
            invalid += 1
            continue
        number = min(max(float(value), low), high)
        clipped += number != value
        numbers.append(number)
        buckets.append(min(int((number - low) * scale), NUMBER_BUCKETS - 1))
    return Reading(index, numbers=numbers, number_buckets=buckets, invalid=invalid, clipped=clipped)
