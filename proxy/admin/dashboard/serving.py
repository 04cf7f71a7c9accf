"""The files of the dashboard, as a browser gets them.

Names are looked up in a table of what is there, so that no name leads elsewhere. A browser asks each time whether it
has the newest (304): a release or a restart shows at once. plotly's script is that of the installed Python package,
which is found and never imported: the controller has no use for its code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import web

from proxy.admin.problems import RefusalError

STATIC: Final = Path(__file__).parent / "static"
INDEX: Final = "index.html"
PLOTLY: Final = "plotly.min.js"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may do: run and show what is served here, and ask here. Pictures that plotly makes are data."""
HEADERS: Final[dict[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the dashboard, small enough to be kept once it was asked for."""

    body: bytes
    content_type: str
    tag: str


async def shell(request: web.Request) -> web.StreamResponse:
    """The page itself."""
    return _kept(request, INDEX)


async def file(request: web.Request) -> web.StreamResponse:
    """One of its files.

    Raises:
        RefusalError: there is none of this name, or the script of plotly is not installed.
    """
    name = request.match_info["file"]
    if name != PLOTLY:
        return _kept(request, name)
    path = plotly()
    if path is None:
        detail = "the Python package plotly is not installed here: charts are left out; pip install plotly"
        raise RefusalError(404, "not-found", detail)
    return web.FileResponse(path, headers={**HEADERS, "Content-Type": "text/javascript; charset=utf-8"})


def plotly() -> Path | None:
    """Where plotly's script is. The package is not imported for it."""
    spec = find_spec("plotly")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    path = None if folder is None else folder / "package_data" / PLOTLY
    return path if path is not None and path.is_file() else None


@cache
def names() -> frozenset[str]:
    """The files that there are."""
    return frozenset(path.name for path in STATIC.iterdir() if path.suffix in _TYPES)


@cache
def _read(name: str) -> File:
    path = STATIC / name
    body = path.read_bytes()
    return File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])


def _kept(request: web.Request, name: str) -> web.Response:
    if name not in names():
        raise RefusalError(404, "not-found", f"the dashboard has no file {name[:100]!r}; GET / is its page")
    found = _read(name)
    known = request.if_none_match or ()
    if any(tag.value in (found.tag, "*") for tag in known):
        response = web.Response(status=304, headers=HEADERS)
    else:
        response = web.Response(body=found.body, content_type=found.content_type, charset="utf-8", headers=HEADERS)
    response.etag = found.tag
    return response
