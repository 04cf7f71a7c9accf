"""Where configurations come from, and whether one may go live: what is wrong in itself, and with what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from config import loader, schema
from config.loader import Loaded
from config.values.problems import ConfigError, Problem
from proxy.control.intent import vacated
from proxy.control.machine.state import State
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper

Json = dict[str, Any]


class Source:
    """The file, texts in place of it, and what was live last.

    `states` are the rollouts that a file must not do harm to. `live` is the configuration that is live, or was last;
    whoever makes one live sets it.
    """

    def __init__(self, path: str, keeper: Keeper, states: Callable[[], Mapping[str, State]]) -> None:
        self._path, self._keeper, self._states = path, keeper, states
        self.live: schema.Config | None = None

    async def file(self) -> Loaded:
        """The file.

        Raises:
            ConfigError: it has problems, by itself or with what runs.
        """
        return self._fitting(await asyncio.to_thread(loader.load, self._path), self._states())

    async def text(self, text: str) -> Loaded:
        """A text in place of the file.

        Raises:
            ConfigError: it has problems, by itself or with what runs.
        """
        loaded = await asyncio.to_thread(loader.loads, text, "request")  # seconds, where it is long
        return self._fitting(loaded, self._states())

    async def problems(self, text: str | None = None) -> list[Json]:
        """What is wrong with the file, or with a text in place of it; nothing if it could go live."""
        try:
            await (self.file() if text is None else self.text(text))
        except ConfigError as error:
            return listed(error)
        return []

    async def first(self, refused: Callable[[ConfigError], None]) -> Loaded | None:
        """What to begin with: the file, or what was live last if the file has problems, which `refused` is told. An
        edit that was refused stays refused."""
        last = await self._last()
        self.live = self.live or (last.config if last else None)
        try:
            loaded = await asyncio.to_thread(loader.load, self._path)
            if last is None or last.digest == loaded.digest:
                return loaded
            return self._fitting(loaded, vacated.live(self._states(), last.config))
        except ConfigError as error:
            refused(error)
        return last

    async def _last(self) -> Loaded | None:
        try:
            last = await self._keeper.ask(lambda store: store.last_config())
            return None if last is None else await asyncio.to_thread(loader.loads, last.text, self._path)
        except (StoreError, ConfigError):
            return None

    def _fitting(self, loaded: Loaded, states: Mapping[str, State]) -> Loaded:
        found = tuple(vacated.findings(loaded.config, states, self.live))
        if found:
            raise loader.refusal(loaded, found)
        return loaded


def listed(error: ConfigError) -> list[Json]:
    """The problems of a refusal, as the admin API tells them."""
    return [asdict(problem) for problem in error.problems]


def unwritable(path: str, error: OSError) -> Problem:
    """Why a file could not be written."""
    said = (error.strerror or str(error)).lower()
    return Problem(path, 0, 0, "", f"cannot be written: {said}", "edit its source")
