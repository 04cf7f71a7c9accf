"""Who may do what: the credential of a request, the role that it has, and what browsers are kept from.

    who can be asked for a credential   a token (`Authorization: Bearer`) or a client certificate must name a role
    who cannot                          all on this machine are admins, but for pages that come by a name of their own
                                        (DNS rebinding)
    pages that a browser shows          the dashboard's alone, which come from the address that they ask (`pages`):
                                        a browser is believed by what it has, whatever page it shows (CSRF)

A token is looked for by its digest, among all of them and in constant time. Addresses that fail too often are not
listened to for a while, whatever they send. The settings are read anew with every configuration.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web

from config.listeners.access import Admin, Role
from proxy.admin.endpoints import ENDPOINTS, Needed
from proxy.admin.handling import CONTROLS, PRINCIPAL, ROLE
from proxy.admin.pages import refuse_foreign_page
from proxy.admin.problems import RefusalError

SHORTEST_TOKEN: Final = 16
"""Characters of a token in the environment: a shorter one can be guessed."""
LONGEST_TOKEN: Final = 1024
FAILURES: Final = 10
"""Failures that an address may make at once; one more is forgiven every FORGIVEN_S."""
FORGIVEN_S: Final = 6.0
MOST_ADDRESSES: Final = 4096
"""Addresses whose failures are remembered; beyond, those that failed longest ago are forgotten."""
_RANK: Final[dict[Role, int]] = {"feedback": 0, "viewer": 1, "operator": 2, "admin": 3}
"""Who may do more may do all of what the others may, but for truths: they move rollouts, and a viewer moves nothing."""
_NEEDS: Final[dict[tuple[str, str], Needed]] = {
    (endpoint.method, endpoint.path): endpoint.role for endpoint in ENDPOINTS
}
_LOG = structlog.get_logger("understudy.admin")


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever sent a request: the name of a credential, empty where none is asked for."""

    name: str
    role: Role


class Failures:
    """How often addresses failed of late."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._level: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long an address is not listened to."""
        return max(0.0, (self._now(address) - FAILURES + 1) * FORGIVEN_S)

    def add(self, address: str) -> None:
        """Note that an address failed."""
        level = self._now(address) + 1
        self._level[_network(address)] = (level, self._clock())
        self._level.move_to_end(_network(address))
        if len(self._level) > MOST_ADDRESSES:
            self._level.popitem(last=False)

    def _now(self, address: str) -> float:
        level, at_s = self._level.get(_network(address), (0.0, 0.0))
        return max(0.0, level - (self._clock() - at_s) / FORGIVEN_S)


class Access:
    """The check before every request."""

    def __init__(self, environ: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic) -> None:
        self._environ = environ
        self._failures = Failures(clock)
        self._settings: Admin | None = None
        self._tokens: tuple[tuple[bytes, Principal], ...] = ()

    @web.middleware
    async def check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let a request through that may do what it asks for."""
        resource = request.match_info.route.resource
        path = "" if resource is None else resource.canonical
        method = "GET" if request.method == "HEAD" else request.method
        needed = _NEEDS.get((method, path), "viewer")
        refuse_foreign_page(request)
        if needed == "public":
            return await handler(request)
        principal = self._principal(request)
        if not _may(principal.role, needed):
            detail = f"{principal.name} is {_article(principal.role)}; this needs {_article(needed)}"
            raise RefusalError(403, "role", detail)
        request[PRINCIPAL], request[ROLE] = principal.name, principal.role
        return await handler(request)

    def _principal(self, request: web.Request) -> Principal:
        settings = request.app[CONTROLS].admin
        if settings is None:
            raise RefusalError(503, "not-ready", "no configuration is live yet, which says who may ask")
        if settings is not self._settings:
            self._settings, self._tokens = settings, tuple(_tokens(settings, self._environ))
        if not settings.asks:
            _no_foreign_name(request)
            return Principal("", "admin")
        address = request.remote or ""
        wait_s = self._failures.wait_s(address)
        if wait_s > 0:
            raise RefusalError(
                429, "too-many-failures", "too many requests from this address had no valid credential",
                headers={"Retry-After": str(int(wait_s) + 1)},
            )  # fmt: skip
        found = self._by_token(request) or _by_certificate(request, settings)
        if found is not None:
            return found
        if "Authorization" in request.headers:  # nobody guesses by sending nothing
            self._failures.add(address)
            _LOG.warning("a credential that is not known", address=address)
        raise RefusalError(
            401, "credential", "send `Authorization: Bearer TOKEN` with one of `admin.tokens`, or a certificate",
            headers={"WWW-Authenticate": 'Bearer realm="understudy"'},
        )  # fmt: skip

    def _by_token(self, request: web.Request) -> Principal | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or len(token) > LONGEST_TOKEN:
            return None
        given = _hashed(token.strip())
        found: Principal | None = None
        for digest, principal in self._tokens:  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, given):
                found = principal
        return found


def _may(role: Role, needed: Role) -> bool:
    return role != "viewer" if needed == "feedback" else _RANK[role] >= _RANK[needed]


def _tokens(settings: Admin, environ: Mapping[str, str]) -> list[tuple[bytes, Principal]]:
    found = []
    for token in settings.tokens:
        if token.sha256 is not None:
            found.append((bytes.fromhex(token.sha256), Principal(token.name, token.role)))
            continue
        value = environ.get(token.env or "", "").strip()
        if len(value) < SHORTEST_TOKEN:
            what = f"has fewer than {SHORTEST_TOKEN} characters" if value else "is not set"
            _LOG.error("a token lets nobody in", token=token.name, reason=f"the variable {token.env} {what}")
        else:
            found.append((_hashed(value), Principal(token.name, token.role)))
    return found


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _by_certificate(request: web.Request, settings: Admin) -> Principal | None:
    """By the certificate that the handshake verified; of several roles the highest."""
    transport = request.transport
    shown: Mapping[str, Any] = (transport.get_extra_info("peercert") if transport is not None else None) or {}
    names = {value for kind, value in shown.get("subjectAltName", ()) if kind in ("DNS", "email", "URI")}
    if not names:
        names = {value for part in shown.get("subject", ()) for key, value in part if key == "commonName"}
    found = [Principal(client.subject, client.role) for client in settings.clients if client.subject in names]
    return max(found, key=lambda principal: _RANK[principal.role], default=None)


def _no_foreign_name(request: web.Request) -> None:
    """A page that had its own name lead to this address (DNS rebinding) comes by that name, which no address is."""
    host = request.headers.get("Host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if name.lower() != "localhost":
            detail = f"{name[:100]!r} is not a name of the admin API; ask for localhost or an address, or set tokens"
            raise RefusalError(421, "host", detail) from None


def _network(address: str) -> str:
    """Who fails together: an address, or the network that a single IPv6 host has."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else address


def _article(role: str) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"
