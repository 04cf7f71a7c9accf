"""Transfers of large bodies."""

import hashlib
import http.client
from contextlib import closing

import pytest

from loadtests import transfers
from loadtests.compare import Cores, upstream
from loadtests.model import blocks

LENGTH = (3 << 20) + 7


@pytest.mark.slow
def test_what_arrives_is_what_was_sent():
    """A proxy would be told to break bodies that client or model break themselves."""
    expected = hashlib.sha256(b"".join(blocks(LENGTH))).hexdigest()
    with upstream(Cores.of_machine().load, "loadtests.model") as ports:
        for run in (transfers._upload, transfers._download):
            for chunked in (False, True):
                with closing(http.client.HTTPConnection("127.0.0.1", ports["stable"], timeout=20)) as connection:
                    assert run(connection, LENGTH, chunked=chunked) == (LENGTH, expected)


def case(**facts):
    return {"peer": "understudy", "growthMiB": 1.0, "whole": True, **facts}


def test_the_worst_transfer_decides():
    """Downloads could fill the memory, or break, behind uploads that do not."""
    grown, whole = transfers.judged([case(growthMiB=17.0), case(whole=False), case(peer="nginx", growthMiB=99.0)], 1024)
    assert (grown["value"], grown["holds"]) == (17.0, False)
    assert (whole["value"], whole["holds"]) == (1.0, False)


def test_nothing_is_held_where_nothing_was_measured():
    """A proxy that did not start would pass."""
    assert [goal["holds"] for goal in transfers.judged([], 1024)] == [None, None]
