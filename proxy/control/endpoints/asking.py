"""How the controller asks an endpoint something itself: over a connection of its own, as a new client would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from config.values.durations import format_duration
from proxy.snapshot import Endpoint, Tls
from proxy.tls import client_context, reason, server_name

BODY_BYTES: Final = 1 << 20
"""What is read of an answer at most."""
_SAID: Final = 100
"""Characters of what is wrong with an answer, which may be as long as the answer."""


class NoAnswerError(Exception):
    """There was none; the message says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it is sent. Only with `reads` the body of the answer is waited for."""

    path: str
    timeout_s: float
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None
    reads: bool = False


def session(endpoint: Endpoint, agent: str) -> aiohttp.ClientSession:
    """What questions to an endpoint go through; each has a connection of its own."""
    connector: aiohttp.BaseConnector
    if endpoint.path:
        connector = aiohttp.UnixConnector(endpoint.path, force_close=True)
    else:
        connector = aiohttp.TCPConnector(force_close=True)
    return aiohttp.ClientSession(connector=connector, headers={"User-Agent": agent})


async def ask(through: aiohttp.ClientSession, endpoint: Endpoint, tls: Tls, question: Question) -> tuple[int, bytes]:
    """Status and body of the answer.

    Raises:
        NoAnswerError: there was none, or it is too long to be read.
    """
    name = server_name(tls, endpoint)
    url = f"http://localhost{question.path}" if endpoint.path else f"{endpoint}{question.path}"
    try:
        context = await asyncio.to_thread(client_context, tls) if endpoint.tls else True
        async with through.request(
            question.method,
            url,
            data=question.data,
            headers=question.headers,
            timeout=aiohttp.ClientTimeout(total=question.timeout_s),
            allow_redirects=False,
            ssl=context,
            server_hostname=name if endpoint.tls else None,
        ) as answer:
            return answer.status, await _body(answer) if question.reads else b""
    except TimeoutError as error:
        raise NoAnswerError(f"no answer within {format_duration(question.timeout_s)}") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise NoAnswerError(_said(error.certificate_error, name)) from error
    except aiohttp.ClientConnectorSSLError as error:
        raise NoAnswerError(_said(error.os_error, name)) from error
    except aiohttp.ClientResponseError as error:
        # In its own words there is the URL, whose parameters may be credentials.
        said = error.message.partition("\n")[0].rstrip(": ").lower()
        raise NoAnswerError(f"what it answers is not HTTP: {said[:_SAID]}") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswerError(str(error) or type(error).__name__) from error


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for part in answer.content.iter_any():
        body += part
        if len(body) > BODY_BYTES:
            raise NoAnswerError(f"an answer of more than {BODY_BYTES} bytes")
    return body


def _said(error: Exception, name: str) -> str:
    return reason(error, name)[0] if isinstance(error, OSError) else str(error)
