"""The listening sockets, which the supervisor opens and every worker inherits. Standard library only.

An address is (host, port), or (unix:/PATH, mode) of a Unix-domain socket. A path outlives whoever listened on it, so
that one where nobody answers is left over from a process that was killed: it is taken over, and taken away in the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable
from typing import Final

BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""
_UNIX: Final = "unix:"
_PROBE_S: Final = 1.0
"""How long somebody who listens on a path may take to be noticed: the kernel answers at once, or the queue is full."""


def is_path(host: str) -> bool:
    """Whether an address is that of a Unix-domain socket."""
    return host.startswith(_UNIX)


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        OSError: it cannot be had; the message names the address.
    """
    try:
        sock = _at_path(host.removeprefix(_UNIX), port) if is_path(host) else _at_port(host, port)
    except OSError as error:
        where = host if is_path(host) else f"{host}:{port}"
        remedy = "free it or choose another" if error.errno == errno.EADDRINUSE else "check it, or choose another"
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}; {remedy}") from error
    sock.setblocking(False)
    return sock


def shown(sock: socket.socket) -> str:
    """The address of a listening socket, as the file would write it."""
    if sock.family == socket.AF_UNIX:
        return f"{_UNIX}{sock.getsockname()}"
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def clear(addresses: Iterable[tuple[str, int]]) -> None:
    """Take away the paths that nobody listens on any more. One that a successor has taken over stays."""
    for host, _ in addresses:
        if is_path(host):
            with contextlib.suppress(OSError):
                _remove_stale(host.removeprefix(_UNIX))


def _at_port(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _at_path(path: str, mode: int) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)  # the path has its mode from its first moment on; nobody else runs in here
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    return sock


def _remove_stale(path: str) -> None:
    """Take away a socket that nobody listens on.

    Raises:
        OSError: somebody listens on it, or it is no socket.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "something that is no socket is in the way")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except (TimeoutError, BlockingIOError):
            pass  # its queue is full
    raise OSError(errno.EADDRINUSE, "somebody listens on it already")
