"""How a connection to an endpoint is made: TCP, TLS or a Unix-domain socket, and in what words it is told why not.

    dial ─▶ one address: at once
         └▶ a name: its addresses, one after the other and the next one early (RFC 8305) ─▶ the first that answers

The time for it is the caller's. What has an address costs no more than the call that connects.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from proxy.data.backends.connection import Connection
from proxy.data.backends.resolving import Name
from proxy.faults import Fault
from proxy.snapshot import Backend, Endpoint
from proxy.tls import client_context, reason, server_name, unusable

Factory = Callable[[], Connection]
_Protocols = Callable[[], asyncio.Protocol]
"""What the loop calls a factory. A compiled `Connection` is a protocol by its methods, not by its base class."""

STAGGER_S: Final = 0.25
"""How long an address may say nothing before the next one is tried too (RFC 8305, section 8)."""
MAX_TRIES: Final = 4
"""Addresses that one connection tries: of a hundred that are down not every request should knock at all."""


class DialError(Exception):
    """There is no connection: the fault, why, and what to do about it."""

    def __init__(self, fault: Fault, said: str, remedy: str) -> None:
        super().__init__(said)
        self.fault, self.said, self.remedy = fault, said, remedy


class Dialer:
    """Makes connections to one endpoint of a backend."""

    def __init__(self, backend: Backend, endpoint: Endpoint, name: Name | None = None, address: str = "") -> None:
        self._backend = backend
        self._endpoint = endpoint
        self._name = name
        self._address = address
        self._context: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self._endpoint} ({self._address})" if self._address else str(self._endpoint)

    async def dial(self, factory: Factory) -> Connection:
        """A connection, ready to be lent.

        Raises:
            DialError: there is none.
        """
        if self._name is None:
            return await self._connect(factory, self._endpoint.host)
        addresses = await self._name.known()
        if not addresses:
            said = f"the name {self._name.host} does not resolve: {self._name.failure}"
            raise DialError(Fault.CONNECT_FAILED, said, "check the name and the resolver")
        return await self._first(factory, _in_order(addresses, self._address)[:MAX_TRIES])

    def explain(self, error: OSError) -> DialError:
        """What an error of the network means."""
        endpoint = self._endpoint
        if endpoint.tls and isinstance(error, ssl.SSLError | ConnectionResetError | ConnectionAbortedError):
            said, remedy = reason(error, server_name(self._backend.tls, endpoint))
            return DialError(Fault.TLS_FAILED, said, remedy)
        said, remedy = _WORDS.get(type(error), ((error.strerror or str(error)).lower(), "check the endpoint"))
        return DialError(Fault.CONNECT_FAILED, said, remedy)

    def explain_end(self, error: Exception | None) -> DialError | None:
        """What it means that a new connection ended before any answer; None where it means nothing of its making."""
        if isinstance(error, ssl.SSLError):
            return self.explain(error)
        if self._endpoint.tls and not self._backend.tls.cert_file:
            said = "it closed a new TLS connection without an answer, as it does that wants a client certificate"
            return DialError(Fault.UPSTREAM_RESET, said, "give tls.certFile and tls.keyFile, or look why it closes")
        return None

    def late(self, timeout_s: float) -> DialError:
        """What it means that time was up."""
        if self._name is not None and not self._name.addresses:
            said = f"the name {self._name.host} did not resolve within {timeout_s:g} s"
            return DialError(Fault.CONNECT_TIMEOUT, said, "check the resolver")
        handshake = ", TLS handshake included," if self._endpoint.tls else ""
        said = f"no connection{handshake} within {timeout_s:g} s"
        return DialError(Fault.CONNECT_TIMEOUT, said, "check the way there, or raise `timeouts.connect` of the route")

    async def _first(self, factory: Factory, hosts: Sequence[str]) -> Connection:
        """The first connection of several that are begun one after the other: the next one when one has failed, or has
        said nothing for a while (Happy Eyeballs, RFC 8305, section 5)."""
        if len(hosts) == 1:
            return await self._connect(factory, hosts[0])
        left = list(hosts)
        under_way: set[asyncio.Task[Connection]] = set()
        error: BaseException | None = None
        try:
            while left or under_way:
                if left:
                    under_way.add(asyncio.create_task(self._connect(factory, left.pop(0))))
                done, under_way = await asyncio.wait(
                    under_way, timeout=STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                made = [task.result() for task in done if task.exception() is None]
                for connection in made[1:]:
                    connection.close()
                if made:
                    return made[0]
                error = error or next((task.exception() for task in done), None)
        finally:
            for task in under_way:
                task.add_done_callback(_close)
                task.cancel()
        raise error or AssertionError("no host to dial")

    async def _connect(self, factory: Factory, host: str) -> Connection:
        endpoint, loop = self._endpoint, asyncio.get_running_loop()
        make = cast(_Protocols, factory)
        try:
            if endpoint.path:
                _, connection = await loop.create_unix_connection(make, endpoint.path)
            elif endpoint.tls:
                _, connection = await loop.create_connection(make, host, endpoint.port, **await self._tls())
            else:
                _, connection = await loop.create_connection(make, host, endpoint.port)
        except TimeoutError as error:
            raise DialError(Fault.CONNECT_TIMEOUT, "the connection timed out", "check the way there") from error
        except OSError as error:
            raise self.explain(error) from error
        except UnicodeError as error:
            raise DialError(Fault.CONNECT_FAILED, "it is no name of a host", "check the endpoint") from error
        return cast(Connection, connection)

    async def _tls(self) -> dict[str, Any]:
        """What makes a connection a TLS connection. Files are read by a thread, once: they are large and far away."""
        tls = self._backend.tls
        if self._context is None:
            try:
                self._context = await asyncio.get_running_loop().run_in_executor(None, client_context, tls)
            except OSError as error:
                raise DialError(Fault.TLS_FAILED, *unusable(error)) from error
        return {"ssl": self._context, "server_hostname": server_name(tls, self._endpoint)}


def _in_order(addresses: Sequence[str], own: str) -> list[str]:
    """Its own address, then those of the other family, then those of the same; none that is gone. Those behind it come
    first, so that not all of the others fall back to the same one.

    >>> _in_order(("10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"), "10.0.0.2")
    ['10.0.0.2', '::1', '10.0.0.3', '10.0.0.1']
    """
    at = addresses.index(own) if own in addresses else 0
    family = ":" in addresses[at]
    first, *others = *addresses[at:], *addresses[:at]
    return [first, *sorted(others, key=lambda address: (":" in address) is family)]


def _close(task: asyncio.Task[Connection]) -> None:
    """A connection that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


_WORDS: Final[dict[type[OSError], tuple[str, str]]] = {
    ConnectionRefusedError: ("nobody listens there", "start the model server, or correct the endpoint"),
    FileNotFoundError: ("there is no such socket", "start the model server, or correct the path"),
    PermissionError: ("its permissions do not allow it", "let the user of this process read and write the socket"),
}
"""The usual ways to fail, and what to do."""
