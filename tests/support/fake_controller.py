"""A controller as the admin API sees it: a real ledger with traffic in it, and one route in the middle of a rollout."""

from __future__ import annotations

import copy
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.files import NOTHING
from config.listeners.access import Admin
from proxy.control.evidence.feedback import Desk
from proxy.control.intent.file import Stale
from proxy.control.machine import rollout
from proxy.control.storage.errors import StoreError
from proxy.control.storage.recording import Recorder
from proxy.faults import Fault, Repeat, Retry, Skip
from proxy.ledger import guards, layout
from proxy.ledger.reader import Reader, Totals
from proxy.ledger.writer import Writer
from tests.support.captures import FakeCaptures
from tests.support.slices import errors

STARTED_S = 1_800_000_000.0
NOW_SLICE_S = 5_000.0
"""Monotonic time of the traffic in the ledger."""
FEEDBACK_KEY = b"k" * 32
CONFIG_TEXT = "listen: [{address: 127.0.0.1:8080}]\n# ö\n"


@dataclass(frozen=True, slots=True)
class RowView:
    """A lent row."""

    route: str
    backend: str
    role: str
    index: int
    tenant: int


class FakeController:
    """Answers from `document` and the ledger, and notes the commands that it is given."""

    def __init__(self) -> None:
        self.fd = layout.create(workers=2, rows=4, tables=1)
        self.writers = [Writer(self.fd, worker) for worker in range(2)]
        self.reader = Reader(self.fd)
        self.ready = True
        self.draining = False
        self.config_text = CONFIG_TEXT
        self.admin: Admin | None = Admin()
        self.contents = NOTHING
        self.feedback = Desk(lambda: (), lambda: FEEDBACK_KEY, lambda: STARTED_S)
        self.captures = FakeCaptures()
        self.document = route_document()
        self.plain = plain_document()
        self.entries = history_entries()
        self.explained: dict[str, Any] | None = None
        self.store_error: str | None = None
        self.last_error: dict[str, Any] | None = None
        self.reload_problems: list[dict[str, Any]] = []
        self.acts: list[tuple[str, str, str, bool, str]] = []
        self.reloads: list[str] = []
        self.retired_totals: Mapping[tuple[str, str, str], Totals] = {
            ("fraud", "fraud-v1", "stable"): Totals(
                arrived=1000,
                finished=1000,
                failed=2,
                lost=0,
                late=0,
                retries={Retry.RESENT: 3, Retry.SUCCEEDED: 2, Retry.OVER_BUDGET: 5},
                skips={},
                faults={Fault.REQUEST_TIMEOUT: 2},
                statuses={200: 998, 504: 2},
            )
        }
        self._rows = [
            RowView("fraud", "fraud-v1", "stable", 0, 11),
            RowView("fraud", "fraud-v2", "canary", 1, 12),
            RowView("fraud", "fraud-v2", "shadow", 2, 13),
        ]
        self.drive()

    def close(self) -> None:
        os.close(self.fd)

    def drive(self) -> None:
        """Some requests in the ledger: 60 for stable, 6 for the canary (one fails), 5 copies (two skipped)."""
        for worker, writer in enumerate(self.writers):
            writer.set_worker(layout.W_GENERATION, 7)
            writer.set_worker(layout.W_CONNECTIONS, 3 + worker)
            writer.set_worker(layout.W_ACCEPTED, 50)
            writer.set_worker(layout.W_TURNED_AWAY, 4)
            writer.set_worker(layout.W_LOG_DROPPED, 2)
            writer.guards.route("fraud").add(guards.RATE_LIMITED)
            writer.guards.route("fraud").add(guards.ABORTED)
            writer.guards.route("fraud").add(guards.DIRECT)
            writer.guards.route("fraud").add(guards.HELD)
            writer.guards.route("fraud").add(guards.LEFT)
            writer.guards.route("fraud").put(guards.WAITING, 3)
            writer.set_worker(layout.W_IN_FLIGHT, 1)
            writer.refuse(Fault.NO_ROUTE)
            stable, canary, shadow = (writer.occupy(row.index, row.tenant, 1) for row in self._rows)
            for i in range(30):
                self.finish(writer, stable, 0.010 + 0.001 * i)
            for _ in range(3):
                self.finish(writer, canary, 0.030)
            self.finish(writer, shadow, 0.050)
            writer.repeats.end(shadow, NOW_SLICE_S, NOW_SLICE_S + 0.1, Repeat.AGREED)
            writer.repeats.end(shadow, NOW_SLICE_S, NOW_SLICE_S + 0.1, Repeat.DISAGREED)
            if worker:
                self.finish(writer, canary, 0.2, status=502, fault=Fault.UPSTREAM_RESET)
                writer.arrive(canary, NOW_SLICE_S)
                writer.skip(shadow, Skip.BUSY)
                writer.repeats.skip(shadow, Repeat.BUSY)
                writer.skip(shadow, Skip.BODY_TOO_LARGE)

    @staticmethod
    def finish(writer: Writer, row: Any, latency_s: float, status: int = 200, fault: Fault = Fault.NONE) -> None:
        writer.arrive(row, NOW_SLICE_S)
        failed = status >= 500
        writer.finish(row, NOW_SLICE_S, NOW_SLICE_S + latency_s, failed=failed, status=status, fault=fault)

    def rows(self) -> list[RowView]:
        return list(self._rows)

    def retire(self, role: str) -> None:
        """Give a row back, without keeping its totals."""
        self._rows = [row for row in self._rows if row.role != role]

    def status(self) -> dict[str, Any]:
        return {
            "version": "0.1.0",
            "pid": 4711,
            "startedAt": STARTED_S,
            "config": {
                "path": "/etc/understudy/config.yaml",
                "digest": "0123456789abcdef" * 4,
                "loadedAt": STARTED_S,
                "generation": 7,
                "lastError": self.last_error,
            },
            "store": {
                "url": "sqlite:///understudy.db",
                "instance": "understudy",
                "error": self.store_error,
                "bytes": 4_096_000,
                "maxBytes": 1 << 30,
                "removed": {"recordings": 7, "evidence": 0, "configs": 0, "entries": 0, "captures": 0},
            },
            "workers": [
                {"index": i, "pid": 5000 + i, "generation": 7, "connections": 3, "inFlight": 1, "alive": i == 0}
                for i in range(2)
            ],
            "backends": backend_documents(),
            "routes": self.routes(),
            "restartNeeded": ["workers"],
            "differences": [{"route": "fraud", "text": "fraud-v2 has all traffic", "remedy": "write it"}],
            "faultInjection": [{"route": "fraud", "injects": "status 503 into 50 % of the requests of fraud-v2"}],
        }

    def routes(self) -> list[dict[str, Any]]:
        keys = (
            "name",
            "strategy",
            "stable",
            "candidate",
            "racing",
            "phase",
            "verdict",
            "winner",
            "reason",
            "step",
            "steps",
            "stage",
            "weight",
            "mirror",
        )
        return [{key: document[key] for key in keys} for document in (self.document, self.plain)]

    def route(self, name: str) -> dict[str, Any]:
        return copy.deepcopy({"fraud": self.document, "static weights/": self.plain}[name])

    @property
    def records(self) -> FakeController:
        return self

    async def verify(self, expected: str) -> dict[str, Any]:
        holds = not expected or "0123456789abcdef".startswith(expected)
        reason = "" if holds else f"no entry has the hash {expected}"
        return {"holds": holds, "entries": 5, "first": 46, "last": 50, "head": "ab" * 32, "broken": 0 if holds else 50,
                "reason": reason, "removedThrough": 45, "begunAnew": 48}  # fmt: skip

    async def recordings(self, name: str) -> list[dict[str, Any]]:
        return [{"run": 46, "firstAt": STARTED_S, "lastAt": STARTED_S + 59, "slices": 60, "bytes": 1000,
                 "entries": self.entries[::-1]}]  # fmt: skip

    async def recorded(self, name: str, run: int, after: int) -> dict[str, Any]:
        recorder = Recorder()
        for second in range(60):
            at_s = STARTED_S + second
            recorder.add(errors(950, 9, 50, 1, at_s=at_s, stage=1, share=0.05), at_s + 1.06)
        recording = recorder.pending()
        assert recording is not None
        row = {"id": 7, "stage": 1, "weightPpm": 50_000, "mirrored": False, "firstAt": STARTED_S,
               "lastAt": STARTED_S + 59, "slices": 60, "data": b64encode(recording.rows[0].data).decode()}  # fmt: skip
        return {"rows": [row] if run == 46 and after < 7 else [], "nextAfter": None}

    async def why(self, name: str, entry: int | None) -> dict[str, Any] | None:
        if self.explained is not None:
            return self.explained
        found = next((each for each in self.entries if entry in (None, each["id"])), None)
        if found is None:
            return None
        verdict = verdict_document()
        return {"entry": found, "intact": True, "verdict": verdict, "derived": verdict, "agrees": True,
                "differences": [], "note": ""}  # fmt: skip

    async def history(self, name: str, limit: int, before: int | None) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if before is None or entry["id"] < before][:limit]

    async def act(
        self, route: str, verb: str, actor: str, full: bool = False, reason: str = "", candidate: str = ""
    ) -> dict[str, Any]:
        document = self.route(route)
        if self.store_error:
            raise StoreError(self.store_error)
        if verb == "resume":
            raise rollout.IllegalEvent(rollout_state(), rollout.Resume(actor), "pause it first")
        self.acts.append((route, verb, actor, full, " ".join(filter(None, (candidate, reason)))))
        if verb == "abort":
            self.document |= {"phase": "Aborted", "verdict": "Failed", "reason": reason}
        return document

    async def journal(self, limit: int, before: int | None) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if before is None or entry["id"] < before][:limit]

    async def journal_after(self, after: int, limit: int) -> list[dict[str, Any]]:
        return [entry for entry in reversed(self.entries) if entry["id"] > after][:limit]

    async def replace(self, text: str, actor: str, known: Any) -> dict[str, Any]:
        if known is not None and self.status()["config"]["digest"] not in known:
            raise Stale("another one is live by now")
        if not (problems := await self.validate(text)):
            self.config_text = text
            self.reloads.append(actor)
        return {**await self.reload(""), "ok": not problems, "problems": problems}

    async def validate(self, text: str) -> list[dict[str, Any]]:
        return [] if "listen" in text else [problem()]

    async def reload(self, actor: str) -> dict[str, Any]:
        self.reloads.append(actor)
        return {
            "ok": not self.reload_problems,
            "generation": 7,
            "workers": 2,
            "workersAcknowledged": 2,
            "problems": self.reload_problems,
            "restartNeeded": ["workers"],
        }


