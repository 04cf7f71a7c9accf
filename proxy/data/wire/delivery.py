"""Whether what was written to a connection has reached the other side, as the kernel knows it.

A backend that closes an idle connection may do so while a request is on its way: nobody has read it, and it can be
sent again whatever its method. A backend that reads a request and dies looks the same from outside, and must not: the
request may have been acted upon, and its loss is the version's failure. What tells them apart is if TCP has
acknowledged the request by the end of the connection. Over a Unix-domain socket an orderly end after a write means that
all was read; what was not read ends in an error instead.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_INFO_BYTES: Final = 216
"""Of `struct tcp_info` up to bytes_retrans, since Linux 4.19."""
_ACKED_AT: Final = 120
_SENT_AT: Final = 200


def delivered(transport: asyncio.BaseTransport) -> bool:
    """Whether it is certain that everything written has reached the other side. To be asked at the end of its stream;
    costs a system call.

    False where it is known not to have, and where nothing is known: on other systems, and on older kernels.
    """
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    if sock.family == socket.AF_UNIX:
        return True
    if _TCP_INFO is None:
        return False
    info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _INFO_BYTES)
    if len(info) < _INFO_BYTES:
        return False
    sent, again = struct.unpack_from("QQ", info, _SENT_AT)
    (acknowledged,) = struct.unpack_from("Q", info, _ACKED_AT)
    return bool(acknowledged > sent - again)  # the beginning of the connection counts as one byte that is acknowledged
