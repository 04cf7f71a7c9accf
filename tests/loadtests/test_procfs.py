"""What /proc tells."""

import os
import subprocess
import sys

from loadtests.procfs import busy_ticks, cpu_ticks, memory, tree


def test_ticks_are_found_behind_any_process_name():
    """The CPU time of a process with a blank in its name would be another field."""
    stat = "7 (nginx: ) worker) S " + " ".join(str(field) for field in range(4, 30))
    assert cpu_ticks(stat) == 14 + 15


def test_a_core_is_not_busy_while_it_idles():
    """An idle machine would look like a busy one, and every result would be doubted."""
    assert busy_ticks("cpu1 1 2 4 1000 2000 8 16 32 0 0") == 63


def test_the_tree_has_the_children():
    """A proxy with a manager and workers would be charged for the manager alone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            assert {os.getpid(), child.pid} <= set(tree([os.getpid()]))
        finally:
            child.communicate(b"\n")


def test_shared_memory_counts_once_in_the_proportional_size():
    """Memory would be reported in another unit, or not at all."""
    found = memory([os.getpid()])
    assert 1 < found.pss_mib <= found.rss_mib < 4096
