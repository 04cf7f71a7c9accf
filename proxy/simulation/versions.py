"""Whom records may name: the backends of a route, and of a mirrored request who has answered its copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from config import schema
from proxy.control.machine.steps import Plan
from proxy.simulation.order import Second
from proxy.simulation.records import RefusedError

STABLE: Final = "stable"
SHADOW: Final = "shadow"
REPEAT: Final = "repeat"
"""Keys of a pair that are roles; all others are names of candidates."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of a rollout, and `known`, all backends of its route."""

    route: str
    stable: str
    candidates: tuple[str, ...]
    baseline: str
    known: frozenset[str]
    _answered: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    """Keys of pairs that were seen before, and what they say."""

    @classmethod
    def of(cls, route: schema.Route, plan: Plan) -> Versions:
        """Those of a route and its rollout."""
        candidates = tuple(runner.name for runner in plan.rivals) or (plan.candidate,)
        known = frozenset(ref.name for ref in route.backend_refs)
        return cls(plan.route, plan.stable, candidates, plan.baseline, known)

    @property
    def compared(self) -> tuple[str, ...]:
        """Those whose requests are counted."""
        return tuple(filter(None, (self.stable, *self.candidates, self.baseline)))

    @property
    def arms(self) -> int:
        """How many rows a stage of them takes at most: each may be live, and all but a baseline have copies."""
        return 2 * (1 + len(self.candidates)) + bool(self.baseline)

    def refuse_strangers(self, second: Second, backends: Iterable[str | None]) -> None:
        """See to it that the route has all `backends` that the records name, and that pairs say whose they are.

        Raises:
            RefusedError: of the first record of which that is not so.
        """
        strangers = {*backends} - self.known - {None}
        if not strangers and None not in backends:
            return
        for line, record in zip(second.lines, second.records, strict=True):
            if record.backend in strangers:
                raise self.stranger(int(line), "backend", str(record.backend))
            if record.pair is not None:
                try:
                    self.copies(record.pair)
                except _UnnamedError as error:
                    raise RefusedError(int(line), error.message, error.remedy) from error

    def stranger(self, line: int, key: str, name: str) -> RefusedError:
        """What is said of a name that no backend of the route has."""
        message = f"{key}: {name} is no backend of route {self.route}"
        return RefusedError(line, message, f"its backends are {_listed(self.known)}; take other records away")

    def copies(self, pair: Mapping[str, object]) -> Mapping[str, str]:
        """Which candidates have answered a copy of a request, by name, with the key of each answer."""
        keys = tuple(key for key, answer in pair.items() if answer is not None)
        if (found := self._answered.get(keys)) is None:
            found = self._answered[keys] = self._resolved(keys)
        return found

    def _resolved(self, keys: tuple[str, ...]) -> dict[str, str]:
        if STABLE not in keys:
            raise _UnnamedError("pair: stable is missing", f"give the answer of {self.stable} as `{STABLE}`")
        found: dict[str, str] = {}
        for key in keys:
            name = self._candidate_at(key)
            if name in found:
                raise _UnnamedError(f"pair: {name} has answered twice, as {found[name]} and as {key}", "keep one")
            if name:
                found[name] = key
        if not found and not any(key in self.known for key in keys):
            names = self.candidates if len(self.candidates) > 1 else (SHADOW, *self.candidates)
            raise _UnnamedError("pair: nobody has answered the copy", f"give the answer of {_either(names)}")
        return found

    def _candidate_at(self, key: str) -> str:
        """The candidate that a key stands for; "" for what is of no candidate."""
        if key in self.candidates and key not in (STABLE, REPEAT):
            return key
        if key == SHADOW:
            if len(self.candidates) > 1:
                message = f"pair.shadow: does not say which of {len(self.candidates)} candidates has answered"
                raise _UnnamedError(message, f"call the answer {_either(self.candidates)} instead")
            return self.candidates[0]
        if key in (STABLE, REPEAT):
            return ""
        if key == self.stable:
            raise _UnnamedError(f"pair: {key} is the stable version", f"call its answer `{STABLE}`")
        if key not in self.known:
            remedy = f"its candidates are {_listed(self.candidates)}"
            raise _UnnamedError(f"pair: {key} is no backend of route {self.route}", remedy)
        return ""  # copies for somebody who is not compared


class _UnnamedError(ValueError):
    """A pair that does not say whose it is."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _either(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
