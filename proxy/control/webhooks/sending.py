"""Sending to a webhook: one POST, signed, with a time limit, tried again as its settings say.

tenacity does the trying (a well-kept library; its waits are drawn at random from spans that double, so that receivers
which were down are not met by everybody at once). What an answer says beyond its status is not read, and a redirect is
not followed: whoever may edit the file chooses who is spoken to, and the receiver does not.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, stop_after_delay
from tenacity.stop import stop_base
from tenacity.wait import wait_random_exponential

from config.rollouts.recreate import SwapHook
from config.routes.webhooks import Webhook, WebhookSecret
from config.values.durations import format_duration
from proxy.control.webhooks import messages

USER_AGENT: Final = "understudy-webhook"
_TRANSIENT: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending: yes, or why not. `transient` says that another attempt may fare better."""

    yes: bool
    said: str
    transient: bool = False


class Sender:
    """Sends to webhooks, over connections that it keeps. `clock` is the wall's: whoever gets a signature holds it
    against a clock of their own."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, hook: Webhook | SwapHook, facts: Mapping[str, Any], id_: str) -> Answer:
        """Send a question; the answer of the last attempt."""
        return await self._send(hook, facts, id_, stop_after_attempt(1 + hook.retries.attempts), only_transient=True)

    async def tell(self, hook: Webhook | SwapHook, facts: Mapping[str, Any], id_: str, left_s: float) -> Answer:
        """Send news until it is taken, for so many seconds at most."""
        return await self._send(hook, facts, id_, stop_after_delay(max(0.0, left_s)), only_transient=False)

    async def close(self) -> None:
        """Close what connections there are."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(
        self, hook: Webhook | SwapHook, facts: Mapping[str, Any], id_: str, stop: stop_base, only_transient: bool
    ) -> Answer:
        retrying = AsyncRetrying(
            stop=stop,
            wait=wait_random_exponential(multiplier=hook.retries.base_interval, max=hook.retries.max_interval),
            retry=retry_if_result(lambda answer: not answer.yes and (answer.transient or not only_transient)),
            retry_error_callback=_last,
        )
        answer: Answer = await retrying(self._post, hook, facts, id_)
        return answer

    async def _post(self, hook: Webhook | SwapHook, facts: Mapping[str, Any], id_: str) -> Answer:
        body = messages.body(hook, facts, id_)
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            messages.DELIVERY: id_,
            messages.TYPE: hook.type,
        }
        if hook.secret is not None:
            secret = await asyncio.to_thread(_secret, hook.secret)
            if isinstance(secret, Answer):
                return secret
            headers[messages.SIGNATURE] = messages.signature(secret, body, self._clock())
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            async with self._session.post(
                hook.url,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=hook.timeout),
                allow_redirects=False,
            ) as answer:
                status = answer.status
        except TimeoutError:
            return Answer(False, f"no answer within {format_duration(hook.timeout)}", transient=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(False, _trouble(error), transient=True)
        return Answer(200 <= status < 300, f"answered {status}", transient=status in _TRANSIENT or status >= 500)


def _last(state: RetryCallState) -> Answer:
    assert state.outcome is not None
    answer: Answer = state.outcome.result()
    return answer


def _secret(source: WebhookSecret) -> bytes | Answer:
    """The key, or why there is none: nothing is sent unsigned that should be signed."""
    if source.env is not None:
        value = os.environb.get(source.env.encode(), b"").strip()
        return value or Answer(False, f"its secret is missing: the environment variable {source.env} is not set")
    try:
        value = Path(source.file or "").read_bytes().strip()
    except OSError as error:
        return Answer(False, f"its secret cannot be read: {source.file}: {(error.strerror or str(error)).lower()}")
    return value or Answer(False, f"its secret is missing: {source.file} is empty")


def _trouble(error: Exception) -> str:
    """What went wrong, without the URL: some errors of the client have it in their text."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot be reached: {error.os_error.strerror or type(error.os_error).__name__}".lower()
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection without an answer"
    return f"cannot be reached: {type(error).__name__}"
