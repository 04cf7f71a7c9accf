"""All routes at a glance: what needs somebody first, and everything that is not as it should be.

Made of what the controller answers already, and of the pulse; made once a second at most, however many look, and a few
routes at a time: what finds outages ten times a second has its turn in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from aiohttp import web

from proxy.admin.handling import answer, known
from proxy.admin.pulse import Pulse, Version
from proxy.admin.surface import Controls, Json
from proxy.control.machine.rollout import TERMINAL

FRESH_S: Final = 1.0
AT_ONCE: Final = 10
"""Routes that are looked at before others have their turn: some 5 ms."""
_ENDED: Final = frozenset(map(str, TERMINAL))
_RANK: Final = {"act": 0, "look": 1, "none": 2}
_KEPT: Final = ("startedAt", "stageStartedAt", "endedAt", "missing", "forecastSeconds")


class Overview:
    """The overview as it was made last."""

    def __init__(
        self, controls: Controls, pulse: Pulse, clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._controls, self.pulse, self._clock, self._monotonic = controls, pulse, clock, monotonic
        self._made_s, self._made = -FRESH_S, Json()
        self._making = asyncio.Lock()

    async def document(self) -> Json:
        """All of it; a second old at most."""
        async with self._making:
            if self._monotonic() - self._made_s >= FRESH_S:
                self._made, self._made_s = await self._make(), self._monotonic()
            return self._made

    async def _make(self) -> Json:
        status, pulse = self._controls.status(), self.pulse
        found = []
        for number, line in enumerate(status["routes"]):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            with contextlib.suppress(KeyError):  # it went with its file meanwhile
                found.append(_glimpse(self._controls.route(line["name"]), line, pulse.now(line["name"])))
        found.sort(key=_place)
        return {
            "at": self._clock(),
            "version": status["version"],
            "startedAt": status["startedAt"],
            "configLoadedAt": status["config"]["loadedAt"],
            "generation": status["config"]["generation"],
            "workers": sum(worker["alive"] for worker in status["workers"]),
            "windowSeconds": pulse.window_s,
            "alarms": sorted(alarms(status), key=lambda alarm: _RANK[alarm["urgency"]]),
            "routes": found,
        }


OVERVIEW: Final = web.AppKey("overview", Overview)


async def overview(request: web.Request) -> web.Response:
    """All routes, those that need somebody first."""
    return answer(await request.app[OVERVIEW].document())


async def course(request: web.Request) -> web.Response:
    """How a route went since the controller began."""
    lines, versions = request.app[OVERVIEW].pulse.course(known(request)["name"]).document()
    return answer({"points": lines, "versions": versions})


# --- what is wrong


def alarms(status: Json) -> Iterator[Json]:
    """Everything of a status that is not as it should be."""
    if status["store"]["error"]:
        yield _alarm("act", "store", f"rollouts stand still: {status['store']['error']}",
                     "traffic goes on; mend the store, and they go on by themselves")  # fmt: skip
    if error := status["config"]["lastError"]:
        count = len(error["problems"])
        yield _alarm("act", "config", f"the file was refused ({count} problem{'s' * (count != 1)}); what ran runs on",
                     "see Configuration for line and remedy")  # fmt: skip
    for worker in status["workers"]:
        if not worker["alive"]:
            yield _alarm(
                "act", "worker", f"worker {worker['index']} is not there", "the supervisor starts it again; see its log"
            )
    for backend in status["backends"]:
        yield from _of_backend(backend)
    for each in status["differences"]:
        yield _alarm("look", "difference", each["text"], each["remedy"], each["route"])
    for each in status["faultInjection"]:
        yield _alarm(
            "look",
            "injected",
            f"on purpose is injected {each['injects']}",
            "take `fault` out of the file",
            each["route"],
        )
    if status["restartNeeded"]:
        yield _alarm(
            "look",
            "restart",
            f"{', '.join(status['restartNeeded'])} of the file is not live",
            "restart, or `--takeover`",
        )


def _of_backend(backend: Json) -> Iterator[Json]:
    endpoints = backend["endpoints"]
    away = [each for each in endpoints if each["state"] in ("unhealthy", "ejected")]
    if backend["panic"]:
        yield _alarm("act", "panic", f"{backend['name']}: so few endpoints are well that health is ignored",
                     "bring endpoints back, or add some")  # fmt: skip
    if away:
        worst = "act" if len(away) == len(endpoints) else "look"
        reasons = "; ".join(f"{each['address']} {each['state']}{_why(each)}" for each in away[:3])
        more = f"; and {len(away) - 3} more" if len(away) > 3 else ""
        text = f"{backend['name']}: {len(away)} of {len(endpoints)} endpoints out: {reasons}{more}"
        yield _alarm(worst, "endpoint", text, "look at its logs, and whether it answers its health check")


def _why(endpoint: Json) -> str:
    return f" ({endpoint['reason']})" if endpoint["reason"] else ""


def _alarm(urgency: str, kind: str, text: str, remedy: str, route: str = "") -> Json:
    return {"urgency": urgency, "kind": kind, "route": route, "text": text, "remedy": remedy}


# --- one route


def _glimpse(route: Json, line: Json, paces: Mapping[Version, Json]) -> Json:
    urgency, attention = needs(route)
    control = (route["baseline"], "baseline") if route["baseline"] else (route["stable"], "stable")
    live = [pace["requestsPerSecond"] for (_, role), pace in paces.items() if role != "shadow"]
    candidate = paces.get((route["candidate"], "canary")) or paces.get((route["candidate"], "shadow"))
    return {
        **line,
        "urgency": urgency,
        "attention": attention,
        **{key: route[key] for key in _KEPT},
        "stablePace": paces.get(control) or _of_fixed(route, paces),
        "candidatePace": candidate,
        "requestsPerSecond": sum(live),
    }


def _of_fixed(route: Json, paces: Mapping[Version, Json]) -> Json | None:
    """Of a route without a rollout, whose versions have fixed weights: the one that has most."""
    live = [pace for (_, role), pace in paces.items() if role != "shadow"]
    return None if route["phase"] else max(live, key=lambda pace: float(pace["requestsPerSecond"]), default=None)


def needs(route: Json) -> tuple[str, str]:
    """Whether somebody should act on a route, or look at it, and why."""
    if route["error"]:
        return "act", f"evidence is not read, and nothing is decided: {route['error']}"
    match route["phase"]:
        case "Paused" if any(offer["verb"] == "pause" for offer in route["commands"]):
            return "none", ""  # a pause that has its time, after which it goes on by itself
        case "Paused":
            return "act", route["reason"] or "it waits for somebody"
        case "Failed" | "Aborted":
            return "act", route["reason"]
        case "Waiting":
            return "look", route["reason"] or "it waits for traffic"
        case "Swapping" | "Reverting" | "Baking" | "Promoting":
            return "look", route["reason"]
    if any(each["ratio"] and each["ratio"]["flagged"] for each in (route, *route["candidates"])):
        return "act", "traffic is not split as configured: nothing is promoted on it"
    if route["held"] and route["held"]["waiting"]:
        return "look", f"{route['held']['waiting']} requests are held"
    if harmed := _names(route, "harmed"):
        return "look", f"harm is found in {', '.join(harmed)}"
    if lost := [hook["name"] for hook in route["webhooks"] if hook["givenUp"]]:
        return "look", f"news was not told to {', '.join(lost)}"
    return "none", ""


def _names(route: Json, what: str) -> Iterable[str]:
    active = route["phase"] not in _ENDED
    return [metric["name"] for metric in route["metrics"] if active and metric[what]]


def _place(route: Json) -> tuple[int, int, float, str]:
    """Who comes first: what needs somebody, then what goes on, then what ended last, then what has no rollout."""
    kind = 2 if not route["phase"] else 1 if route["phase"] in _ENDED else 0
    return _RANK[route["urgency"]], kind, -(route["endedAt"] or 0.0), route["name"]
