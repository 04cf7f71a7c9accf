"""Uploads that are refused while they go on: the client has to read why."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.system import free_port, models, understudy

pytestmark = pytest.mark.system

BODY_BYTES = 10 << 20


def talk(port: int, head: bytes, authority: Authority | None = None) -> bytes:
    """Send a head and 10 MiB after it, and only then look at what came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, contextlib.ExitStack() as stack:
        client = plain
        if authority is not None:
            context = ssl.create_default_context(cafile=authority.certificate)
            client = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
        client.sendall(head)
        for _ in range(BODY_BYTES >> 20):
            client.sendall(b"a" * (1 << 20))
        if authority is None:
            client.shutdown(socket.SHUT_WR)
        got = b""
        while b"}\n" not in got and (data := client.recv(1 << 16)):
            got += data
        return got


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_refusal_of_an_upload_is_read(tmp_path: Path, secure: bool) -> None:
    """If this fails, a client that sends first and reads then sees a reset connection and no word of the limit."""
    with models("v1") as (v1,):
        config = {
            "workers": 1,
            "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{v1.port}"]}],
            "routes": [{"name": "m", "backendRefs": [{"name": "only"}], "maxBodyBytes": 1000}],
        }
        authority = None
        if secure:
            authority = Authority(tmp_path)
            pair = authority.issue("127.0.0.1")
            names = {"certFile": str(pair.certificate), "keyFile": str(pair.key)}
            config["listen"] = [{"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": [names]}}]
        with understudy(tmp_path, config) as system:
            port = int(system.config["listen"][0]["address"].rpartition(":")[2])
            head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\n"
            for number in range(5):
                for fields, status in [
                    (b"Content-Length: %d\r\n\r\n" % BODY_BYTES, b"413"),
                    (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % BODY_BYTES, b"413"),
                    (b"Content-Length: +1\r\n\r\n", b"400"),
                    (b"X: %b\r\n\r\n" % (b"a" * 100_000), b"431"),
                ]:
                    got = talk(port, head + fields, authority)
                    assert got.startswith(b"HTTP/1.1 %b " % status), (number, fields[:30], got)
                    assert got.count(b"\r\n\r\n") == 1
