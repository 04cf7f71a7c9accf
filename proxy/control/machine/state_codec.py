"""A rollout's state as JSON-able values and back, with a version that is checked.

Version 1 is the fields of `State` under their own names, without those of a swap, of several versions and of endpoints;
version 2 has those of a swap too, version 3 those of several versions, version 4 the endpoints that are replaced one by
one, version 5 who has them after an edit, and version 6 the versions that are out since earlier rollouts. Each is only
written where there is something in its fields, so that an older release can read all else. A change of the fields is a
new version, and `decode` learns to read the old one: tests hold all of them to the letter.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from proxy.control.machine.state import State

VERSION: Final = 6
_SWAP: Final = {"doing": "", "doing_since_s": 0.0, "ended_reason": ""}
"""What version 1 does not have, as it is where nothing was swapped."""
_SEVERAL: Final = {"baseline": "", "race": ()}
"""What version 2 does not have, as it is where one candidate is compared with stable itself."""
_ENDPOINTS: Final = {"places": ()}
"""What version 3 does not have, as it is where no endpoints are replaced one by one."""
_EDITED: Final = {"former": ""}
"""What version 4 does not have, as it is where nobody but the candidate has its endpoints."""
_LATCHED: Final = {"latched": ()}
"""What version 5 does not have, as it is where no earlier rollout has left anybody out."""

_PARTS: Final = ((_LATCHED, 5), (_EDITED, 4), (_ENDPOINTS, 3), (_SEVERAL, 2), (_SWAP, 1))
"""The fields by the last version that is without them, the newest first."""


def encode(state: State) -> dict[str, Any]:
    """The state as values that JSON knows, with the version."""
    fields: dict[str, Any] = msgspec.to_builtins(state)
    version = VERSION
    for parts, older in _PARTS:
        if version != older + 1 or any(fields[name] != value for name, value in parts.items()):
            break
        version = older
        fields = {name: value for name, value in fields.items() if name not in parts}
    return {"version": version, **fields}


def decode(values: object) -> State:
    """The state of such values.

    Raises:
        ValueError: the version is unknown, or a field is missing or of the wrong type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"a rollout's state is a mapping, not {type(values).__name__}")
    version = values.get("version")
    if version not in range(1, VERSION + 1):
        raise ValueError(
            f"a rollout's state of version {version!r} is unknown to this release, which reads up to {VERSION}"
        )
    try:
        return msgspec.convert({name: value for name, value in values.items() if name != "version"}, State)
    except msgspec.ValidationError as error:
        raise ValueError(f"a rollout's state is damaged: {error}") from error
