"""The part of an Open Inference Protocol V2 answer that predictions are read from.

It stands apart since msgspec reads the fields of a structure from its class, which a compiled class does not show.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Tensor(msgspec.Struct):
    """An output by name. `data` is None where it is not in the JSON, such as in binary tensors."""

    name: str
    data: list[Any] | None = None


class Answer(msgspec.Struct):
    """The outputs of one inference."""

    outputs: list[Tensor]


DECODER: Final = msgspec.json.Decoder(Answer)
