"""When the file may have changed, and what a change of it means.

The file is watched by its content, through every symbolic link on the way to it: an edit in place, a rename over it and
the swap of a Kubernetes ConfigMap (where the file is a link through the link `..data`) are one and the same. Notices of
the kernel make it fast; a look every POLL_S makes it certain, since network and overlay file systems give no notice.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchfiles import awatch

from config.files import digest, fingerprint
from config.schema import Config

POLL_S: Final = 0.4
"""A change is seen after this time without any notice; a whole second is the promise of a hot reload."""
STEP_MS: Final = 100
"""How often the thread that takes the kernel's notices wakes up: at 50 ms this was a quarter of all that an idle
controller did."""
SETTLE_S: Final = 0.03
"""A change is told once the content has stood still for so long: editors truncate first and write then."""
_SETTLE_LOOKS: Final = 4
_MAX_LINKS: Final = 40
"""As many as the kernel follows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What differs between two configurations, by name. `restart_needed` has settings that only a restart changes."""

    restart_needed: tuple[str, ...] = ()
    routes_added: tuple[str, ...] = ()
    routes_removed: tuple[str, ...] = ()
    routes_changed: tuple[str, ...] = ()
    routes_reordered: bool = False
    backends_added: tuple[str, ...] = ()
    backends_removed: tuple[str, ...] = ()
    backends_changed: tuple[str, ...] = ()
    limits_changed: bool = False
    access_log_changed: bool = False
    access_changed: bool = False
    listeners_changed: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return self == Plan()

    def __str__(self) -> str:
        parts = [
            f"{what} {how}: {', '.join(names)}"
            for what, how, names in (
                ("backends", "added", self.backends_added),
                ("backends", "removed", self.backends_removed),
                ("backends", "changed", self.backends_changed),
                ("routes", "added", self.routes_added),
                ("routes", "removed", self.routes_removed),
                ("routes", "changed", self.routes_changed),
            )
            if names
        ]
        parts += ["routes in another order"] if self.routes_reordered else []
        parts += ["limits changed"] if self.limits_changed else []
        parts += ["access log changed"] if self.access_log_changed else []
        parts += ["access to the admin API changed"] if self.access_changed else []
        parts += [f"listeners changed: {', '.join(self.listeners_changed)}"] if self.listeners_changed else []
        parts += [f"not before a restart: {', '.join(self.restart_needed)}"] if self.restart_needed else []
        return "; ".join(parts) or "nothing changed"


def plan(old: Config, new: Config) -> Plan:
    """What a change from one configuration to another means."""
    settings = {"store": "store", "workers": "workers"}
    settings |= {"drain_delay": "drainDelay", "drain_timeout": "drainTimeout"}
    restart = ["admin"] if old.admin.address != new.admin.address else []
    restart += [key for name, key in settings.items() if getattr(old, name) != getattr(new, name)]
    moved = [listen.opened_by for listen in old.listen] != [listen.opened_by for listen in new.listen]
    old_listeners = {listen.place: listen for listen in old.listen}
    old_routes = {route.name: route for route in old.routes}
    new_routes = {route.name: route for route in new.routes}
    old_backends = {backend.name: backend for backend in old.backends}
    new_backends = {backend.name: backend for backend in new.backends}
    stayed = [name for name in old_routes if name in new_routes]
    return Plan(
        restart_needed=("listen", *restart) if moved else tuple(restart),
        routes_added=tuple(name for name in new_routes if name not in old_routes),
        routes_removed=tuple(name for name in old_routes if name not in new_routes),
        routes_changed=tuple(name for name in stayed if old_routes[name] != new_routes[name]),
        routes_reordered=stayed != [name for name in new_routes if name in old_routes],
        backends_added=tuple(name for name in new_backends if name not in old_backends),
        backends_removed=tuple(name for name in old_backends if name not in new_backends),
        backends_changed=tuple(
            name for name, backend in new_backends.items() if old_backends.get(name, backend) != backend
        ),
        limits_changed=old.limits != new.limits,
        access_log_changed=old.access_log != new.access_log,
        access_changed=old.admin.model_copy(update={"address": new.admin.address}) != new.admin,
        listeners_changed=tuple(
            str(listen.address) for listen in new.listen if old_listeners.get(listen.place, listen) != listen
        ),
    )


async def watch(
    path: str | Path, stop: asyncio.Event, held: str = "", named: Callable[[], Sequence[str]] = tuple
) -> AsyncGenerator[None, None]:
    """Yields whenever the content of the file, or of one that it names, has changed, until `stop` is set.

    A file that is gone or cannot be read is a change as well: loading it then says why. Changes while the caller is
    busy are told as one.

    Args:
        path: the file; links on the way to it are followed each time.
        stop: ends the watch.
        held: `Loaded.fingerprint` of what the caller has, so that no change since then is missed; without it,
            what counts as seen is the content at the first step of the iteration.
        named: the files that the configuration names which the caller has, asked at every look.
    """
    path = Path(path)
    seen = held or await asyncio.to_thread(_content, path, named())
    while not stop.is_set():
        folders = _folders(path, named())
        async with aclosing(_notices(folders, stop)) as notices:
            async for _ in notices:
                now = await asyncio.to_thread(_content, path, named())
                if now != seen:
                    now = await _settled(path, named(), now, stop)
                if now != seen:
                    seen = now
                    yield
                if _folders(path, named()) != folders:
                    break


async def _notices(folders: frozenset[Path], stop: asyncio.Event) -> AsyncGenerator[None, None]:
    """Yields at once, then at every notice of these folders, and every POLL_S at the latest."""
    yield
    try:
        async for _ in awatch(
            *folders,
            watch_filter=None,
            debounce=150,
            step=STEP_MS,
            stop_event=stop,
            rust_timeout=round(POLL_S * 1000),
            yield_on_timeout=True,
            recursive=False,
        ):
            yield
    except OSError:
        # A folder is gone, or the kernel has no watch to give: look by time, then try again.
        await _pause(POLL_S, stop)
        yield


async def _settled(path: Path, named: Sequence[str], content: str, stop: asyncio.Event) -> str:
    for _ in range(_SETTLE_LOOKS):
        await _pause(SETTLE_S, stop)
        now = await asyncio.to_thread(_content, path, named)
        if now == content:
            break
        content = now
    return content


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _content(path: Path, named: Sequence[str]) -> str:
    """What tells one content from another, as `Loaded.fingerprint` does."""
    return fingerprint(digest(path), {name: digest(name) for name in named})


def _folders(path: Path, named: Sequence[str]) -> frozenset[Path]:
    """The folders in which a change can change one of the files."""
    files = [path, *map(Path, named)]
    return frozenset[Path]().union(*map(_folders_of, files))


def _folders_of(path: Path) -> frozenset[Path]:
    """The folders in which a change can change the file: of itself, and of each link on the way to it."""
    found: set[Path] = set()
    place = path.absolute()
    for _ in range(_MAX_LINKS):
        for parent in (place, *place.parents):
            if os.path.islink(parent):
                found.add(parent.parent)
                place = parent.parent / parent.readlink() / place.relative_to(parent)
                break
        else:
            break
    found.add(place.parent)
    return frozenset(found)
