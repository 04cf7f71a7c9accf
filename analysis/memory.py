"""The state of a Judge as bytes and back, bit for bit. No pickle: what is read can only be numbers and texts."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.summaries import FloatArray

_TEXTS = "texts"
_FORMAT = 3


def pack(texts: Mapping[str, object], arrays: Mapping[str, FloatArray]) -> bytes:
    """An .npz of the arrays and of the texts as JSON, lightly compressed."""
    stored = np.frombuffer(json.dumps({"format": _FORMAT, **texts}).encode(), dtype=np.uint8)
    named: dict[str, NDArray[Any]] = {_TEXTS: stored, **arrays}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **named)
    return zlib.compress(buffer.getvalue(), 1)


def unpack(data: bytes) -> tuple[dict[str, object], dict[str, FloatArray]]:
    """What `pack` was given.

    Raises:
        ValueError: the bytes are not evidence of this release.
    """
    try:
        with np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        texts = json.loads(arrays.pop(_TEXTS).tobytes())
    except (zlib.error, zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"these {len(data)} bytes are not stored evidence: {error}; begin the rollout anew") from error
    if not isinstance(texts, dict) or texts.pop("format", None) != _FORMAT:
        raise ValueError("this evidence is of another release; begin the rollout anew")
    return texts, arrays


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
