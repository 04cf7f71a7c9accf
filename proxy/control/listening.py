"""The listening sockets, which the supervisor opens and every worker inherits. Standard library only."""

from __future__ import annotations

import socket
from typing import Final

BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: it cannot be had; the message names the address.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno, f"cannot listen on {host}:{port}: {error.strerror}; free it or choose another"
        ) from error
    return sock


def shown(sock: socket.socket) -> str:
    """The address of a listening socket, as the file would write it."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
