"""PostgreSQL for the tests: a server of its own with its data in a temporary folder, a database for each test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg

_SHORT_CUTS = ("fsync=off", "full_page_writes=off", "autovacuum=off", "listen_addresses=", "max_connections=40")
"""The tests kill programs that use the server, never the server's machine."""


class Postgres:
    """One server, reached by its socket alone: no port is taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(folder, "postgres")
        made = [program("initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "understudy", "--no-sync"]
        subprocess.run([*self._as, *made], check=True, stdout=subprocess.DEVNULL)
        self.start()

    def start(self) -> None:
        """Have it answer."""
        self.launch()
        end_s = time.monotonic() + 30
        while True:
            try:
                asyncio.run(self._run("SELECT 1"))
            except (OSError, asyncpg.PostgresError):
                assert time.monotonic() < end_s, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def launch(self) -> None:
        """Have it run; soon it answers."""
        options = [word for each in (*_SHORT_CUTS, f"unix_socket_directories={self.folder}") for word in ("-c", each)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", str(self.folder / "data"), *options], stderr=log, stdout=log,
                user="postgres" if self._as else None, group="postgres" if self._as else None,
                extra_groups=[] if self._as else None,
            )  # fmt: skip

    def stop(self) -> None:
        """End it, and every connection with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=20)
            self._process = None

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"t{next(self._names)}"
        asyncio.run(self._run(f"CREATE DATABASE {name}"))
        return f"postgresql://understudy@/{name}?host={self.folder}"

    def execute(self, url: str, statement: str) -> None:
        """What somebody does to a database behind our back."""
        asyncio.run(self._run(statement, url.partition("@/")[2].partition("?")[0]))

    async def _run(self, statement: str, database: str = "postgres") -> None:
        db = await asyncpg.connect(host=str(self.folder), user="understudy", database=database, timeout=5)
        try:
            await db.execute(statement)
        finally:
            await db.close()


def program(name: str) -> str:
    """A program of the newest PostgreSQL that is installed. None at all is a failure: `make servers` installs one."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    path = str(found[-1]) if found else shutil.which(name)
    assert path, f"{name} is not here: `make servers` installs PostgreSQL"
    return path


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix="understudy-postgres-"))
    folder.chmod(0o755)
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Place:
    """A database of one of the two kinds, and a way to change it behind the store's back."""

    url: str
    server: Postgres | None

    def execute(self, statement: str) -> None:
        if self.server is not None:
            self.server.execute(self.url, statement)
            return
        with sqlite3.connect(self.url.removeprefix("sqlite:///")) as db:
            db.execute(statement)
        db.close()
