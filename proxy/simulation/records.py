"""Lines as typed records: one request, one mirrored request, one truth, or how many were assigned.

What is refused is refused with its line. Outputs are not checked here: what a model answers may be of any type, and
what cannot be read of it is counted, as live. Keys that have no meaning here are passed over: they are of the log.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, Meta
from numpy.typing import NDArray

Time = Annotated[float, Meta(ge=-1e11, le=1e11)]
LatencyMs = Annotated[float, Meta(ge=0, le=86_400_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Stage = Annotated[int, Meta(ge=0, le=1_000_000)]
Ints = NDArray[np.int64]
Count = Annotated[int, Meta(ge=0, le=1 << 50)]


class RefusedError(ValueError):
    """A record cannot be used. `line` counts from 1; 0 means the records as a whole."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(f"line {line}: {message}; {remedy}" if line else f"{message}; {remedy}")
        self.line, self.message, self.remedy = line, message, remedy


Said = TypeVar("Said")
"""What the outputs of a route are decoded to."""


class Side(msgspec.Struct, Generic[Said], gc=False, kw_only=True, rename="camel"):
    """What one version did with a request. A request without a latency is answered, and its latency is not known."""

    latency_ms: LatencyMs | None = None
    error: bool | None = None
    outputs: Said | None = None


Pair = dict[str, Side[Said] | None]
"""All answers to a mirrored request: `stable`'s, that of the `shadow` or of each candidate by its name, and `repeat`,
stable's second one, where it was asked twice. None is an answer that there is not."""


class Record(msgspec.Struct, Generic[Said], gc=False, kw_only=True, rename="camel"):
    """One line: a Side with what else is known of it. `t` is the arrival in seconds of any clock, `weight` in percent;
    stage and weight are as of the assignment."""

    t: Time
    latency_ms: LatencyMs | None = None
    error: bool | None = None
    outputs: Said | None = None
    backend: str | None = None
    stage: Stage | None = None
    weight: Percent | None = None
    user: str | int | None = None
    request: str | int | None = None
    pair: Pair[Said] | None = None
    truth: Any = UNSET
    assigned: dict[str, Count] | None = None


def said_type(names: Sequence[str]) -> type[msgspec.Struct]:
    """What `outputs` are decoded to: one field for each output of the route, `o0`, `o1` and so on, of any type."""
    fields = [(f"o{number}", Any, UNSET) for number in range(len(names))]
    names_by_field = {f"o{number}": name for number, name in enumerate(names)}
    return msgspec.defstruct("Outputs", fields, rename=names_by_field, gc=False)


class Batch(NamedTuple):
    """What some lines say: their records, up to the first that is refused, with the numbers of their lines.

    `plain` says that all of them are requests and nothing else; what is not known to be so is not plain.
    """

    records: list[Record[Any]]
    lines: Ints
    refused: RefusedError | None = None
    plain: bool = False


