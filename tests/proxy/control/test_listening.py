"""The sockets that clients come in on."""

from __future__ import annotations

import pytest

from proxy.control.listening import open_socket, shown


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
