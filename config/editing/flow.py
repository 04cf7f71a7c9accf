"""A value in one line of YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_PLAIN: Final = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_][\w./-]*", re.ASCII | re.IGNORECASE)


def in_flow(value: Any) -> str:
    """The value as a flow collection or a scalar, with quotes only where a text needs them.

    >>> in_flow({"backendRefs": ({"name": "v2", "role": "stable"}, {"name": "1", "weight": 3})})
    '{backendRefs: [{name: v2, role: stable}, {name: "1", weight: 3}]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{in_flow(key)}: {in_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(in_flow, value)) + "]"
    return json.dumps(value)