def problem() -> dict[str, Any]:
    return {
        "source": "config.yaml",
        "line": 12,
        "column": 15,
        "path": "routes[0].strategy.canary.steps[2].setWeight",
        "message": "140 is above 100",
        "remedy": "give a percent from 0 to 100",
    }


def rollout_state() -> rollout.State:
    return rollout.State(
        route="fraud",
        stable="fraud-v1",
        candidate="fraud-v2",
        candidate_digest="ab",
        plan_digest="cd",
        phase=rollout.Phase.PROGRESSING,
        verdict="",
        reason="",
        decided_by="",
        step=2,
        step_started_s=STARTED_S,
        started_s=STARTED_S,
        ended_s=None,
        weight_ppm=50_000,
        mirror_ppm=0,
        stage=2,
        stage_started_s=STARTED_S,
        paused_by="",
        attempt=1,
    )


def history_entries() -> list[dict[str, Any]]:
    """Five entries, newest first."""
    texts = [
        ("stage", "controller", "5 % of the traffic goes to fraud-v2"),
        ("resumed", "ann@desk", "go on | after lunch"),
        ("paused", "ann@desk", "paused at 1 %"),
        ("stage", "controller", "100 % of fraud-v1's traffic is copied to fraud-v2"),
        ("started", "controller", "fraud-v2 is rehearsed on route fraud"),
    ]
    return [
        {"id": 50 - i, "at": STARTED_S + 60 * (5 - i), "route": "fraud", "kind": kind, "actor": actor, "text": text,
         "details": {}, "config": "0123456789abcdef" * 4, "hash": f"{50 - i:064x}"}
        for i, (kind, actor, text) in enumerate(texts)
    ]  # fmt: skip


