"""Who is let in while a listening socket closes, on real sockets of both families."""

from __future__ import annotations

import socket

import pytest

from proxy.control.process.closing import turn_away_new


@pytest.mark.slow
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_nobody_new_is_let_in_and_who_is_in_stays(family: socket.AddressFamily, host: str) -> None:
    """A client whose connection was made would be reset when the listening socket closes."""
    with socket.create_server((host, 0), family=family) as listening:
        address = listening.getsockname()[:2]
        with socket.create_connection(address) as queued:
            queued.sendall(b"before")
            assert turn_away_new([listening])
            with pytest.raises(TimeoutError):
                socket.create_connection(address, 0.3)
            queued.sendall(b" and after")
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.recv(100) == b"before and after"
                accepted.sendall(b"answer")
                assert queued.recv(100) == b"answer"


def test_sockets_of_the_file_system_have_no_handshake(tmp_path) -> None:
    """A drain would fail on a listener that is a path."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        assert not turn_away_new([listening])
