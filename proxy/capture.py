"""Captured requests: by which rules a worker writes them down (DOWN, a part of the snapshot), and one that it has
written (UP, a message of the channel).

What goes up has been through the rules already: nothing that they take away ever leaves the worker.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

Policy = Literal["keep", "mask", "hash", "drop"]
"""What becomes of a value; each lets out less than the one before. `proxy.data.answers.disguise` says how they look."""
POLICIES: Final[tuple[Policy, ...]] = get_args(Policy)
Kind = Literal["sample", "disagreement", "error"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
"""Why a request was captured: by chance, since a copy was answered otherwise, since it failed."""


class Field(msgspec.Struct, frozen=True):
    """A place in JSON bodies, as names of members; of lists `*` is every element and digits are one."""

    steps: tuple[str, ...]
    policy: Policy


class Capture(msgspec.Struct, frozen=True):
    """What is captured of a route. `share` of its live requests is in parts of `proxy.snapshot.CIRCLE`; `per_minute`
    is of each kind and of all workers together. What `fields` do not name has the policy `other`. Names of header
    fields are in lower case."""

    share: int = 0
    disagreements: bool = False
    errors: bool = False
    per_minute: int = 60
    max_body_bytes: int = 64 << 10
    fields: tuple[Field, ...] = ()
    other: Policy = "drop"
    path: Policy = "drop"
    headers: tuple[tuple[str, Policy], ...] = ()

    @property
    def digests(self) -> bool:
        """Whether something is written that needs the key of labels."""
        policies = {self.other, self.path, *(field.policy for field in self.fields), *dict(self.headers).values()}
        return bool(policies & {"hash", "mask"})


class Captured(msgspec.Struct, frozen=True, tag="captured"):
    """A captured request. `data` is the JSON that people read (`proxy.data.routing.capturing`)."""

    route: str
    kind: Kind
    at_s: float
    data: bytes