def metric(name: str, kind: str, unit: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "role": "guardrail",
        "weight": 1.0,
        "unit": unit,
        "stable": 0.012,
        "candidate": 0.0141,
        "effect": 0.21,
        "low": -0.4,
        "high": 0.9,
        "margin": "20% or 0.2pp",
        "effectiveMargin": "0.24pp",
        "subject": "",
        "evidenceHarm": 0.3,
        "evidencePass": 4.25,
        "neededPass": 20.0,
        "nStable": 19_000.0,
        "nCandidate": 1_000.0,
        "nEffective": 900.0,
        "passed": False,
        "harmed": False,
        "text": "errors: 1.41 % against 1.2 %",
    } | changes


def verdict_document() -> dict[str, Any]:
    """What a decision was made on."""
    return {
        "abort": False, "decidedBy": "", "reason": "", "proven": True, "inconclusive": False, "missing": [],
        "forecastSeconds": None, "abortEvidence": 0.4, "abortNeeded": 20.0,
        "metrics": [metric("errors", "errors", "pp", evidencePass=25.0, passed=True)], "ratio": None, "stage": 2,
        "stageStable": 19_000.0, "stageCandidate": 1_000.0, "stagePairs": 0.0, "stageSeconds": 300.0, "slices": 300,
    }  # fmt: skip


