"""Quantiles of the load at a fixed rate, and a generator against a server that stalls."""

import asyncio

import pytest

from loadtests.openloop import Generator, latency_of, quantile
from loadtests.upstream import Connection


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_quantile_is_the_smallest_value_that_covers_its_share(q, value):
    """The tail would be reported one sample too early, and p99.9 would miss the worst request."""
    assert quantile(range(1, 101), q) == value


def test_quantiles_of_nothing_are_zero():
    """A proxy that answers nothing would crash the comparison."""
    assert latency_of([], [], sent=0, errors=0).p99_us == 0


@pytest.mark.slow
async def test_a_stall_counts_for_every_request_that_was_due_in_it():
    """Requests that were not sent while the server stood still would be missing from the tail."""
    loop = asyncio.get_running_loop()
    resume_s = []

    class Stalling(Connection):
        def data_received(self, data):
            if not resume_s:
                resume_s.append(loop.time() + 0.3)
            loop.call_at(resume_s[0], super().data_received, data)

    server = await loop.create_server(lambda: Stalling("stable", {"stable": 0}), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await Generator(port, rate=400, seconds=0.1, connections=2).run()
    server.close()
    assert (found.sent, found.errors) == (40, 0)
    assert found.p50_us > 200_000  # the last of them was due 0.1 s after the stall began
