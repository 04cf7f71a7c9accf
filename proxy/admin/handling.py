"""What all handlers share: the controller, the route that a path names, who asks, and how an answer is made."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web

from proxy.admin.problems import unknown_route
from proxy.admin.surface import Controls, Json

CONTROLS: Final = web.AppKey("controls", Controls)
PRINCIPAL: Final = web.RequestKey("principal", str)
"""The name of the credential that a request came with."""
ROLE: Final = web.RequestKey("role", str)
"""What whoever sent it may do."""
ACTOR_HEADER: Final = "x-understudy-actor"
MAX_ACTOR_CHARS: Final = 120


def known(request: web.Request) -> Json:
    """The route that the path names.

    Raises:
        RefusalError: there is none.
    """
    name, controls = request.match_info["name"], request.app[CONTROLS]
    try:
        return controls.route(name)
    except KeyError as error:
        raise unknown_route(name, names(controls)) from error


def names(controls: Controls) -> list[str]:
    """The names of all routes."""
    return [str(route["name"]) for route in controls.routes()]


def answer(value: Any) -> web.Response:
    """A document as the answer."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return web.Response(text=text, content_type="application/json")


def actor(request: web.Request) -> str:
    """Who gave a command, for the journal: the name of the credential is proven, what the header says is not."""
    given = "".join(c for c in request.headers.get(ACTOR_HEADER, "") if c.isprintable()).strip()
    proven = request.get(PRINCIPAL, "")
    if proven:
        return f"{proven}: {given}"[:MAX_ACTOR_CHARS] if given else proven
    return given[:MAX_ACTOR_CHARS] or f"api@{request.remote or 'unknown'}"