def arm(backend: str, role: str, **changes: Any) -> dict[str, Any]:
    return {
        "backend": backend,
        "role": role,
        "weight": 95.0,
        "requests": 19_000,
        "failed": 228,
        "failedToClients": 228,
        "late": 0,
        "lost": 0,
        "inFlight": 4,
        "users": 1_900,
        "statuses": {"200": 18_772, "502": 228},
        "faults": {"upstream-reset": 12},
        "retries": {},
        "skips": {},
        "repeats": {},
        "latencyMs": {"p50": 12.3, "p95": 48.1, "p99": 1_204.0},
        "labels": {"label": {"legit": 0.97, "fraud": 0.03}},
        "numbers": {"score": {"mean": 0.0312, "sd": 0.11, "n": 18_772}},
        "feedback": None,
    } | changes


def route_document() -> dict[str, Any]:
    """A route in the middle of a rollout, with hostile texts where texts come from outside."""
    return {
        "name": "fraud",
        "match": ["path prefix /v2/models/fraud"],
        "strategy": "canary",
        "winner": "",
        "stable": "fraud-v1",
        "candidate": "fraud-v2",
        "racing": [],
        "phase": "Progressing",
        "verdict": "",
        "reason": "awaiting 1,000 samples of each version, 940 are there",
        "decidedBy": "",
        "baseline": "",
        "step": 2,
        "steps": ["setMirror 100 %", "setWeight 5 %", "analysis of 1,000 samples", "setWeight 50 %"],
        "stage": 2,
        "attempt": 1,
        "weight": 5.0,
        "mirror": 0.0,
        "startedAt": STARTED_S,
        "stageStartedAt": STARTED_S + 300,
        "endedAt": None,
        "arms": [
            arm("fraud-v1", "stable", feedback={"truths": 9_000, "wrong": 0.1, "logLoss": None}),
            arm(
                "fraud-v2", "canary", feedback={"truths": 470, "wrong": 0.102, "logLoss": 0.31},
                weight=5.0, requests=1_000, failed=14, failedToClients=5, users=101,
                statuses={"200": 986, "0": 14}, faults={"connect-failed": 14}, retries={"succeeded": 9, "exhausted": 5},
                labels={"label": {"legit": 0.95, "fraud": 0.04, "<script>alert(1)</script>|x\n": 0.01}},
            ),
            arm("fraud-v2", "shadow", weight=0.0, users=None, skips={"busy": 2}, labels={}, numbers={},
                repeats={"disagreed": 2, "agreed": 48}),
        ],
        "endpoints": [],
        "latched": [{"name": "fraud-v1.9", "digest": "0" * 16, "verdict": "Failed", "decidedBy": "breaker",
                     "reason": "failed <b>all</b>", "at": STARTED_S - 86_400.0}],
        "metrics": [
            metric("errors", "errors", "pp"),
            metric("latency.p99", "latency", "%", stable=0.048, candidate=0.047, effect=-2.1, passed=True,
                   evidencePass=5e7, text="", margin="10%", effectiveMargin="10.5%"),
            metric("prediction.label", "category", "pp", harmed=True, evidenceHarm=154.0, margin="2pp",
                   effectiveMargin="2pp"),
            metric("prediction.score", "number", "sd", stable=None, candidate=None, effect=None, low=None, high=None,
                   nStable=0.0, nCandidate=0.0, nEffective=0.0, evidencePass=1.0, evidenceHarm=1.0, margin="0.05sd",
                   effectiveMargin="0.05sd", text="no data yet"),
            metric("pair.label", "pair", "%", role="signal", stable=None, margin="1%", effectiveMargin="1%",
                   low=0.6, high=2.3),
        ],
        "bounds": {
            "errors": {"low": None, "high": 0.24}, "latency.p99": {"low": None, "high": 10.5},
            "prediction.label": {"low": -2.0, "high": 2.0}, "prediction.score": {"low": -0.05, "high": 0.05},
            "pair.label": {"low": None, "high": 1.0},
        },
        "ratio": {
            "evidence": 1.4, "flagged": False, "expectedShare": 0.05, "observedShare": 0.0503, "checked": "users",
            "text": "101 of 2,001 users met the candidate",
        },
        "missing": ["errors: 4.2 : 1 of 20 : 1", "60 more samples of fraud-v2"],
        "forecastSeconds": 754.0,
        "abortEvidence": 2.5,
        "abortNeeded": 20.0,
        "contest": "",
        "ramp": None,
        "candidates": [],
        "error": "",
        "commands": [
            {"verb": "abort", "full": False, "candidate": "", "text": "All traffic goes to fraud-v1."},
            {"verb": "pause", "full": False, "candidate": "", "text": "fraud-v2 gets 5 % of the traffic."},
        ],
        "webhooks": [
            {"name": "chat", "type": "event", "answer": "", "answeredAt": None, "waiting": 1, "told": 7, "givenUp": 2}
        ],
        "distances": [
            {"name": "latency", "psi": 0.012, "jensenShannon": 0.03, "wasserstein": 0.05, "ks": 0.021},
            {"name": "prediction.label", "psi": 0.25, "jensenShannon": 0.11, "wasserstein": None, "ks": None},
        ],
        "feedback": {"window": 86_400.0, "waiting": 12},
        "held": None,
        "pairs": {
            "compared": 500,
            "outputs": {
                "label": {
                    "compared": 500,
                    "disagreed": 6,
                    "repeated": 50,
                    "stableDisagreed": 2,
                    "confusion": {"rows": ["legit", "fraud"], "cells": [[480, 2], [4, 14]]},
                }
            },
        },
    }  # fmt: skip


