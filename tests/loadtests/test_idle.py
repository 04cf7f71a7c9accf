"""Idle connections."""

import resource
import socket
from collections import Counter

import pytest

from loadtests import idle
from loadtests.peers import PeerError


def test_connections_come_from_several_addresses():
    """One pair of addresses has 28,000 ports by default, some of them still in TIME_WAIT."""
    assert set(Counter(map(idle.source, range(8000))).values()) == {8000 // idle.ADDRESSES}


def test_too_many_descriptors_are_refused_with_the_remedy():
    """Half of the connections would fail in the middle of the measurement, without a reason."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this machine has no limit")
    with pytest.raises(PeerError, match="ulimit -Hn"):
        idle.allow_descriptors(hard + 1)


@pytest.mark.parametrize(
    ("answer", "good"), [(b"HTTP/1.1 200 OK\r\n\r\n{}", True), (b"HTTP/1.1 503 No\r\n\r\n{}", False), (b"", False)]
)
def test_an_answer_is_a_whole_200(answer, good):
    """A connection that was closed, or refused, would count as alive."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        assert idle._answers(ours) is good


def test_every_connection_has_to_answer_again():
    """A proxy could close idle connections to save memory, and win by it."""
    each, silent = idle.judged([{"peer": "understudy", "kibEach": 3.0, "connections": 10, "answered": 9}])
    assert (each["holds"], silent["value"], silent["holds"]) == (True, 1.0, False)
    assert [goal["holds"] for goal in idle.judged([])] == [None, None]
