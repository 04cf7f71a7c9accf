"""The admin API from the other side, for the command line. Standard library alone, so that it starts fast."""

from __future__ import annotations

import getpass
import json
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import (
    BaseHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    ProxyHandler,
    Request,
    build_opener,
)

DEFAULT_ADDRESS: Final = "http://127.0.0.1:9901"
NDJSON: Final = "application/x-ndjson"
TIMEOUT_S: Final = 30.0
"""A reload waits for all workers; everything else answers in milliseconds."""


class UnreachableError(Exception):
    """Nothing that speaks the admin API answers at the address."""


class RefusedError(Exception):
    """The admin API says no. `problem` is its answer (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail", problem)))
        self.problem = problem


def actor() -> str:
    """Who types: user@host."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's numeric user has no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Who asks: a token, or the file of a certificate with its key. `ca_file` has the authorities that are believed."""

    token: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""

    def context(self) -> ssl.SSLContext:
        """What https is spoken with."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file)
        except OSError as error:
            files = " and ".join(filter(None, (self.ca_file, self.cert_file))) or "the authorities of the system"
            raise ValueError(f"{files} cannot be used: {error.strerror or error}") from error
        return context


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """None is followed."""


class Client:
    """Asks one admin API. `address` is a URL; host:port is enough. `keys` say who asks, and who is believed.

    Raises ValueError if the address is no HTTP URL or the keys cannot be used; all methods raise `UnreachableError` and
    `RefusedError`.
    """

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S, keys: Keys | None = None) -> None:
        self.address = (address if "//" in address else f"http://{address}").rstrip("/")
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{address!r} is not the URL of an admin API; give something like {DEFAULT_ADDRESS}")
        self._timeout_s = timeout_s
        self._keys = keys or Keys()
        if not (self._keys.token.isascii() and self._keys.token.isprintable()):
            raise ValueError("the token has characters that no header can have: it is one line of visible ASCII")
        # Without the environment's proxies: the admin API is on this machine or in this cluster. Without redirections
        # too: the API has none, and a token is for nobody else.
        handlers: list[BaseHandler] = [ProxyHandler({}), _NoRedirect()]
        if parts.scheme == "https":
            handlers.append(HTTPSHandler(context=self._keys.context()))
        self._opener = build_opener(*handlers)

    def status(self) -> dict[str, Any]:
        """The process, its configuration and workers, a summary of each route."""
        return self._json("GET", "/api/v1/status")

    def routes(self) -> list[dict[str, Any]]:
        """A summary of each route."""
        routes: list[dict[str, Any]] = self._json("GET", "/api/v1/routes")["routes"]
        return routes

    def route(self, name: str) -> dict[str, Any]:
        """All that is known of one route."""
        return self._json("GET", _route(name))

    def report(self, name: str) -> dict[str, Any]:
        """A route with its history."""
        return self._json("GET", f"{_route(name)}/report")

    def report_markdown(self, name: str) -> str:
        """The report of a route for people."""
        return self._ask("GET", f"{_route(name)}/report?format=markdown").decode("utf-8")

    def history(self, name: str, limit: int, before: int | None = None) -> dict[str, Any]:
        """Journal entries of a route, newest first, and where to go on."""
        query = urlencode({"limit": limit} | ({} if before is None else {"before": before}))
        return self._json("GET", f"{_route(name)}/history?{query}")

    def why(self, name: str, entry: int | None) -> dict[str, Any]:
        """What a decision was made on; of the last one without an entry's id."""
        return self._json("GET", f"{_route(name)}/why" + ("" if entry is None else f"?entry={entry}"))

    def recordings(self, name: str) -> list[dict[str, Any]]:
        """The rollouts of a route of which slices are recorded, the oldest first."""
        runs: list[dict[str, Any]] = self._json("GET", f"{_route(name)}/recordings")["runs"]
        return runs

    def recorded(self, name: str, run: int) -> Iterator[dict[str, Any]]:
        """The recorded slices of a rollout, row by row."""
        after: int | None = 0
        while after is not None:
            page = self._json("GET", f"{_route(name)}/recordings/{run}?after={after}")
            yield from page["rows"]
            after = page["nextAfter"]

    def captures(self, name: str, kind: str | None, limit: int, before: int | None = None) -> dict[str, Any]:
        """Captured requests of a route, newest first, and where to go on."""
        asked = {"kind": kind, "limit": limit, "before": before}
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        return self._json("GET", f"{_route(name)}/captures?{query}")

    def forget_captures(self, name: str) -> int:
        """Take away all that was captured of a route; how many."""
        return int(self._json("DELETE", f"{_route(name)}/captures")["removed"])

    def verify(self, expected: str) -> dict[str, Any]:
        """Whether the chain of the journal holds."""
        return self._json("GET", "/api/v1/journal/verify" + (f"?{urlencode({'expect': expected})}" if expected else ""))

    def act(self, name: str, verb: str, **options: Any) -> dict[str, Any]:
        """Give a command to a route's rollout; what it is afterwards."""
        return self._json("POST", f"{_route(name)}/{verb}", options)

    def feedback(self, lines: bytes) -> dict[str, Any]:
        """Tell truths, one record on each line; how many counted."""
        return self._json("POST", "/api/v1/feedback", lines)

    def config_text(self) -> str:
        """The configuration that is live, as it was read."""
        return self._ask("GET", "/api/v1/config").decode("utf-8")

    def reload(self) -> dict[str, Any]:
        """Have the configuration file read again."""
        return self._json("POST", "/api/v1/config/reload", {})

    def _json(self, method: str, path: str, body: dict[str, Any] | bytes | None = None) -> dict[str, Any]:
        raw = self._ask(method, path, body)
        try:
            value = json.loads(raw)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise self._stranger("its answer is not JSON")
        return value

    def _ask(self, method: str, path: str, body: dict[str, Any] | bytes | None = None) -> bytes:
        """`body` is a JSON object, or the bytes of lines of them."""
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        request = Request(self.address + path, data, method=method)  # noqa: S310 (the scheme is checked above)
        request.add_header("x-understudy-actor", actor().encode("ascii", "replace").decode())
        if self._keys.token:
            request.add_header("Authorization", f"Bearer {self._keys.token}")
        if data is not None:
            request.add_header("Content-Type", NDJSON if isinstance(body, bytes) else "application/json")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                answer: bytes = response.read()
                return answer
        except HTTPError as error:
            raise self._refusal(error) from error
        except HTTPException as error:
            raise self._stranger("it does not speak HTTP") from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise UnreachableError(
                f"the admin API at {self.address} cannot be reached ({reason}): start it with "
                "`understudy serve --config FILE`, or name another address with --admin or UNDERSTUDY_ADMIN"
            ) from error

    def _refusal(self, error: HTTPError) -> Exception:
        try:
            problem = json.loads(error.read())
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            return self._stranger(f"it answers {error.code} and no problem details")
        return RefusedError(problem)

    def _stranger(self, why: str) -> UnreachableError:
        return UnreachableError(
            f"what answers at {self.address} is not the admin API ({why}): "
            "name its address with --admin or UNDERSTUDY_ADMIN"
        )


def _route(name: str) -> str:
    return f"/api/v1/routes/{quote(name, safe='')}"
