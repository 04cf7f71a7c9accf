"""How a connection to an endpoint is made: TCP, TLS or a Unix-domain socket, and in what words it is told why not.

    dial ─▶ one address: at once
         └▶ a name: its addresses, one after the other and the next one early (RFC 8305) ─▶ the first that answers

The time for it is the caller's. What has an address costs no more than the call that connects.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, Final

from proxy.data.connection import Connection
from proxy.faults import Fault
from proxy.snapshot import Backend, Endpoint
from proxy.tls import client_context, reason, server_name

Factory = Callable[[], Connection]


class DialError(Exception):
    """There is no connection: the fault, why, and what to do about it."""

    def __init__(self, fault: Fault, said: str, remedy: str) -> None:
        super().__init__(said)
        self.fault, self.said, self.remedy = fault, said, remedy


class Dialer:
    """Makes connections to one endpoint of a backend."""

    def __init__(self, backend: Backend, endpoint: Endpoint) -> None:
        self._backend = backend
        self._endpoint = endpoint
        self._context: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return str(self._endpoint)

    async def dial(self, factory: Factory) -> Connection:
        """A connection, ready to be lent.

        Raises:
            DialError: there is none.
        """
        return await self._connect(factory, self._endpoint.host)

    def explain(self, error: OSError) -> DialError:
        """What an error of the network means."""
        endpoint = self._endpoint
        if endpoint.tls and isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError):
            said, remedy = reason(error, server_name(self._backend.tls, endpoint))
            return DialError(Fault.TLS_FAILED, said, remedy)
        said, remedy = _WORDS.get(type(error), ((error.strerror or str(error)).lower(), "check the endpoint"))
        return DialError(Fault.CONNECT_FAILED, said, remedy)

    def late(self, timeout_s: float) -> DialError:
        """What it means that time was up."""
        handshake = ", TLS handshake included," if self._endpoint.tls else ""
        said = f"no connection{handshake} within {timeout_s:g} s"
        return DialError(Fault.CONNECT_TIMEOUT, said, "check the way there, or raise `timeouts.connect` of the route")

    async def _connect(self, factory: Factory, host: str) -> Connection:
        endpoint, loop = self._endpoint, asyncio.get_running_loop()
        try:
            if endpoint.path:
                _, connection = await loop.create_unix_connection(factory, endpoint.path)
            elif endpoint.tls:
                _, connection = await loop.create_connection(factory, host, endpoint.port, **await self._tls())
            else:
                _, connection = await loop.create_connection(factory, host, endpoint.port)
        except TimeoutError as error:
            raise DialError(Fault.CONNECT_TIMEOUT, "the connection timed out", "check the way there") from error
        except OSError as error:
            raise self.explain(error) from error
        except UnicodeError as error:
            raise DialError(Fault.CONNECT_FAILED, "it is no name of a host", "check the endpoint") from error
        return connection

    async def _tls(self) -> dict[str, Any]:
        """What makes a connection a TLS connection. Files are read by a thread, once: they are large and far away."""
        tls = self._backend.tls
        if self._context is None:
            try:
                self._context = await asyncio.get_running_loop().run_in_executor(None, client_context, tls)
            except OSError as error:
                said, remedy = reason(error, "")
                raise DialError(Fault.TLS_FAILED, said, remedy) from error
        return {"ssl": self._context, "server_hostname": server_name(tls, self._endpoint)}


_WORDS: Final[dict[type[OSError], tuple[str, str]]] = {
    ConnectionRefusedError: ("nobody listens there", "start the model server, or correct the endpoint"),
    FileNotFoundError: ("there is no such socket", "start the model server, or correct the path"),
    PermissionError: ("its permissions do not allow it", "let the user of this process read and write the socket"),
}
"""The usual ways to fail, and what to do."""
