"""What webhooks are sent: facts of a rollout as JSON, or as a message for a chat, and what becomes of it. Pure.

The keys `name`, `phase`, `checksum` and `metadata` are those that Flagger sends, so that its receivers understand them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from config.rollouts.recreate import SwapHook
from config.routes.webhooks import Webhook
from proxy.control.machine.rollout import TERMINAL, State
from proxy.control.storage.entries import Entry
from proxy.control.storage.store import Letter
from proxy.snapshot import CIRCLE

Json = dict[str, Any]
SIGNATURE: Final = "x-understudy-signature"
DELIVERY: Final = "x-understudy-delivery"
"""Stays the same however often something is sent: a receiver that knows it already may say yes and do nothing."""
TYPE: Final = "x-understudy-hook"
_COLOURS: Final = {"succeeded": "good", "promote": "good", "abort": "danger", "drop": "danger", "failed": "danger",
                   "error": "danger", "inconclusive": "warning", "pause": "warning"}  # fmt: skip


def question_id(route: str, hook: Webhook, state: State) -> str:
    """What a question is known by: the same at every asking for the same step of the same attempt. Each weight of a
    ramp is asked for anew, though all are one step.

    A version that is rolled out again after another one begins with attempt 1 once more: when the step began tells the
    two apart, so that a receiver which remembers its yes does not give it unasked.
    """
    version = state.candidate_digest, state.plan_digest
    facts = [route, hook.name, hook.type, *version, state.attempt, state.step, state.step_started_s]
    if hook.type == "confirm-traffic-increase":
        facts.append(state.stage)
    facts += [state.candidate] if state.race else []  # who is in front is who is asked about
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:32]


def place(state: State) -> tuple[object, ...]:
    """Where a rollout stands, but for when. Stages count on from rollout to rollout: no two stand at the same place."""
    version = state.candidate_digest, state.plan_digest
    return (state.route, *version, state.attempt, state.step, state.stage, state.candidate)


def facts(state: State, now_s: float, *, kind: str, text: str, actor: str = "rollout") -> Json:
    """What is known of a rollout when something is asked or told. `kind` is what it is about, `text` says it."""
    return {
        "name": state.route,
        "phase": str(state.phase),
        "checksum": state.candidate_digest,
        "kind": kind,
        "message": text,
        "actor": actor,
        "at": now_s,
        "stable": state.stable,
        "candidate": state.candidate,
        "verdict": state.verdict,
        "reason": state.reason,
        "decidedBy": state.decided_by,
        "attempt": state.attempt,
        "step": state.step,
        "stage": state.stage,
        "weight": state.weight_ppm * 100 / CIRCLE,
        "mirror": state.mirror_ppm * 100 / CIRCLE,
        **({"candidates": {one.name: one.verdict for one in state.race}} if state.race else {}),
    }


def letters(
    hooks: Sequence[Webhook], before: State | None, state: State, entries: Sequence[Entry], ids: Sequence[str]
) -> list[Letter]:
    """What webhooks are told of a transition: of type event every journal entry, of type post-rollout its end.

    `ids` are names that nothing else has, as many as `entries` have for each hook, and one more.
    """
    fresh = iter(ids)
    ended = state.phase in TERMINAL and (before is None or before.phase not in TERMINAL)
    found = []
    for hook in hooks:
        if hook.type == "event":
            told = [facts(state, e.at_s, kind=e.kind, text=e.text, actor=e.actor) for e in entries]
        elif hook.type == "post-rollout" and ended:
            at_s = entries[-1].at_s if entries else state.ended_s or 0.0
            text = f"{state.candidate} on route {state.route}: {state.phase}: {state.reason}"
            told = [facts(state, at_s, kind=hook.type, text=text, actor=entries[-1].actor if entries else "rollout")]
        else:
            continue
        found += [Letter(next(fresh), state.route, hook.name, known["at"], known) for known in told]
    return found


def body(hook: Webhook | SwapHook, known: Mapping[str, Any], id_: str) -> bytes:
    """What is sent."""
    if hook.format == "slack":
        return msgspec.json.encode(_slack(hook, known))
    return msgspec.json.encode({"id": id_, "hook": hook.name, "type": hook.type, **known, "metadata": hook.metadata})


def signature(secret: bytes, body: bytes, now_s: float) -> str:
    """The value of the header field: `t=SECONDS,v1=HEX`, an HMAC-SHA256 of `SECONDS.BODY`.

    >>> signature(b"key", b"{}", 1700000000.9)
    't=1700000000,v1=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae'
    """
    at = int(now_s)
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def _slack(hook: Webhook | SwapHook, known: Mapping[str, Any]) -> Json:
    """An attachment, which other chats understand as well; blocks are Slack's alone."""
    fields = {
        "Phase": known["phase"],
        "Candidate": known["candidate"],
        "Stable": known["stable"],
        "Weight": f"{known['weight']:g} %",
        **hook.metadata,
    }
    text = _escaped(f"{known['name']}: {known['message']}")
    return {
        "text": text,
        "attachments": [
            {
                "color": _COLOURS.get(known["kind"], _COLOURS.get(known["phase"].lower(), "#808080")),
                "fallback": text,
                "fields": [
                    {"title": _escaped(key), "value": _escaped(str(value)), "short": True}
                    for key, value in fields.items()
                ],
                "ts": int(known["at"]),
            }
        ],
    }


def _escaped(text: str) -> str:
    """Text in which nothing is a link or a mention (Slack: these three characters control)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
