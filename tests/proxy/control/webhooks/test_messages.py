"""What webhooks are sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from config.routes.webhooks import Webhook
from proxy.control.machine.rollout import Phase, State
from proxy.control.machine.state import Runner
from proxy.control.storage.entries import Entry
from proxy.control.webhooks import messages

STATE = State(
    route="m", stable="v1", candidate="v2", candidate_digest="c0ffee", plan_digest="p", phase=Phase.PROGRESSING,
    verdict="", reason="waits", decided_by="", step=1, step_started_s=0.0, started_s=0.0, ended_s=None,
    weight_ppm=52_500, mirror_ppm=1_000_000, stage=2, stage_started_s=0.0, paused_by="", attempt=1,
)  # fmt: skip


def hook(type_: str, **settings: Any) -> Webhook:
    return Webhook.model_validate({"name": f"on-{type_}", "type": type_, "url": "http://h/", **settings})


def entry(kind: str, text: str = "text") -> Entry:
    return Entry(0, 5.0, "m", kind, "rollout", text)


def test_facts_have_the_keys_of_flagger() -> None:
    """Broken: receivers that were written for Flagger would not understand us."""
    found = messages.facts(STATE, 7.0, kind="rollout", text="t")
    assert {"name": "m", "phase": "Progressing", "checksum": "c0ffee"}.items() <= found.items()
    assert (found["weight"], found["mirror"], found["stage"], found["at"]) == (5.25, 100.0, 2, 7.0)


def test_a_question_is_of_one_step_of_one_attempt() -> None:
    """Broken: the yes to one weight would count for the next, or for another version."""
    one = hook("confirm-promotion")
    ids = {
        messages.question_id("m", one, state)
        for state in (
            STATE,
            replace(STATE, step=2),
            replace(STATE, attempt=2),
            replace(STATE, candidate_digest="other"),
            replace(STATE, plan_digest="other"),
            replace(STATE, step_started_s=STATE.step_started_s + 86_400.0),
        )
    }
    assert len(ids) == 6
    assert messages.question_id("m", one, replace(STATE, reason="other", stage=9)) in ids


def test_of_several_candidates_each_is_told() -> None:
    """Broken: nobody hears which candidate has left, or a yes to one is taken for one to another."""
    race = (Runner("v2", "d2", "Failed", "errors", "too many"), Runner("v3", "d3"), Runner("v4", "d4"))
    state = replace(STATE, candidate="v3", race=race)
    (letter,) = messages.letters([hook("event")], STATE, state, [entry("drop", "v2 leaves the race")], ["id0"])
    assert (letter.facts["kind"], letter.facts["candidate"]) == ("drop", "v3")
    assert letter.facts["candidates"] == {"v2": "Failed", "v3": "", "v4": ""}
    assert "candidates" not in messages.facts(STATE, 7.0, kind="rollout", text="t")
    slack = json.loads(messages.body(hook("event", format="slack"), letter.facts, "id0"))
    assert slack["attachments"][0]["color"] == "danger"
    one = hook("confirm-promotion")
    other = replace(state, candidate="v4")
    assert messages.question_id("m", one, state) != messages.question_id("m", one, other)


def test_events_are_told_of_each_entry_and_of_the_end_only_once() -> None:
    """Broken: a chat would miss a step, or hear twice that it is over."""
    hooks = (hook("event"), hook("post-rollout"), hook("confirm-promotion"))
    entries = [entry("promote"), entry("abort")]
    ended = replace(STATE, phase=Phase.ABORTED, reason="too slow")
    found = messages.letters(hooks, STATE, ended, entries, [f"id{n}" for n in range(9)])
    assert [(letter.id, letter.hook, letter.facts["kind"]) for letter in found] == [
        ("id0", "on-event", "promote"),
        ("id1", "on-event", "abort"),
        ("id2", "on-post-rollout", "post-rollout"),
    ]
    assert found[2].facts["message"] == "v2 on route m: Aborted: too slow"
    again = messages.letters(hooks, ended, ended, [entry("plan")], ["a", "b", "c"])
    assert [letter.hook for letter in again] == ["on-event"]


def test_a_chat_gets_a_message_without_links_of_strangers() -> None:
    """Broken: a name in the evidence could mention everybody in a channel, or hide a link."""
    chat = hook("event", format="slack", metadata={"team": "a&b"})
    known = messages.facts(STATE, 7.0, kind="abort", text="<!channel> & <http://x|y>")
    sent = json.loads(messages.body(chat, known, "i"))
    assert sent["text"] == "m: &lt;!channel&gt; &amp; &lt;http://x|y&gt;"
    (attachment,) = sent["attachments"]
    assert attachment["color"] == "danger"
    assert {"title": "Weight", "value": "5.25 %", "short": True} in attachment["fields"]
    assert {"title": "team", "value": "a&amp;b", "short": True} in attachment["fields"]


def test_the_signature_is_that_of_the_documents() -> None:
    """Broken: receivers that were written by docs/webhooks.md would refuse us."""
    expected = "t=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
    assert messages.signature(b"key", b"{}", 1_700_000_000.9) == expected
