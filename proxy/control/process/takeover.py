"""How a new release takes the listening sockets over from the one that runs. Standard library only.

    new: "sockets"  → old: descriptors, and the number of its controller; it goes on as before
    new: "store"    → old: ends its controller, which keeps what was judged; its workers serve on by their snapshot
    new starts its controller and workers; both serve now, from the same queues
    new: "drain"    → old: drains its workers and ends

They speak over a socket in the runtime folder, one packet for each message. No listening socket is ever closed on the
way, so no connection is refused or reset. If the new one dies, or is not ready in time, its end of the connection
closes once its controller is gone too, as that inherits it; the old one then starts its controller again and goes on.
If the old one dies, the new one has all that it needs. So there is one controller at a time, whoever dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANSWER_S: Final = 15.0
"""How long the old one may take to answer: its controller has 5 s to end."""
_MOST_FDS: Final = 64
_PACKET: Final = 65_536


def path_of(folder: str, admin: tuple[str, int]) -> str:
    """Where an Understudy is asked for its sockets: the address of its admin API names it on its machine."""
    return str(Path(folder) / f"{admin[0]}:{admin[1]}.sock")


class Heir:
    """The old side: where a successor asks, and what it asks. News comes as SIGIO, which must be blocked."""

    def __init__(self, path: str) -> None:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._peer: socket.socket | None = None
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        draft = f"{path}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        before = os.umask(0o177)  # the owner alone may take over
        try:
            self._listening.bind(draft)
        finally:
            os.umask(before)
        self._listening.listen(8)
        _notify(self._listening)
        os.rename(draft, path)  # whoever was asked here before is asked no more
        self._inode = os.stat(path).st_ino

    @property
    def present(self) -> bool:
        """Whether a successor has our sockets."""
        return self._peer is not None

    def asked(self) -> list[str]:
        """What was asked since last time, in order; "gone" where the successor is."""
        with contextlib.suppress(BlockingIOError):
            while True:
                peer, _ = self._listening.accept()
                if self._peer is not None:
                    peer.send(b'{"refused": "another one is taking over"}')
                    peer.close()
                    continue
                self._peer = peer
                _notify(peer)
        said: list[str] = []
        while self._peer is not None:
            try:
                packet = self._peer.recv(_PACKET)
            except BlockingIOError:
                break
            except ConnectionError:
                packet = b""
            said.append(packet.decode("ascii", "replace") or "gone")
            if not packet:
                self._peer.close()
                self._peer = None
        return said

    def offer(self, sockets: Sequence[socket.socket], shared: Sequence[bool], controller: int) -> None:
        """Pass the sockets on. `shared` are those that somebody else holds too, such as systemd."""
        facts = json.dumps({"shared": list(shared), "controller": controller}).encode()
        if self._peer is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._peer, [facts], [sock.fileno() for sock in sockets])

    def confirm(self) -> None:
        """Say that what was asked is done."""
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.send(b"done")

    def close(self) -> None:
        """Be asked no more."""
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        self._listening.close()


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The new side: the one that runs, and what it passed on."""

    conn: socket.socket
    sockets: tuple[socket.socket, ...]
    shared: tuple[bool, ...]
    controller: int

    def release_store(self) -> None:
        """Have its controller end; it has ended when this returns.

        Raises:
            OSError: it does not.
        """
        try:
            self.conn.send(b"store")
            if self.conn.recv(_PACKET):
                return
        except TimeoutError as error:
            raise OSError("the one that runs does not end its controller: it goes on") from error
        except ConnectionError:
            pass
        end_s = time.monotonic() + ANSWER_S  # it was killed, and its controller is about to notice
        while Path(f"/proc/{self.controller}").exists() and time.monotonic() < end_s:
            time.sleep(0.02)

    def drain(self) -> None:
        """Tell it that it is not needed any more; one that is gone knows."""
        with contextlib.suppress(OSError):
            self.conn.send(b"drain")


def find(path: str) -> Predecessor | None:
    """The one that runs, with its sockets; None where nobody does.

    Raises:
        OSError: it refuses, or does not answer.
    """
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    conn.settimeout(ANSWER_S)
    try:
        conn.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        conn.close()
        return None
    try:
        conn.send(b"sockets")
        packet, fds, _, _ = socket.recv_fds(conn, _PACKET, _MOST_FDS)
        facts = json.loads(packet or b'{"refused": "it has just ended"}')
    except TimeoutError as error:
        raise OSError(f"cannot take over: {path} does not answer") from error
    if "refused" in facts:
        raise OSError(f"cannot take over: {facts['refused']}")
    sockets = tuple(socket.socket(fileno=fd) for fd in fds)
    for sock in sockets:
        sock.setblocking(False)
    return Predecessor(conn, sockets, tuple(facts["shared"]), facts["controller"])


def _notify(sock: socket.socket) -> None:
    fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(sock, fcntl.F_SETFL, fcntl.fcntl(sock, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    sock.setblocking(False)
