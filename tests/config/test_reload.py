"""The file is watched by its content, however it is replaced; and what a change of it means."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config import reload
from config.files import fingerprint
from config.loader import loads
from config.reload import Plan, plan, watch
from config.schema import Config

FILE = """\
listen: [{address: 127.0.0.1:0}]
backends:
  - {name: v1, endpoints: [http://127.0.0.1:9000]}
  - {name: v2, endpoints: [http://127.0.0.1:9001]}
routes:
  - {name: a, match: [{path: {prefix: /a}}], backendRefs: [{name: v1}]}
  - {name: b, match: [{path: {prefix: /b}}], backendRefs: [{name: v2}]}
"""
PATIENCE_S = 5.0


class Watched:
    """A watch under way. `change` does something and returns when the watch has told of it."""

    def __init__(self, changes: AsyncIterator[None]) -> None:
        self._changes = changes

    async def change(self, act: Callable[[], object]) -> None:
        told = asyncio.ensure_future(anext(self._changes))
        await asyncio.sleep(0)
        act()
        await asyncio.wait_for(told, PATIENCE_S)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Watched]:
    """A watch that knows the content of the file as it is now."""
    stop = asyncio.Event()
    changes = watch(path, stop, digest_of(path))
    try:
        yield Watched(changes)
    finally:
        stop.set()
        await changes.aclose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "understudy.yaml"
    path.write_text("one")
    return path


async def test_an_edit_in_place(file: Path) -> None:
    """What `nano` or `sed -i` on a bind mount writes would never be read."""
    async with watching(file) as watched:
        await watched.change(lambda: file.write_text("two"))
        await watched.change(lambda: file.write_text("six"))


async def test_a_rename_over_the_file(file: Path) -> None:
    """After an editor that saves by rename the watch would stay with the old, deleted file."""
    async with watching(file) as watched:
        for content in ("two", "three"):
            draft = file.with_suffix(".draft")
            draft.write_text(content)
            await watched.change(lambda draft=draft: draft.replace(file))


async def test_the_swap_of_a_config_map(tmp_path: Path) -> None:
    """In Kubernetes, where the file itself never changes and only the link `..data` does, no edit would be seen."""

    def revision(number: int) -> None:
        folder = tmp_path / f"..2026_11_2{number}"
        folder.mkdir()
        (folder / "understudy.yaml").write_text(f"revision {number}")
        link = tmp_path / "..data_tmp"
        link.symlink_to(folder.name)
        link.replace(tmp_path / "..data")

    revision(0)
    path = tmp_path / "understudy.yaml"
    path.symlink_to("..data/understudy.yaml")
    async with watching(path) as watched:
        for number in (1, 2, 3):
            await watched.change(lambda number=number: revision(number))
            (tmp_path / f"..2026_11_2{number - 1}" / "understudy.yaml").unlink()
            (tmp_path / f"..2026_11_2{number - 1}").rmdir()
        assert path.read_text() == "revision 3"


async def test_a_link_into_another_folder(tmp_path: Path) -> None:
    """An edit of the file that the path is only a link to would not be seen."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "checkout").mkdir()
    target = tmp_path / "checkout/understudy.yaml"
    target.write_text("one")
    path = tmp_path / "etc/understudy.yaml"
    path.symlink_to("../checkout/understudy.yaml")
    async with watching(path) as watched:
        await watched.change(lambda: target.write_text("two"))


async def test_a_file_that_goes_and_comes_back(file: Path) -> None:
    """After `mv` and `cp` the watch would have ended, or nobody would be told that the file is gone."""
    async with watching(file) as watched:
        await watched.change(file.unlink)
        await watched.change(lambda: file.write_text("two"))


async def test_a_folder_that_comes_later(tmp_path: Path) -> None:
    """A volume that is mounted after the start would be an error that ends the watch."""
    path = tmp_path / "later/understudy.yaml"

    def mount() -> None:
        path.parent.mkdir()
        path.write_text("one")

    stop = asyncio.Event()
    changes = watch(path, stop, "nothing yet")
    await asyncio.wait_for(anext(changes), PATIENCE_S)  # it is not there, which is not what the caller has
    await Watched(changes).change(mount)
    stop.set()
    await changes.aclose()


async def test_polling_where_the_kernel_gives_no_notice(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On network and overlay file systems an edit would not be seen before the next restart."""
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", "true")
    monkeypatch.setenv("WATCHFILES_POLL_DELAY_MS", "3600000")  # the library itself never looks: only our own does
    async with watching(file) as watched:
        await watched.change(lambda: file.write_text("two"))


async def test_a_change_before_the_watch_began(file: Path) -> None:
    """An edit between loading the file and watching it would be lost."""
    stop = asyncio.Event()
    changes = watch(file, stop, hashlib.sha256(b"zero").hexdigest())
    await asyncio.wait_for(anext(changes), PATIENCE_S)
    stop.set()
    await changes.aclose()


async def test_a_file_that_is_named_counts_as_the_file(file: Path, tmp_path: Path) -> None:
    """A certificate that was renewed would be shown only after a restart; or one behind the links of a Kubernetes
    Secret."""
    for generation in ("one", "two"):
        folder = tmp_path / "secret" / f"..{generation}"
        folder.mkdir(parents=True)
        (folder / "tls.crt").write_text(generation)
    data, named = tmp_path / "secret" / "..data", tmp_path / "secret" / "tls.crt"
    data.symlink_to("..one")
    named.symlink_to("..data/tls.crt")
    stop = asyncio.Event()
    held = fingerprint(digest_of(file), {str(named): digest_of(named)})
    changes = watch(file, stop, held, lambda: (str(named),))
    told = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0.1)
    assert not told.done()
    (tmp_path / "secret" / "..new").symlink_to("..two")
    (tmp_path / "secret" / "..new").replace(data)
    await asyncio.wait_for(told, PATIENCE_S)
    told = asyncio.ensure_future(anext(changes))
    named.unlink()
    await asyncio.wait_for(told, PATIENCE_S)
    stop.set()
    await changes.aclose()


async def test_what_changes_nothing_is_not_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A touched file, or another file beside it, would reload the configuration for nothing."""
    looks: asyncio.Queue[str] = asyncio.Queue()
    loop, content = asyncio.get_running_loop(), reload._content

    def look(path: Path, named: tuple[str, ...]) -> str:
        found = content(path, named)
        loop.call_soon_threadsafe(looks.put_nowait, found)
        return found

    def touch() -> None:
        os.utime(file)
        file.write_text("one")
        file.with_name("other.yaml").write_text("y")

    monkeypatch.setattr(reload, "_content", look)
    stop = asyncio.Event()
    changes = watch(file, stop, digest_of(file))
    told = asyncio.ensure_future(anext(changes))
    await asyncio.wait_for(looks.get(), PATIENCE_S)
    touch()
    for _ in range(2):  # one look may have begun before the touch
        await asyncio.wait_for(looks.get(), PATIENCE_S)
    assert not told.done()
    stop.set()
    with pytest.raises(StopAsyncIteration):
        await told


async def test_stop_ends_the_watch(file: Path) -> None:
    """A shutdown would wait for the next edit of the file."""
    stop = asyncio.Event()
    changes = watch(file, stop)
    told = asyncio.ensure_future(anext(changes))
    asyncio.get_running_loop().call_later(0.05, stop.set)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(told, PATIENCE_S)


# --- what a change means


def config(text: str = FILE) -> Config:
    return loads(text, "FILE").config


def test_no_change_is_an_empty_plan() -> None:
    """A comment in the file would count as a change of something that runs."""
    same = plan(config(), config(FILE + "# a comment\n"))
    assert same.empty
    assert str(same) == "nothing changed"


def test_what_needs_a_restart_is_named() -> None:
    """An edit of a port would be said to be live."""
    text = (
        FILE
        + "workers: 2\ndrainDelay: 1s\ndrainTimeout: 5s\nadmin: {address: 127.0.0.1:9}\nstore: {url: sqlite:///b.db}\n"
    )
    changed = plan(config(), config(text.replace("127.0.0.1:0", "127.0.0.1:8")))
    assert changed == Plan(restart_needed=("listen", "admin", "store", "workers", "drainDelay", "drainTimeout"))
    assert str(changed) == "not before a restart: listen, admin, store, workers, drainDelay, drainTimeout"


def test_a_port_that_changes_is_no_change_of_a_listener() -> None:
    """The reply to a reload would say that a listener is live that waits for a restart."""
    changed = plan(config(), config(FILE.replace("127.0.0.1:0", "127.0.0.1:8")))
    assert changed == Plan(restart_needed=("listen",))


def test_routes_and_backends_are_told_apart_by_name() -> None:
    """The reply to a reload would name other routes than the edit touched."""
    text = FILE.replace("name: a,", "name: c,").replace("127.0.0.1:9001", "127.0.0.1:9002").replace("/b", "/bb")
    text = text.replace("routes:", "  - {name: v3, endpoints: [http://127.0.0.1:9003]}\nroutes:")
    changed = plan(config(), config(text))
    assert changed == Plan(
        routes_added=("c",),
        routes_removed=("a",),
        routes_changed=("b",),
        backends_added=("v3",),
        backends_changed=("v2",),
    )
    assert str(changed) == (
        "backends added: v3; backends changed: v2; routes added: c; routes removed: a; routes changed: b"
    )


def test_the_order_of_routes_matters() -> None:
    """Two routes would change places, and with them what requests meet, without a word."""
    lines = FILE.splitlines(keepends=True)
    changed = plan(config(), config("".join([*lines[:5], lines[6], lines[5]])))
    assert changed == Plan(routes_reordered=True)
