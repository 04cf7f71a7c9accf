"""What can still be read of a file with mistakes in it, so that all its problems can be told at once.

What parts must agree upon can only be checked on parts that are themselves valid. So every key of a route that the
schema refused is left out and remembered as damaged, and the checks which need it are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from config.listeners.access import Admin
from config.listeners.listening import Listen
from config.schema import Config, Route
from config.values.addresses import Endpoint
from config.values.problems import Loc

_ENDPOINTS: Final[TypeAdapter[tuple[Endpoint, ...]]] = TypeAdapter(tuple[Endpoint, ...])
_STAND_INS: Final[dict[str, Any]] = {"name": "unnamed", "backendRefs": ({"name": "unnamed"},)}


@dataclass(frozen=True, slots=True)
class RouteSketch:
    """A route as far as it is valid; of the keys in `damaged` it has stand-ins."""

    index: int
    route: Route
    damaged: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sketch:
    """A file as far as it is valid. `backends` has a name by place, `all_backends` says if none is missing there;
    `unchecked` are the names of those without a health check, `endpoints` the addresses by name."""

    listen: tuple[Listen, ...]
    admin: Admin | None
    backends: dict[int, str]
    all_backends: bool
    routes: tuple[RouteSketch, ...]
    unchecked: frozenset[str] = frozenset()
    endpoints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def whole(config: Config) -> Sketch:
    """A file without mistakes of its parts."""
    return Sketch(
        config.listen,
        config.admin,
        {place: backend.name for place, backend in enumerate(config.backends)},
        True,
        tuple(RouteSketch(place, route, frozenset()) for place, route in enumerate(config.routes)),
        frozenset(backend.name for backend in config.backends if backend.health_check is None),
        {backend.name: tuple(map(str, backend.endpoints)) for backend in config.backends},
    )


def partly(data: object, damaged: Iterable[Loc]) -> Sketch:
    """A file of which these places were refused."""
    places = set(damaged)
    top = data if isinstance(data, dict) else {}
    broken = {loc[0] for loc in places if loc}
    backends = {
        place: item["name"]
        for place, item in enumerate(_items(top, "backends"))
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    }
    unnamed = {loc for loc in places if loc[:1] == ("backends",) and (len(loc) < 3 or loc[2] == "name")}
    return Sketch(
        () if "listen" in broken else _read(Config, {**_SMALLEST, **_only(top, "listen")}).listen,
        None if "admin" in broken else _read(Config, {**_SMALLEST, **_only(top, "admin")}).admin,
        backends,
        not unnamed,
        tuple(
            sketch
            for place, item in enumerate(_items(top, "routes"))
            if isinstance(item, dict) and (sketch := _route(place, item, places)) is not None
        ),
        frozenset(
            item["name"]
            for item in _items(top, "backends")
            if isinstance(item, dict) and isinstance(item.get("name"), str) and "healthCheck" not in item
        ),
        {
            name: _addresses(_items(top, "backends")[place])
            for place, name in backends.items()
            if ("backends", place, "endpoints") not in {loc[:3] for loc in places}
        },
    )


_SMALLEST: Final[dict[str, Any]] = {
    "listen": ({"address": "127.0.0.1:0"},),
    "backends": ({"name": "unnamed", "endpoints": ("http://127.0.0.1:1",)},),
    "routes": ({"name": "unnamed", "backendRefs": ({"name": "unnamed"},)},),
}


def _addresses(item: Any) -> tuple[str, ...]:
    endpoints = _ENDPOINTS.validate_python(item.get("endpoints", ()))
    return tuple(map(str, endpoints))


def _only(top: dict[str, Any], key: str) -> dict[str, Any]:
    return {key: top[key]} if key in top else {}


def _items(top: dict[str, Any], key: str) -> tuple[object, ...]:
    found = top.get(key)
    return found if isinstance(found, tuple) else ()


def _read(model: type[Config], data: dict[str, Any]) -> Config:
    return model.model_validate(data)


def _route(place: int, item: dict[str, Any], places: set[Loc]) -> RouteSketch | None:
    damaged = {str(loc[2]) for loc in places if loc[:2] == ("routes", place) and len(loc) > 2}
    kept = {key: value for key, value in item.items() if key not in damaged}
    stand_ins = {key: value for key, value in _STAND_INS.items() if key in damaged}
    try:
        route = Route.model_validate({**kept, **stand_ins})
    except ValidationError:
        return None
    return RouteSketch(place, route, frozenset(damaged))
