"""The state of a Judge as bytes and back, bit for bit. No pickle: what is read can only be numbers and texts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import prod
from typing import Any, Final

import numpy as np

from analysis import summaries
from analysis.summaries import FloatArray, Moments, Repeats

_ARRAY, _MAP = "array", "map"
_COUNTS: Final = (
    summaries.ArmCounts,
    summaries.PairCounts,
    summaries.TruthCounts,
    summaries.ArmTruths,
    Moments,
    Repeats,
)
_FORMAT: Final = 5
_LENGTH_BYTES: Final = 8
"""What stands first: the length of the JSON."""
_CELL: Final = np.dtype("<f8")


def pack(texts: Mapping[str, object], arrays: Mapping[str, FloatArray]) -> bytes:
    """The arrays one after the other behind what tells of them and the texts as JSON, lightly compressed. A controller
    does so for every rollout once a second: an .npz, which has a head of its own for each array, takes three times as
    long."""
    shapes = [[name, array.shape] for name, array in arrays.items()]
    head = json.dumps({"format": _FORMAT, "arrays": shapes, "texts": texts}).encode()
    cells = (np.ascontiguousarray(array, _CELL).data for array in arrays.values())
    return zlib.compress(b"".join([len(head).to_bytes(_LENGTH_BYTES, "little"), head, *cells]), 1)


def unpack(data: bytes) -> tuple[dict[str, object], dict[str, FloatArray]]:
    """What `pack` was given.

    Raises:
        ValueError: the bytes are not evidence of this release.
    """
    try:
        content = zlib.decompress(data)
        begin = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
        head = json.loads(content[_LENGTH_BYTES:begin])
    except (zlib.error, ValueError) as error:
        raise ValueError(f"these {len(data)} bytes are not stored evidence: {error}; begin the rollout anew") from error
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise ValueError("this evidence is of another release; begin the rollout anew")
    arrays: dict[str, FloatArray] = {}
    for name, shape in head["arrays"]:
        end = begin + prod(shape) * _CELL.itemsize
        if end > len(content):
            raise ValueError(f"these {len(data)} bytes are not all of the stored evidence; begin the rollout anew")
        arrays[name] = np.frombuffer(content[begin:end], _CELL).reshape(shape)
        begin = end
    return head["texts"], arrays


def refill(kept: Mapping[str, FloatArray], stored: Mapping[str, FloatArray]) -> None:
    """Copy stored arrays into those in use.

    Raises:
        ValueError: the names or shapes differ; nothing is changed then.
    """
    shapes = {name: array.shape for name, array in kept.items()}
    if shapes != {name: array.shape for name, array in stored.items()}:
        raise ValueError("this evidence is of another plan; begin the rollout anew")
    for name, array in kept.items():
        array[...] = stored[name]


def plain(value: object) -> object:
    """Counts of any form as JSON takes them, exactly: floats keep every digit, arrays their places above 0.

    >>> plain((1.5, {"a": Moments(1.0, 2.0, 4.0)}))
    [1.5, {'is': 'map', 'of': [['a', {'is': 'Moments', 'of': [1.0, 2.0, 4.0]}]]}]
    """
    match value:
        case np.ndarray():
            flat = value.reshape(-1)
            places = np.flatnonzero(flat)
            return {"is": _ARRAY, "of": [list(value.shape), places.tolist(), flat[places].tolist()]}
        case Repeats():
            return {"is": "Repeats", "of": list(value)}
        case Mapping():
            return {"is": _MAP, "of": [[key, plain(each)] for key, each in value.items()]}
        case tuple() | list():
            return [plain(each) for each in value]
        case None | bool() | int() | float() | str():
            return value
        case _ if is_dataclass(value):
            of = [plain(getattr(value, each.name)) for each in fields(value)]
            return {"is": type(value).__name__, "of": of}
    raise TypeError(f"{type(value).__name__} is no count")


def revived(value: object, *kinds: type) -> Any:
    """What `plain` was given, with tuples for lists; `kinds` may be in it beside the counts of a slice.

    Raises:
        ValueError: something else is in it.
    """
    match value:
        case {"is": kind, "of": [*of]}:
            known = {each.__name__: each for each in (*_COUNTS, *kinds)}
            if kind == _ARRAY:
                shape, places, values = of
                array = np.zeros(shape)
                array.reshape(-1)[places] = values
                return array
            if kind == _MAP:
                return {key: revived(each, *kinds) for key, each in of}
            if kind not in known:
                raise ValueError(f"{kind!r} is no count of this release; begin the rollout anew")
            return known[kind](*(revived(each, *kinds) for each in of))
        case [*each_of]:
            return tuple(revived(each, *kinds) for each in each_of)
        case _:
            return value
