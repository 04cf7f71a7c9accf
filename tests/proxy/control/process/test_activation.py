"""Sockets that were opened by somebody else: what is offered to whom, and which address each of them is."""

from __future__ import annotations

import os
import socket

import pytest

from proxy.control.process.activation import activated, open_or_take


def test_an_offer_to_another_process_is_not_taken() -> None:
    """A child of something that systemd started would take descriptors that mean something else."""
    environ = {"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    assert activated(environ) == []
    assert environ == {}


def test_given_sockets_find_their_address() -> None:
    """Clients of one address would be served by the listener of another, or an address would be opened twice."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        (found, new), left = open_or_take([one.getsockname(), ("127.0.0.1", 0)], [other, one])
        assert found is one
        assert left == [other]
        assert new.getsockname() not in (one.getsockname(), other.getsockname())
        new.close()


def test_every_address_of_systemd_is_that_of_the_file() -> None:
    """ListenStream=8080 is [::]:8080; a file that says 0.0.0.0:8080 would find it taken."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as given:
        found, left = open_or_take([("0.0.0.0", given.getsockname()[1])], [given])
        assert (found, left) == ([given], [])


def test_a_path_is_found_by_its_name(tmp_path) -> None:
    """A listener at a path would be opened a second time, over the one that serves."""
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(tmp_path / "s"))
        given.listen()
        found, left = open_or_take([(f"unix:{tmp_path / 's'}", 0o600)], [given])
        assert (found, left) == ([given], [])


def test_a_socket_of_neither_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ListenDatagram= by mistake would be a worker that fails over and over."""
    with socket.socket() as plain:
        monkeypatch.setattr("proxy.control.process.activation._FIRST_FD", plain.fileno())
        with pytest.raises(OSError, match="ListenStream="):
            activated({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
        plain.detach()
