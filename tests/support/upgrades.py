"""Requests to switch to WebSocket, the answer that does, and frames that end it."""

from __future__ import annotations

from tests.support.plane import request

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def upgrade(target: str = "/", protocol: str = "websocket") -> bytes:
    """A request to switch protocols."""
    return request(target=target, headers=("Connection: Upgrade", f"Upgrade: {protocol}"))


def close_frame(reason: bytes = b"\x03\xe8", masked: bool = False) -> bytes:
    """A close frame of WebSocket; clients mask theirs."""
    return bytes((0x88, len(reason) | (0x80 if masked else 0))) + (b"mask" if masked else b"") + reason
