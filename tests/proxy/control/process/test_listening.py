"""The sockets that clients come in on."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from proxy.control.process.listening import clear, open_socket, shown


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_free_port_is_taken_and_told(host: str) -> None:
    """Nobody could tell from the log where the proxy listens."""
    with open_socket(host, 0) as sock:
        name, _, port = shown(sock).rpartition(":")
        assert name in ("127.0.0.1", "[::1]")
        assert int(port) > 0
        assert not sock.getblocking()


def test_an_address_that_is_taken_is_named() -> None:
    """Whoever starts a second proxy would not learn what is in the way."""
    with open_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: .*; free it or choose another"):
            open_socket("127.0.0.1", port)


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666, 0o777])
def test_a_path_has_its_mode(tmp_path: Path, mode: int) -> None:
    """Everybody on the machine could call the models, or nobody could."""
    path = tmp_path / "u.sock"
    before = os.umask(0o022)
    try:
        with open_socket(f"unix:{path}", mode) as sock:
            assert stat.S_IMODE(path.stat().st_mode) == mode
            assert shown(sock) == f"unix:{path}"
            assert not sock.getblocking()
    finally:
        assert os.umask(before) == 0o022, "files of others would have another mode"


def test_a_path_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    """After a kill -9 the proxy would not start again."""
    address = f"unix:{tmp_path}/u.sock"
    open_socket(address, 0o660).close()
    with open_socket(address, 0o660), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "u.sock"))


def test_a_path_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """A second proxy would take the clients of the first, which would never know."""
    address = f"unix:{tmp_path}/u.sock"
    with open_socket(address, 0o660):
        with pytest.raises(OSError, match=f"cannot listen on {address}: somebody listens on it already; free it or"):
            open_socket(address, 0o660)
        clear([(address, 0o660)])
        assert (tmp_path / "u.sock").exists(), "a successor listens there"


def test_a_path_that_is_a_file_is_left_alone(tmp_path: Path) -> None:
    """A slip in the address would cost somebody a file."""
    path = tmp_path / "data"
    path.write_text("precious")
    with pytest.raises(OSError, match="something that is no socket is in the way"):
        open_socket(f"unix:{path}", 0o660)
    clear([(f"unix:{path}", 0o660)])
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nobody would learn what is missing."""
    with pytest.raises(OSError, match=f"cannot listen on unix:{tmp_path}/no/u.sock: No such file"):
        open_socket(f"unix:{tmp_path}/no/u.sock", 0o660)


def test_what_nobody_listens_on_is_taken_away(tmp_path: Path) -> None:
    """A client would find a door that nobody opens."""
    address = f"unix:{tmp_path}/u.sock"
    open_socket(address, 0o660).close()
    clear([("127.0.0.1", 1), (address, 0o660), (f"unix:{tmp_path}/other.sock", 0o660)])
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_is_somebody_who_listens(tmp_path: Path) -> None:
    """The path of a busy proxy would be taken from it."""
    path = str(tmp_path / "u.sock")
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(path)
        with pytest.raises(OSError, match="somebody listens on it already"):
            open_socket(f"unix:{path}", 0o660)
        for client in clients:
            client.close()
