"""Listening sockets that systemd opened for us (sd_listen_fds(3)), and how given sockets find their address.

Standard library only. The sockets belong to whoever gave them: they are never unlinked, and nobody new is turned away
when this process ends, since the next one goes on to listen on them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from proxy.control.process.listening import is_path, open_socket

_FIRST_FD: Final = 3
_ANY: Final = frozenset(("0.0.0.0", "::"))  # noqa: S104 - compared with, not bound to


def activated(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that were passed to this very process; children do not inherit the offer.

    Raises:
        OSError: a descriptor is not a listening socket.
        ValueError: LISTEN_FDS is no number.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "0")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return []
    found = [socket.socket(fileno=fd) for fd in range(_FIRST_FD, _FIRST_FD + int(count))]
    for sock in found:
        os.set_inheritable(sock.fileno(), False)
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(f"descriptor {sock.fileno()} from systemd is not a listening socket: use ListenStream=")
        sock.setblocking(False)
    return found


def open_or_take(
    addresses: Sequence[tuple[str, int]], given: list[socket.socket]
) -> tuple[list[socket.socket], list[socket.socket]]:
    """A socket for each address, in order: the given one where there is one, else a new one; and what is left over.

    Raises:
        OSError: an address cannot be listened on; the message names it.
    """
    left, found = list(given), []
    for address in addresses:
        taken = next((sock for sock in left if _is_at(sock, address)), None)
        if taken is not None:
            left.remove(taken)
        found.append(taken or open_socket(*address))
    return found, left


def _is_at(sock: socket.socket, address: tuple[str, int]) -> bool:
    host, port = address
    if is_path(host) or sock.family == socket.AF_UNIX:
        return is_path(host) and sock.family == socket.AF_UNIX and sock.getsockname() == host.partition(":")[2]
    at, at_port = sock.getsockname()[:2]
    if not port or port != at_port:
        return False
    if {at, host} <= _ANY:  # ListenStream=8080 is [::]:8080, which takes IPv4 too
        return True
    return bool(at == socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
