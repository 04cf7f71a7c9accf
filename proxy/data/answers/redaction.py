"""What is let out of a JSON body: each value kept, masked, hashed or dropped by its path. Pure.

    {"instances": [{"name": "Ann Lee", "age": 41, "note": "…"}]}
        instances[*].name: mask, instances[*].age: keep, all else: drop
    {"instances": [{"name": "A…e#5f21c9", "age": 41}]}

The body is read and written anew: what the rules do not let out has no way into the result, in whatever form it came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.capture import Field, Policy
from proxy.data.answers import disguise
from proxy.data.answers.predictions import label_of

MAX_ELEMENTS: Final = 1024
"""Of a list whose elements are named: the rest is left out, and said to be. A body of 64 KiB has some 16,000 numbers,
and to look at each takes 20 ms, in which a worker serves nobody."""
MAX_DIGESTS: Final = 1024
"""Values of one body that are hashed, 2 µs each; those beyond are written as a sign that there was one."""
MAX_DEPTH: Final = 32
"""From here on what is masked or hashed is so as one value."""
UNTOLD: Final = "…"
_GONE: Final = object()
"""Nothing is let out: a member goes with its name."""


class Node:
    """A place in the body: its own policy, None where that of the place above holds, and what is named below."""

    __slots__ = ("below", "policy")

    def __init__(self) -> None:
        self.policy: Policy | None = None
        self.below: dict[str, Node] = {}


class Rules:
    """The rules of a route. Without a key what should be masked or hashed is dropped."""

    __slots__ = ("_key", "_other", "_root")

    def __init__(self, fields: Sequence[Field], other: Policy, key: bytes) -> None:
        self._key = key
        self._other: Policy = other
        self._root = Node()
        for field in fields:
            node = self._root
            for step in field.steps:
                node = node.below.setdefault(step, Node())
            node.policy = field.policy

    def apply(self, document: Any) -> tuple[Any, bool]:
        """What is let out of a decoded body, None where nothing is; and whether anything was cut for its number."""
        writing = _Writing(self._key)
        found = writing.at(document, self._root, self._other)
        return (None if found is _GONE else found), writing.cut

    def text(self, text: str, policy: Policy) -> str | None:
        """What is let out of a text that is in no body, such as a header field."""
        found = _Writing(self._key).plainly(text, policy)
        return None if found is _GONE else found


class _Writing:
    """One body on its way out."""

    __slots__ = ("_hash", "_left", "_mask", "cut")

    def __init__(self, key: bytes) -> None:
        self._hash: Callable[[str], str] | None = disguise.hashed(key) if key else None
        self._mask: Callable[[str], str] | None = disguise.masked(key) if key else None
        self._left = MAX_DIGESTS
        self.cut = False

    def at(self, value: Any, node: Node, policy: Policy) -> Any:
        """A value at a place that is named, or on the way to one."""
        policy = node.policy or policy
        if node.below and isinstance(value, dict):
            return self._object(value, node.below, policy)
        if node.below and isinstance(value, list):
            return self._list(value, node.below, policy)
        return self.plainly(value, policy)

    def _object(self, value: Mapping[str, Any], below: Mapping[str, Node], policy: Policy) -> Any:
        found = {}
        for name, member in value.items():
            node = below.get(name)
            written = self.plainly(member, policy) if node is None else self.at(member, node, policy)
            if written is not _GONE:
                found[name] = written
        return found if found or policy != "drop" else _GONE

    def _list(self, value: list[Any], below: Mapping[str, Node], policy: Policy) -> Any:
        """Elements keep their places: what is dropped of one among others leaves null there."""
        every = below.get("*")
        self.cut |= len(value) > MAX_ELEMENTS
        found = []
        for index, element in enumerate(value[:MAX_ELEMENTS]):
            node = every or below.get(str(index))
            found.append(self.plainly(element, policy) if node is None else self.at(element, node, policy))
        if all(written is _GONE for written in found):
            return _GONE if found or policy == "drop" else found
        return [None if written is _GONE else written for written in found]

    def plainly(self, value: Any, policy: Policy, depth: int = 0) -> Any:
        """A value of which nothing is named."""
        if policy == "keep":
            return value
        write = self._hash if policy == "hash" else self._mask
        if policy == "drop" or write is None:
            return _GONE
        if isinstance(value, dict) and depth < MAX_DEPTH:
            return {name: self.plainly(member, policy, depth + 1) for name, member in value.items()}
        if not self._left:
            self.cut = True
            return UNTOLD
        self._left -= 1
        if isinstance(value, bool) or value is None:
            write = self._hash if policy == "hash" else _tag(write)
            assert write is not None
        return write(_text(value))


def _tag(mask: Callable[[str], str]) -> Callable[[str], str]:
    """Of what is one of three words the ends are all of it."""
    return lambda text: UNTOLD + mask(text)[-disguise.MASK_DIGITS - 1 :]


def _text(value: Any) -> str:
    """What is hashed: of a label the same as where labels are counted."""
    if isinstance(value, list | dict) or value is None:
        return msgspec.json.encode(value).decode()
    return label_of(value) or str(value)
