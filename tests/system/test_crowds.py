"""Clients that take connections and give nothing, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from tests.support.system import models, understudy

pytestmark = pytest.mark.system


def config(v1, **limits):
    return {
        "workers": 1,
        "limits": limits,
        "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{v1.port}"]}],
        "routes": [{"name": "m", "backendRefs": [{"name": "only"}]}],
    }


def dial(system):
    return socket.create_connection(("127.0.0.1", system.port), timeout=10)


def asked(conn):
    """The status line of an answer."""
    conn.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n")
    return conn.recv(1 << 16).partition(b"\r\n")[0]


def test_a_byte_a_second_is_told_and_cut(tmp_path):
    """If this fails, one laptop with a few thousand connections holds a worker for as long as it likes (Slowloris)."""
    with (
        models("v1") as (v1,),
        understudy(tmp_path, config(v1, bodyTimeout="2s", minBodyRate=100)) as system,
        dial(system) as slow,
        dial(system) as steady,
    ):
        for conn in (slow, steady):
            conn.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 4000\r\n\r\n")
            conn.setblocking(False)
        began_s, said = time.monotonic(), b""
        while not said and time.monotonic() - began_s < 20:
            with contextlib.suppress(BlockingIOError):
                said = slow.recv(1 << 16)
            if not said:
                slow.sendall(b"x")
            steady.sendall(b"x" * 80)
            time.sleep(0.25)
        took_s = time.monotonic() - began_s
        assert said.startswith(b"HTTP/1.1 408"), said
        assert b"client-timeout" in said
        assert b"less than 100 bytes/s" in said
        assert 2.0 < took_s < 8.0
        steady.setblocking(True)
        steady.sendall(b"x" * 4000)
        assert steady.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_idle_connections_make_room(tmp_path):
    """If this fails, whoever opens connections and keeps them turns everybody else away."""
    with models("v1") as (v1,), understudy(tmp_path, config(v1, maxConnections=32)) as system:
        held = [dial(system) for _ in range(31)]
        assert all(asked(conn) == b"HTTP/1.1 200 OK" for conn in held)
        for _ in range(20):
            time.sleep(0.3)
            with dial(system) as conn:
                assert asked(conn) == b"HTTP/1.1 200 OK"
        time.sleep(0.5)
        closed = []
        for place, conn in enumerate(held):
            conn.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                closed.append((place, conn.recv(1)))
            conn.close()
        assert closed, "nobody was asked to make room"
        assert {data for _, data in closed} == {b""}
        assert len(closed) < 10, "more were closed than were in the way"
        assert closed[0][0] == 0, "the longest idle goes first"
