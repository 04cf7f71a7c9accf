"""Every error of the admin API in one shape: problem details (RFC 9457), whoever raised it.

A handler raises `RefusalError`. The middleware turns it, what aiohttp itself raises (404, 405, 413) and whatever
nobody foresaw into `application/problem+json` with `type`, `title`, `status`, `detail` and `instance`; a refusal may
add members.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web

CONTENT_TYPE: Final = "application/problem+json"
MAX_BODY_BYTES: Final = 1 << 20
"""Bodies are configuration files and small JSON objects; the largest known file of this kind is under 200 kB."""

_LOG = structlog.get_logger("understudy.admin")


class RefusalError(Exception):
    """Why a request is not carried out. `kind` names the error for machines; `members` are added to the answer."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.headers = headers
        self.status, self.kind, self.detail, self.members = status, kind, detail, members


def unknown_route(name: str, known: list[str]) -> RefusalError:
    """The refusal of a name that no route has; says which names there are."""
    names = ", ".join(known) or "none"
    return RefusalError(404, "unknown-route", f"no route is called {name!r}; the routes are: {names}")


@web.middleware
async def one_shape(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer every error as problem details."""
    try:
        return await handler(request)
    except RefusalError as refusal:
        return _answer(request, refusal)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = _answer(request, _of_http(request, error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:  # noqa: BLE001 (the rim: a bug gets the one shape too, and its trace belongs in the log)
        _LOG.exception("the admin API failed", method=request.method, path=request.path)
        return _answer(
            request, RefusalError(500, "internal", "the admin API failed; the controller's log has the trace")
        )


def _of_http(request: web.Request, error: web.HTTPException) -> RefusalError:
    match error:
        case web.HTTPRequestEntityTooLarge():
            return RefusalError(413, "too-large", f"the body is over the limit of {MAX_BODY_BYTES} bytes")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return RefusalError(405, "method", f"{request.path} does not answer {request.method}; it answers {allowed}")
        case web.HTTPNotFound():
            return RefusalError(404, "not-found", f"nothing is at {request.path}; GET /api/v1 names the endpoints")
        case _:
            return RefusalError(error.status, "http", error.text or error.reason)


def _answer(request: web.Request, refusal: RefusalError) -> web.Response:
    body = {
        "type": f"urn:understudy:problem:{refusal.kind}",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "instance": request.path,
        **refusal.members,
    }
    text = json.dumps(body, ensure_ascii=False)
    return web.Response(status=refusal.status, text=text, content_type=CONTENT_TYPE, headers=refusal.headers)
