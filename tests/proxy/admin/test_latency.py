"""Latencies gathered from the lanes of a real ledger, with a clock of our own."""

from __future__ import annotations

import os
import random

import pytest

from proxy.admin.latency import EDGES_S, Latencies
from proxy.faults import Fault
from proxy.ledger import layout
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from tests.support.fake_controller import RowView

ROW = RowView("fraud", "fraud-v1", "stable", 0, 5)
ARM = ("fraud", "fraud-v1", "stable")


class Bench:
    """A ledger, a writer, and a clock."""

    def __init__(self) -> None:
        self.fd = layout.create(workers=1, rows=2, tables=1)
        self.writer = Writer(self.fd, 0)
        self.row = self.writer.occupy(0, 5, 1)
        self.now_s = 100.0
        self.latencies = Latencies(Reader(self.fd), lambda: self.now_s)

    def finish(self, arrived_s: float, latency_s: float) -> None:
        self.writer.finish(self.row, arrived_s, arrived_s + latency_s, False, 200, Fault.NONE)

    def count(self) -> float:
        histogram = self.latencies.gather([ROW])[ARM]
        return histogram.buckets()[-1][1]


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    os.close(bench.fd)


def test_a_request_counts_once_however_often_one_reads(bench):
    """Broken: the histogram grows with the number of scrapes."""
    bench.writer.arrive(bench.row, 100.2)
    bench.writer.arrive(bench.row, 100.3)
    bench.finish(100.2, 0.05)
    assert [bench.count(), bench.count()] == [1, 1]
    bench.finish(100.3, 0.05)
    assert [bench.count(), bench.count()] == [2, 2]


def test_nothing_is_lost_or_doubled_over_minutes(bench):
    """Broken: lanes that are used again are missed or read twice."""
    draw = random.Random(7)
    finished, next_read = 0, 100.0
    for _ in range(4000):
        bench.now_s += draw.expovariate(40)
        bench.writer.arrive(bench.row, bench.now_s)
        bench.finish(bench.now_s, 0.001)
        finished += 1
        if bench.now_s >= next_read:
            assert bench.count() == finished
            next_read = bench.now_s + draw.uniform(0.1, 13.0)
    assert bench.count() == finished


def test_late_requests_count_above_every_edge(bench):
    """Broken: time-outs, the slowest requests of all, are missing from the tail."""
    bench.writer.arrive(bench.row, 100.0)
    bench.now_s = 111.0
    bench.finish(100.0, 11.0)
    histogram = bench.latencies.gather([ROW])[ARM]
    assert histogram.buckets()[-2:] == [("10.0", 0.0), ("+Inf", 1.0)]
    assert histogram.total_s() == layout.GRACE_S


def test_an_arm_keeps_its_histogram_when_its_stage_ends(bench):
    """Broken: the histogram falls at each change of weight."""
    bench.writer.arrive(bench.row, 100.0)
    bench.finish(100.0, 0.05)
    assert bench.count() == 1
    assert bench.latencies.gather([])[ARM].buckets()[-1][1] == 1
    next_row = bench.writer.occupy(1, 6, 1)
    bench.writer.arrive(next_row, 100.0)
    bench.writer.finish(next_row, 100.0, 100.05, False, 200, Fault.NONE)
    arms = bench.latencies.gather([RowView("fraud", "fraud-v1", "stable", 1, 6)])
    assert arms[ARM].buckets()[-1][1] == 2


@pytest.mark.parametrize("edge", EDGES_S)
def test_edges_are_exact_to_one_percent(bench, edge):
    """Broken: `le` says something else than what is counted."""
    for latency_s in (edge * 0.989, edge * 1.011):
        bench.writer.arrive(bench.row, 100.0)
        bench.finish(100.0, latency_s)
    cumulative = dict(bench.latencies.gather([ROW])[ARM].buckets())
    assert cumulative[repr(edge)] == 1
