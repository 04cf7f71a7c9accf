"""Sending to a webhook, with a receiver of flesh and blood."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from config.routes.webhooks import Webhook
from proxy.control.webhooks.sending import Sender
from tests.support.receiver import Receiver
from tests.support.system import free_port

FACTS = {"name": "m", "phase": "Progressing", "kind": "confirm-promotion", "message": "text"}
QUICK = {"attempts": 2, "baseInterval": "10ms", "maxInterval": "20ms"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    sender = Sender(time.time)
    yield sender
    await sender.close()


def hook(url: str, **settings: Any) -> Webhook:
    whole = {"name": "h", "type": "confirm-promotion", "url": url, "retries": QUICK, **settings}
    return Webhook.model_validate(whole)


async def test_a_yes(sender: Sender, receiver: Receiver) -> None:
    """Broken: nobody could say yes, or could tell what they are asked."""
    answer = await sender.ask(hook(receiver.url("/a"), metadata={"team": "fraud"}), FACTS, "id-1")
    assert (answer.yes, answer.said) == (True, "answered 200")
    (got,) = receiver.got
    assert got.json == {"id": "id-1", "hook": "h", "type": "confirm-promotion", **FACTS, "metadata": {"team": "fraud"}}
    assert got.headers["x-understudy-delivery"] == "id-1"
    assert got.headers["x-understudy-hook"] == "confirm-promotion"
    assert "x-understudy-signature" not in got.headers


@pytest.mark.parametrize("status", [199 + 1, 204, 299])
async def test_every_2xx_is_yes(sender: Sender, receiver: Receiver, status: int) -> None:
    """Broken: a receiver that answers 202 or 204 would hold every rollout up."""
    receiver.answers["/a"] = status
    assert (await sender.ask(hook(receiver.url("/a")), FACTS, "i")).yes


@pytest.mark.parametrize("status", [304, 400, 403, 404, 410])
async def test_a_no_is_not_asked_twice(sender: Sender, receiver: Receiver, status: int) -> None:
    """Broken: a person who says no would be nagged within the second."""
    receiver.answers["/a"] = status
    answer = await sender.ask(hook(receiver.url("/a")), FACTS, "i")
    assert (answer.yes, answer.said) == (False, f"answered {status}")
    assert len(receiver.got) == 1


async def test_a_redirect_leads_nowhere(sender: Sender, receiver: Receiver) -> None:
    """Broken: a receiver could have the controller speak to the addresses that it alone reaches."""
    receiver.answers["/a"] = 307
    assert not (await sender.ask(hook(receiver.url("/a")), FACTS, "i")).yes
    assert receiver.at("/elsewhere") == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_trouble_is_tried_again(sender: Sender, receiver: Receiver, status: int) -> None:
    """Broken: a receiver that restarts would count as one that says no."""
    receiver.answers["/a"] = [status, status, 200]
    assert (await sender.ask(hook(receiver.url("/a")), FACTS, "i")).yes
    assert len(receiver.got) == 3
    assert {got.headers["x-understudy-delivery"] for got in receiver.got} == {"i"}


async def test_trouble_that_lasts_is_a_no(sender: Sender, receiver: Receiver) -> None:
    """Broken: a tick's question would be asked for ever."""
    receiver.answers["/a"] = 503
    answer = await sender.ask(hook(receiver.url("/a")), FACTS, "i")
    assert (answer.yes, answer.said) == (False, "answered 503")
    assert len(receiver.got) == 3


async def test_a_slow_receiver(sender: Sender, receiver: Receiver) -> None:
    """Broken: a receiver that hangs would hold the question open for good."""
    receiver.delays_s["/a"] = 5.0
    one = hook(receiver.url("/a"), timeout="100ms", retries={**QUICK, "attempts": 1})
    began_s = time.monotonic()
    answer = await sender.ask(one, FACTS, "i")
    assert (answer.yes, answer.said) == (False, "no answer within 100ms")
    assert time.monotonic() - began_s < 2.0
    assert len(receiver.got) == 2


async def test_a_dead_receiver(sender: Sender) -> None:
    """Broken: a typo in an address would be an exception in the controller rather than a no that is explained."""
    answer = await sender.ask(hook(f"http://127.0.0.1:{free_port()}/secret-token"), FACTS, "i")
    assert not answer.yes
    assert answer.said.startswith("cannot be reached: ")
    assert "secret-token" not in answer.said


async def test_what_is_told_is_told_until_it_is_taken(sender: Sender, receiver: Receiver) -> None:
    """Broken: news would be lost on a receiver that is away, or that has the wrong key for a while."""
    receiver.answers["/a"] = [500, 401, 404, 500, 200]
    assert (await sender.tell(hook(receiver.url("/a"), type="event"), FACTS, "i", 30.0)).yes
    assert len(receiver.got) == 5


async def test_what_is_told_has_an_end(sender: Sender, receiver: Receiver) -> None:
    """Broken: a receiver that is gone would be told for ever."""
    receiver.answers["/a"] = 500
    answer = await sender.tell(hook(receiver.url("/a"), type="event"), FACTS, "i", 0.2)
    assert (answer.yes, answer.said) == (False, "answered 500")
    assert len(receiver.got) > 2


async def test_signed_with_the_secret_of_a_file(sender: Sender, receiver: Receiver, tmp_path: Any) -> None:
    """Broken: receivers could not tell us from anybody else; or a new key would need a restart."""
    key = tmp_path / "key"
    key.write_bytes(b"first\n")
    one = hook(receiver.url("/a"), secret={"file": str(key)})
    await sender.ask(one, FACTS, "i")
    key.write_bytes(b"second")
    await sender.ask(one, FACTS, "i")
    first, second = receiver.got
    assert first.is_signed(b"first", time.time())
    assert second.is_signed(b"second", time.time())


async def test_a_signature_that_is_not_ours_is_told_apart(
    sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the check that we tell receivers to do would let through what we have not sent."""
    monkeypatch.setenv("HOOK_KEY", "secret")
    await sender.ask(hook(receiver.url("/a"), secret={"env": "HOOK_KEY"}), FACTS, "i")
    (got,) = receiver.got
    assert got.is_signed(b"secret", time.time())
    assert not got.is_signed(b"other", time.time())
    assert not got.is_signed(b"secret", time.time() + 3600), "an old request, sent again"
    got.body = got.body.replace(b"Progressing", b"Succeeded")
    assert not got.is_signed(b"secret", time.time())


@pytest.mark.parametrize("secret", [{"env": "NO_SUCH_KEY"}, {"file": "FILE"}])
async def test_without_its_secret_nothing_is_sent(
    sender: Sender, receiver: Receiver, secret: dict[str, str], tmp_path: Any
) -> None:
    """Broken: a request that should be signed would go out unsigned."""
    key = tmp_path / "key"
    key.write_bytes(b"x")
    secret = {name: str(key) if value == "FILE" else value for name, value in secret.items()}
    one = hook(receiver.url("/a"), secret=secret)
    key.unlink()
    answer = await sender.ask(one, FACTS, "i")
    assert not answer.yes
    assert "secret" in answer.said
    assert receiver.got == []
