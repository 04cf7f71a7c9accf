"""What the controller asks endpoints itself, and how it is told of what goes wrong."""

from __future__ import annotations

import asyncio

import pytest

from proxy.control.endpoints import asking
from proxy.control.endpoints.asking import NoAnswerError, Question
from proxy.snapshot import Endpoint, Tls


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "what it answers is not HTTP: invalid header token"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "what it answers is not HTTP: "),
        (b"", "Server disconnected"),
    ],
)
async def test_no_reason_tells_what_was_asked_for(answer: bytes, said: str) -> None:
    """Broken: a token in the path of a health check or smoke request is in status, journal, log and webhooks."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        question = Question("/ready?token=s3cret", 5.0, headers={"authorization": "Bearer hush"})
        async with asking.session(endpoint, "test") as through:
            with pytest.raises(NoAnswerError) as raised:
                await asking.ask(through, endpoint, Tls(), question)
    assert str(raised.value).startswith(said)
    assert "s3cret" not in str(raised.value)
    assert "hush" not in str(raised.value)
