"""How a ramp looks to people."""

from __future__ import annotations

import io
from typing import Any

from prometheus_client import generate_latest
from rich.console import Console

from proxy.admin import console, ramping
from proxy.admin.documents import Ramp
from proxy.admin.exposition import registry
from proxy.admin.latency import Latencies
from proxy.admin.report import markdown
from tests.support.fake_controller import FakeController, history_entries, route_document

RAMP: dict[str, Any] = {
    "budget": 50.0, "spent": 3.0, "worst": 0.041, "atStake": 31.2, "allowed": 0.02, "next": 0.05, "needed": 0.028,
    "waitS": 40.0, "perSecond": 100.0, "evidence": 2.0, "evidenceNeeded": 100.0, "text": "at 2 %: 31.2 of 50",
}  # fmt: skip


def route(**changes: Any) -> dict[str, Any]:
    return route_document() | {"ramp": RAMP | changes}


def test_the_document_has_what_the_api_says_of_a_ramp():
    """Broken: the OpenAPI document promises other members than are answered."""
    assert {field.alias or name for name, field in Ramp.model_fields.items()} == set(RAMP)


def test_what_is_spent_and_what_is_needed_is_told():
    """Broken: an operator sees a weight, and not why."""
    assert dict(ramping.facts(route())) == {
        "Bad requests": "3 of 50 spent",
        "At stake": "31.2 before a decision takes effect, if it is as bad as it may be",
        "Bad at most": "4.1 % of its requests, beyond the margin of errors",
        "Next weight": "5 % needs 2.8 % or less, in about 40 s",
    }
    spent = dict(ramping.facts(route(spent=55.0, needed=None, waitS=None)))
    assert spent["Next weight"] == "5 % nothing is left for it"
    assert "Next weight" not in dict(ramping.facts(route(next=None, needed=None)))
    assert list(ramping.facts(route_document())) == []


def test_report_and_command_line_show_it():
    """Broken: it is to be had from the API alone."""
    assert "| Bad requests | 3 of 50 spent |" in markdown(route(), history_entries())
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(console.route(route()))
    assert "Next weight: 5 % needs 2.8 % or less, in about 40 s" in shown.export_text()


def test_metrics_show_it():
    """Broken: nobody can be alarmed by a budget that is nearly spent."""
    controller = FakeController()
    controller.document["ramp"] = RAMP
    text = generate_latest(registry(controller, Latencies(controller.reader, lambda: 1.0))).decode()
    for kind, value in (("spent", 3.0), ("at_stake", 31.2), ("budget", 50.0)):
        assert f'understudy_ramp_bad_requests{{kind="{kind}",route="fraud"}} {value}' in text
    assert 'understudy_ramp_worst_ratio{route="fraud"} 0.041' in text


def test_a_forecast_names_each_weight():
    """Broken: `understudy plan` does not say when which weight comes."""
    weights = [{"weight": 2.0, "seconds": 10.0}, {"weight": 50.0, "seconds": 240.0}]
    ramp = {"budget": 50.0, "weights": weights, "lateOutage": {"failing": 115.5, "hanging": 615.5}}
    assert ramping.forecast({"ramp": ramp}) == (
        "ramp within 50 bad requests: 2 % after 10 s, 50 % after 4 min; turning bad at the last weight costs up to "
        "116 requests until it is known, 616 if they hang"
    )
    assert "no weight fits" in ramping.forecast({"ramp": ramp | {"weights": []}})
    assert ramping.forecast({"ramp": None}) == ""
