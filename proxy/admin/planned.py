"""The plan of a route for the command line: by a file alone, or by what a running Understudy knows of its traffic.

What computes is imported where it is needed: a file without `expectedRate` is checked without scipy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from config.document import read
from config.schema import Config, Route
from proxy.admin.client import Client

Json = dict[str, Any]


def planned(config: Config, route: str, rate: float | None, times: float) -> Json:
    """By a file, with assumptions about stable.

    Raises:
        ValueError: there is no such route, or no traffic is known.
    """
    from proxy.control.evidence.outlook import outlook

    found = _found({each.name: each for each in config.routes}, route)
    return outlook(found, _traffic(rate, None, found), None, times, config.backends)


def planned_live(client: Client, route: str, rate: float | None, times: float, now_s: float) -> Json:
    """By the configuration that is live, with what is known of its traffic and of stable. The files that it names need
    not be here.

    Raises:
        ValueError: no traffic is known.
    """
    from proxy.control.evidence.outlook import measured_rate, outlook

    known, status = client.route(route), client.status()
    live = Config.model_validate(read(client.config_text(), "live").data)
    found = _found({each.name: each for each in live.routes}, route)
    measured = measured_rate(known, status["startedAt"], now_s)
    return outlook(found, _traffic(rate, measured, found), known, times, live.backends)


def unprovable(config: Config) -> Iterator[str]:
    """Margins that cannot be proven in time at the rates that a file expects."""
    for route in config.routes:
        if route.analysis.expected_rate:
            from proxy.control.evidence.outlook import warnings

            yield from warnings(route, route.analysis.expected_rate, None, config.backends)


def _found(routes: Mapping[str, Route], name: str) -> Route:
    if name not in routes:
        raise ValueError(f"there is no route {name!r}; there are {', '.join(routes)}")
    return routes[name]


def _traffic(given: float | None, measured: float | None, route: Route) -> float:
    rate = given or measured or route.analysis.expected_rate
    if rate is None:
        raise ValueError("no traffic is known: give --rate, or analysis.expectedRate in the file")
    return rate
