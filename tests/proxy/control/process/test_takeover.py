"""How sockets pass from one process to the next, and what each side learns of the other."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.control.process.takeover import Heir, find, path_of


@pytest.fixture
def heir(tmp_path: Path) -> Iterator[Heir]:
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    heir = Heir(path_of(str(tmp_path), ("127.0.0.1", 1)))
    yield heir
    heir.close()
    signal.signal(signal.SIGIO, before)


def answer(heir: Heir, *sockets: socket.socket) -> None:
    while "sockets" not in heir.asked():
        pass
    heir.offer(sockets, [False] * len(sockets), 7)


def test_sockets_pass_over(heir: Heir, tmp_path: Path) -> None:
    """A new release would listen on its own socket, and what waits in the old queue would be reset."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(heir, listening))
        thread.start()
        found = find(path_of(str(tmp_path), ("127.0.0.1", 1)))
        thread.join()
        assert found is not None
        assert (found.controller, found.shared) == (7, (False,))
        (passed,) = found.sockets
        assert passed.getsockname() == listening.getsockname()
        found.drain()
        assert heir.asked() == ["drain"]
        assert heir.present
        found.conn.close()
        assert heir.asked() == ["gone"]
        assert not heir.present
        passed.close()


def test_where_nobody_runs_nobody_is_found(tmp_path: Path) -> None:
    """The same command could not be used for the first start and for every other."""
    assert find(path_of(str(tmp_path), ("127.0.0.1", 1))) is None


def test_an_old_path_stays_with_its_successor(heir: Heir, tmp_path: Path) -> None:
    """The one that ends would take away the path by which the new one is found."""
    path = path_of(str(tmp_path), ("127.0.0.1", 1))
    later = Heir(path)
    heir.close()
    assert Path(path).exists()
    later.close()
    assert not Path(path).exists()
