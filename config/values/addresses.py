"""Where to listen, where backends answer, and where state is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from config.values.problems import shown
from config.values.section import Parsed, refusal

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]+\]")
_POSTGRESQL: Final = "write postgresql://user@host/name, or postgresql://user@/name?host=/run/postgresql for its socket"
_POSTGRESQL_OPTIONS: Final = ("host", "ssl")
_SOCKET_PATH_BYTES: Final = 107
"""Linux keeps 108 for a path and the zero at its end (unix(7))."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a host or IP address (IPv6 without brackets) and a port; port 0 takes any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SocketPath:
    """Where to listen: the path of a Unix-domain socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class Url:
    """Where a backend answers: http or https with a host and a port, or the path of a Unix-domain socket."""

    host: str
    port: int
    scheme: Literal["http", "https", "unix"] = "http"
    path: str = ""

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{Address(self.host, self.port)}"


def _host_port(text: str, lowest: int) -> Address | None:
    host, colon, port = text.rpartition(":")
    if not colon or not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port):
        return None
    return Address(host.strip("[]"), int(port)) if lowest <= int(port) <= 65535 else None


def _address(value: object) -> Address:
    if isinstance(value, int) and not isinstance(value, bool):
        raise refusal(
            f"{value} is a port without a host", f"write 0.0.0.0:{value} for all interfaces, or 127.0.0.1:{value}"
        )
    if isinstance(value, str) and re.fullmatch(r":[0-9]+", value):
        raise refusal(f"{shown(value)} has no host", f"write 0.0.0.0{value} for all interfaces, or 127.0.0.1{value}")
    address = _host_port(value, 0) if isinstance(value, str) else None
    if address is None:
        raise refusal(
            f"{shown(value)} is not an address",
            "write a host and a port up to 65535, such as 0.0.0.0:8080 or [::1]:8080",
        )
    return address


def _url(value: object) -> Url:
    wanted = "write http or https, a host and a port, such as http://10.0.0.11:8080, or unix:/run/model.sock"
    if not isinstance(value, str):
        raise refusal(f"{shown(value)} is not a URL", wanted)
    if value.startswith("unix:"):
        return Url("", 0, "unix", _socket_path(value, "unix:/run/model.sock"))
    scheme, _, rest = value.partition("://")
    if not rest:
        raise refusal(f"{shown(value)} is not a URL", wanted)
    if "@" in rest:
        raise refusal("the URL has a user name", "take it away: the proxy passes on what the client sends")
    if scheme not in ("http", "https"):
        raise refusal(f"{shown(value)} has the scheme {scheme}", wanted)
    authority, *extra = re.split(r"(?=[/?#])", rest, maxsplit=1)
    if extra and extra != ["/"]:
        raise refusal(
            f"{shown(value)} has more than a host and a port",
            f"write {scheme}://{authority}: paths come from the client",
        )
    port = 443 if scheme == "https" else 80
    address = _host_port(authority if re.search(r":[0-9]+$", authority) else f"{authority}:{port}", 1)
    if address is None:
        raise refusal(f"{shown(value)} has no valid host and port", wanted)
    return Url(address.host, address.port, "https" if scheme == "https" else "http")


def _listen_at(value: object) -> Address | SocketPath:
    if isinstance(value, str) and value.startswith("unix:"):
        return SocketPath(_socket_path(value, "unix:/run/understudy.sock"))
    return _address(value)


def _socket_path(value: str, example: str) -> str:
    path = re.sub("^//(?=/)", "", value.removeprefix("unix:"))
    if not path.startswith("/") or path.startswith("//") or path.endswith("/") or "\0" in path:
        raise refusal(f"{shown(value)} names no socket", f"write its whole path, such as {example}")
    if len(path.encode()) > _SOCKET_PATH_BYTES:
        raise refusal(
            f"{shown(value)} is longer than the {_SOCKET_PATH_BYTES} bytes that the system takes", "use a shorter path"
        )
    return path


def _store_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme in ("postgresql", "postgres"):
        return _postgresql_url(value, rest)
    if scheme != "sqlite":
        raise refusal(
            f"{shown(scheme)} is not supported: SQLite and PostgreSQL are",
            "write sqlite:///understudy.db, sqlite:////absolute/path.db or postgresql://user@host/name",
        )
    path = rest.removeprefix("/")
    if not rest.startswith("/") or not path or path.endswith("/") or "?" in path:
        raise refusal(
            f"{shown(value)} names no file", "write sqlite:///understudy.db, with three slashes before the path"
        )
    if path == ":memory:":
        raise refusal(
            f"{shown(value)} forgets every rollout at a restart", "name a file, such as sqlite:///understudy.db"
        )
    return value


def _postgresql_url(value: str, rest: str) -> str:
    place, _, name = rest.partition("/")
    name, _, query = name.partition("?")
    user, _, host = place.rpartition("@")
    options = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if ":" in user or "password" in options:
        remedy = "take it out of the file: set PGPASSWORD in the environment, or name a file in PGPASSFILE"
        raise refusal("a password stands in it", remedy)
    strange = next((option for option in options if option not in _POSTGRESQL_OPTIONS), None)
    if strange is not None:
        remedy = f"give {' or '.join(_POSTGRESQL_OPTIONS)} there, and nothing else"
        raise refusal(f"{shown(value)} has the option {shown(strange)}, which is not known", remedy)
    if not host and not options.get("host"):
        raise refusal(f"{shown(value)} names no host", _POSTGRESQL)
    if not name:
        raise refusal(f"{shown(value)} names no database", _POSTGRESQL)
    return value


AddressAt = Annotated[Address, Parsed(_address, str, {"type": "string", "title": "address, host:port"})]
ListenAt = Annotated[
    Address | SocketPath, Parsed(_listen_at, str, {"type": "string", "title": "address: host:port or unix:/PATH"})
]
Endpoint = Annotated[
    Url,
    Parsed(
        _url,
        str,
        {
            "type": "string",
            "title": "URL: http://host:port, https://host:port or unix:/PATH",
            "pattern": "^(https?://|unix:/)",
        },
    ),
]
StoreUrl = Annotated[
    str,
    Parsed(
        _store_url,
        str,
        {"title": "sqlite:///PATH or postgresql://…", "pattern": "^(sqlite:///|postgres(ql)?://)"},
        form=str,
    ),
]