class Lines:
    """Reads the records of a route with these outputs."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self._type: Any = Record[said_type(outputs)]  # type: ignore[misc]  # made for the route
        self._decoder = msgspec.json.Decoder(self._type)

    def decode(self, first_line: int, text: bytes) -> Batch:
        """The records of some lines, the first of which has this number."""
        try:
            records: list[Record[Any]] = self._decoder.decode_lines(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._one_by_one(first_line, text)
        lines = newlines(text) + (not text.endswith(b"\n"))
        plain = _all_requests(records)
        if len(records) != lines or not (plain or all(_kinds(record) == 1 for record in records)):
            return self._one_by_one(first_line, text)  # there are empty lines, several records on one, or what is none
        return Batch(records, np.arange(first_line, first_line + len(records)), plain=plain)

    def _one_by_one(self, first_line: int, text: bytes) -> Batch:
        records: list[Record[Any]] = []
        lines: list[int] = []
        refused = None
        for line, each in enumerate(text.split(b"\n"), first_line):
            if not each.strip():
                continue
            try:
                record = self._record(each)
            except ValueError as error:
                refused = self._unusable(line, error, each)
                break
            if _kinds(record) != 1:
                refused = _unkind(line, record)
                break
            records.append(record)
            lines.append(line)
        return Batch(records, np.array(lines, dtype=np.int64), refused)

    def _record(self, line: bytes) -> Record[Any]:
        """A record. Python writes NaN and Infinity, which JSON does not have: they are read too, and counted as live.

        Raises:
            ValueError: it is none.
        """
        try:
            record: Record[Any] = self._decoder.decode(line)
        except (msgspec.ValidationError, UnicodeDecodeError):
            raise
        except (msgspec.DecodeError, RecursionError) as error:
            try:
                found = json.loads(line.decode())  # of bytes it would guess UTF-16 as well
            except UnicodeDecodeError:
                raise
            except (ValueError, RecursionError):
                raise ValueError(f"is not JSON: {error}") from error
            record = msgspec.convert(found, self._type)
        return record

    def _unusable(self, line: int, error: ValueError, text: bytes) -> RefusedError:
        if isinstance(error, UnicodeDecodeError):
            byte = error.object[error.start]
            return RefusedError(
                line, f"byte 0x{byte:02x} is not UTF-8", "write the records as UTF-8, as JSON has to be"
            )
        path, said = _place(str(error))
        if not path:
            lacks = said.startswith("object missing")
            return RefusedError(line, said, _REMEDIES["t"] if lacks else "write one JSON object on each line")
        path = self._named(path, text)
        remedy = _REMEDIES.get(path.rpartition(".")[2], "docs/simulate.md says what may stand there")
        return RefusedError(line, f"{path}: {said}{_got(text, path, said)}", remedy)

    def _named(self, path: str, text: bytes) -> str:
        """A path with the key that is wrong: the decoder does not tell which one of several it was."""
        outer, unnamed, rest = path.partition("[...]")
        if unnamed:
            found = json.loads(text)
            for key, value in found[outer].items():
                try:
                    msgspec.convert({**found, outer: {key: value}}, self._type)
                except msgspec.ValidationError:
                    return f"{outer}.{key}{rest}"
        return path


_NEWLINE: Final = ord("\n")
_REMEDIES: Final = {
    "t": "give the arrival as a number of seconds, of any clock",
    "latencyMs": "give a number of milliseconds, or leave it away where it is not known",
    "error": "say true or false",
    "weight": "give the candidate's weight in percent, from 0 to 100",
    "stage": "give a number that counts up: 0, 1, 2",
}
_KINDS: Final = "give it a `backend`, a `pair`, a `request` with its `truth`, or `assigned`"


def newlines(text: bytes) -> int:
    """How many lines end in a text: a sixth of the time of `bytes.count`, since lines are short."""
    return int(np.count_nonzero(np.frombuffer(text, dtype=np.uint8) == _NEWLINE))


def _all_requests(records: Sequence[Record[Any]]) -> bool:
    """Whether all of them are requests and nothing else, in a fraction of the time that it takes to count kinds."""
    found = [  # a list: a generator takes twice as long
        record.backend is not None and record.truth is UNSET and record.pair is None and record.assigned is None
        for record in records
    ]
    return all(found)


def _kinds(record: Record[Any]) -> int:
    truth = record.truth is not UNSET
    if truth and record.request is None:
        return 0
    return sum((record.backend is not None and not truth, record.pair is not None, record.assigned is not None, truth))


def _unkind(line: int, record: Record[Any]) -> RefusedError:
    if record.truth is not UNSET and record.request is None:
        return RefusedError(line, "request: is missing: nobody knows what the truth is of", "name the request")
    found = [key for key in ("backend", "pair", "assigned") if getattr(record, key) is not None]
    found += ["truth"] if record.truth is not UNSET else []
    said = f"is of several kinds: {', '.join(found)}" if found else "is of no kind that is known"
    return RefusedError(line, said, _KINDS)


def _got(text: bytes, path: str, said: str) -> str:
    """The value at a path of a line, in words; nothing where that is not to be had. The decoder tells of what is out of
    bounds the bounds alone, and of what is of another type the type."""
    try:
        found = json.loads(text)
        for key in path.split("."):
            found = found[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    if not isinstance(found, int | float | str):
        return ""
    return f" {found!r:.40}" if ", got " in said else f", got {found!r:.40}"


def _place(said: str) -> tuple[str, str]:
    """A message of the decoder as (path, what is wrong).

    >>> _place("Expected `float`, got `str` - at `$.t`")
    ('t', 'expected `float`, got `str`')
    """
    message, at, path = said.rpartition(" - at `$")
    message = message if at else said
    return path.rstrip("`").removeprefix(".") if at else "", message[:1].lower() + message[1:]
