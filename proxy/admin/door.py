"""The listening socket of the admin API: plain or TLS, as the live configuration says.

Until there is a configuration nobody knows who may ask what, and connections wait in the socket's queue. If none comes
(the file was spoilt while nothing was kept), a socket of this machine is opened for `/healthz` and `/readyz`.
Certificates are those of the last configuration whose files could be used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final

import structlog
from aiohttp import web

from config.listeners.access import is_loopback
from proxy.admin.surface import Controls
from proxy.control.routing.compile import server_tls
from proxy.data.routing.serving import Serving

LOOK_S: Final = 0.25
"""How often it is looked whether the configuration is another one."""
PATIENCE_S: Final = 3.0
"""How long a first configuration is waited for."""
_LOG = structlog.get_logger("understudy.admin")


class Door:
    """One socket and the site on it."""

    def __init__(self, runner: web.AppRunner, controls: Controls, sock: socket.socket) -> None:
        self._runner, self._controls, self._sock = runner, controls, sock
        self._site: web.SockSite | None = None
        self._serving: Serving | None = None
        self._context: ssl.SSLContext | None = None

    async def follow(self) -> None:
        """Do as the configuration says, for ever."""
        try:
            await self._follow()
        finally:
            self._sock.close()

    async def _follow(self) -> None:
        tries = 0
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()
            tries += 1
            if self._site is None and tries * LOOK_S >= PATIENCE_S and is_loopback(str(self._sock.getsockname()[0])):
                await self._open(None)

    async def look(self) -> None:
        """Do as the configuration says now."""
        admin = self._controls.admin
        if admin is None:
            return
        facts = None if admin.tls is None else server_tls(admin.tls, self._controls.contents)
        if facts is None:
            self._serving = None
        elif self._serving is None or facts != self._serving.tls:
            self._serving = Serving(facts, self._serving)
        context = None if self._serving is None else self._serving.context()
        if self._serving is not None and context is None:
            return  # its files are being written; it is tried again
        if self._site is None or context is not self._context:
            await self._open(context)

    async def _open(self, context: ssl.SSLContext | None) -> None:
        """Listen with or without TLS; the kernel's queue is one and the same, so that nobody is refused."""
        before, self._context = self._site, context
        self._site = web.SockSite(self._runner, self._sock.dup(), ssl_context=context)
        await self._site.start()
        if before is not None:
            await before.stop()
        _LOG.info("dashboard and admin API", url=self._url())

    def _url(self) -> str:
        host, port = self._sock.getsockname()[:2]
        return f"http{'s' * (self._context is not None)}://{f'[{host}]' if ':' in host else host}:{port}/"
