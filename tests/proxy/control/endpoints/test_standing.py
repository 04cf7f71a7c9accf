"""How the endpoints of backends look to people."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.backends.health import HealthCheck
from proxy.control.endpoints import standing as endpoints
from proxy.control.endpoints.health import Checks, Condition
from proxy.ledger.endpoints import EndpointState, tag, write
from proxy.ledger.writer import Writer
from proxy.snapshot import Backend, Endpoint
from tests.support.book import Book

A, B = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80)
BACKENDS = [Backend("v1", (A,)), Backend("v2", (A, B))]
NOW_S, WALL_S = 5000.0, 1_800_000_000.0


@pytest.fixture
def workers() -> Iterator[tuple[Book, list[Writer]]]:
    book = Book()
    yield book, [book.writer, Writer(book.fd, 1)]
    book.close()


class FakeChecks(Checks):
    """Knows what it is told."""

    def __init__(self, **known: Condition) -> None:
        super().__init__(lambda: None)
        self._known = known

    def condition(self, backend: str, endpoint: Endpoint) -> Condition | None:
        return self._known.get(f"{backend}_{endpoint.host[-1]}")


def test_states_add_up_over_workers(workers: tuple[Book, list[Writer]]) -> None:
    """A person would be told of one worker, or of workers that are dead."""
    book, (first, second) = workers
    for writer, in_flight, until_s in ((first, 3, 5030.0), (second, 4, 0.0)):
        out = int(until_s > 0)
        state = EndpointState(1, in_flight, out, until_s, 2 * out, 0.5 if out else 1.0, True)
        write(writer, 2, tag("v2", B), state)
    found = endpoints.backends(BACKENDS, FakeChecks(), book.reader, [0, 1], NOW_S, WALL_S)
    assert [backend["name"] for backend in found] == ["v1", "v2"]
    assert (found[0]["panic"], found[1]["panic"]) == (0, 2)
    line = found[1]["endpoints"][1]
    assert (line["address"], line["state"], line["inFlight"], line["ejectedBy"]) == (
        "http://10.0.0.2:80",
        "ejected",
        7,
        1,
    )
    assert (line["ejectedUntil"], line["ejections"], line["share"]) == (WALL_S + 30, 2, 0.5)
    assert found[1]["endpoints"][0]["state"] == "healthy"
    alive = endpoints.backends(BACKENDS, FakeChecks(), book.reader, [1], NOW_S, WALL_S)[1]
    assert (alive["panic"], alive["endpoints"][1]["state"], alive["endpoints"][1]["inFlight"]) == (1, "healthy", 4)


def test_what_checks_say_comes_first(workers: tuple[Book, list[Writer]]) -> None:
    """An endpoint that is down for its checks would be shown as one that is soon back."""
    book, (first, _) = workers
    write(first, 1, tag("v2", A), EndpointState(1, 0, 1, 5030.0, 1))
    checks = FakeChecks(v1_1=Condition(), v2_1=Condition(False, 0, "status 503", 7.0, 9.0), v2_2=Condition(True))
    found = endpoints.backends(BACKENDS, checks, book.reader, [0], NOW_S, WALL_S)
    assert found[0]["endpoints"][0]["state"] == "unknown"
    down, well = found[1]["endpoints"]
    assert (down["state"], down["reason"], down["since"], down["checkedAt"]) == ("unhealthy", "status 503", 7.0, 9.0)
    assert (well["state"], well["since"]) == ("healthy", None)
    assert {line["state"] for backend in found for line in backend["endpoints"]} <= set(endpoints.STATES)


def test_the_check_of_the_file_is_what_is_asked() -> None:
    """Defaults are what the reference says."""
    check = HealthCheck(path="/")
    assert (check.interval, check.timeout, check.unhealthy_threshold, check.healthy_threshold) == (5.0, 1.0, 3, 2)


def test_what_is_under_way_is_counted_over_workers(workers: tuple[Book, list[Writer]]) -> None:
    """A drain would end with requests under way, in a worker that has not told yet for one."""
    book, (first, second) = workers
    write(first, 2, tag("v2", B), EndpointState(in_flight=3))
    asked = {("v2", "http://10.0.0.2:80")}
    assert endpoints.in_flight(BACKENDS, asked, book.reader, [0]) == 3
    assert endpoints.in_flight(BACKENDS, asked, book.reader, [0, 1]) == 4
    write(second, 2, tag("v2", B), EndpointState(in_flight=0))
    assert endpoints.in_flight(BACKENDS, asked, book.reader, [0, 1]) == 3


def test_what_is_replaced_says_so() -> None:
    """Every rolling update would look like an outage."""
    away = {("v2", "http://10.0.0.2:80"): "leaving"}
    book = Book()
    found = endpoints.backends(BACKENDS, FakeChecks(), book.reader, [], NOW_S, WALL_S, away)
    book.close()
    assert [line["out"] for backend in found for line in backend["endpoints"]] == ["", "", "leaving"]
