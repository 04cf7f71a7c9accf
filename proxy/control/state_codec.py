"""A rollout's state as JSON-able values and back, with a version that is checked.

Version 1 is the fields of `State` under their own names. A change of those fields is a new version, and `decode`
learns to read the old one: a test holds version 1 to the letter.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from proxy.control.state import State

VERSION: Final = 1


def encode(state: State) -> dict[str, Any]:
    """The state as values that JSON knows, with the version."""
    fields: dict[str, Any] = msgspec.to_builtins(state)
    return {"version": VERSION, **fields}


def decode(values: object) -> State:
    """The state of such values.

    Raises:
        ValueError: the version is unknown, or a field is missing or of the wrong type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"a rollout's state is a mapping, not {type(values).__name__}")
    version = values.get("version")
    if version != VERSION:
        raise ValueError(f"a rollout's state of version {version!r} is unknown to this release, which reads {VERSION}")
    try:
        return msgspec.convert({name: value for name, value in values.items() if name != "version"}, State)
    except msgspec.ValidationError as error:
        raise ValueError(f"a rollout's state is damaged: {error}") from error