def plain_document() -> dict[str, Any]:
    """A route with static weights, whose name needs quoting."""
    return {
        "name": "static weights/",
        "match": [],
        "strategy": "",
        "winner": "",
        "stable": "fraud-v1",
        "candidate": "",
        "racing": [],
        "phase": "",
        "verdict": "",
        "reason": "",
        "decidedBy": "",
        "baseline": "",
        "step": 0,
        "steps": [],
        "stage": 0,
        "attempt": 0,
        "weight": 0.0,
        "mirror": 0.0,
        "startedAt": None,
        "stageStartedAt": None,
        "endedAt": None,
        "arms": [arm("fraud-v1", "stable", weight=100.0, labels={}, numbers={}, users=None)],
        "endpoints": [],
        "latched": [],
        "metrics": [],
        "bounds": {},
        "ratio": None,
        "missing": [],
        "forecastSeconds": None,
        "abortEvidence": None,
        "abortNeeded": None,
        "contest": "",
        "ramp": None,
        "candidates": [],
        "error": "",
        "commands": [],
        "webhooks": [],
        "pairs": None,
        "feedback": None,
        "held": {
            "waiting": 3,
            "total": 1_240,
            "released": 1_190,
            "expired": 40,
            "displaced": 0,
            "left": 7,
            "refused": 12,
        },
        "distances": [],
    }


def backend_documents() -> list[dict[str, Any]]:
    """A backend of which one endpoint is down and one ejected, and one that is not checked."""
    line = {
        "state": "healthy", "reason": "", "since": STARTED_S, "checkedAt": STARTED_S, "inFlight": 2,
        "ejectedBy": 0, "ejectedUntil": None, "ejections": 0, "share": 1.0, "out": "",
    }  # fmt: skip
    return [
        {
            "name": "fraud-v1",
            "panic": 0,
            "endpoints": [
                {"address": "http://10.0.0.11:8080", **line},
                {"address": "http://10.0.0.12:8080", **line, "state": "unhealthy", "reason": "status 503"},
                {"address": "http://10.0.0.13:8080", **line, "state": "ejected", "ejectedBy": 1, "ejections": 3,
                 "ejectedUntil": STARTED_S + 30},
            ],
        },
        {"name": "fraud-v2", "panic": 2, "endpoints": [{"address": "http://10.0.0.21:8080", **line, "since": None}]},
    ]  # fmt: skip
