"""What the tools of a profile say, read."""

import pytest

from loadtests.profile import calls, instructions, shares

PERF = """
# Overhead  Shared Object
# ........  .............
#
    50.04%  [kernel.kallsyms]
    27.99%  libpython3.11.so.1.0
    10.44%  0efa5fa378927f9ee268__mypyc.cpython-311-x86_64-linux-gnu.so
     5.50%  parser.cpython-311-x86_64-linux-gnu.so
     2.99%  loop.cpython-311-x86_64-linux-gnu.so
     2.23%  libc.so.6
     0.37%  [vdso]
     0.21%  libm.so.6
"""
STRACE = """
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.600000           3      2000           write
 39.00    0.390000           2      2001         6 read
  1.00    0.010000           1       180           epoll_pwait
  0.00    0.000001           1         2           getpid
------ ----------- ----------- --------- --------- ----------------
100.00    1.000001           2      4183         6 total
"""


def test_shares_are_of_the_whole():
    """A part that is not recognized would be missing from the time that is accounted for."""
    found = shares(PERF)
    assert found["kernel"] == 50.04
    assert found["Python"] == 27.99
    assert found["compiled request path"] == 10.44
    assert found["other libraries"] == pytest.approx(0.58)
    assert sum(found.values()) == pytest.approx(99.77)


def test_calls_are_per_request_with_and_without_errors():
    """The column of errors is empty where there are none."""
    assert calls(STRACE, 1000) == {"write": 2.0, "read": 2.001, "epoll_pwait": 0.18}


def test_instructions_are_those_of_the_dump():
    assert instructions("events: Ir\nsummary: 172480035\n") == 172480035
