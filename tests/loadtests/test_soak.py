"""The soak."""

import itertools
import json

import pytest
import yaml

from config.loader import loads
from loadtests import soak
from loadtests.__main__ import main
from loadtests.mixture import KINDS
from loadtests.settings import Place

PLACE = Place(port=8000, stable=9001, canary=9002, shadow=9003, folder="/nowhere", admin=8001)


@pytest.mark.parametrize("number", range(4))
def test_every_configuration_is_accepted(number):
    """The soak would stop at a reload that is refused."""
    config = loads(yaml.safe_dump(soak.configuration(PLACE, number)), "soak.yaml").config
    assert [route.name for route in config.routes] == ["plain", "predictions", "mirror", "guest"][: 3 + number % 2]


def test_each_reload_changes_something():
    """Nothing would be reloaded, since what is unchanged is not pushed."""
    texts = [json.dumps(soak.configuration(PLACE, number)) for number in range(6)]
    assert all(one != other for one, other in itertools.pairwise(texts))


def test_growth_in_the_warm_up_does_not_count():
    """Every process would fail by the memory that its first requests take."""
    looks = [{"worker": value} for value in [*range(10, 30), *[30.0] * 80]]
    assert soak.grown(looks, "worker") == 0.0


def test_a_steady_leak_counts():
    """A leak would hide between two looks that happen to be alike."""
    found = soak.grown([{"worker": 100 + at * 0.1} for at in range(100)], "worker")
    assert found is not None
    assert found > soak.AT_MOST_PERCENT


def test_too_few_looks_judge_nothing():
    """A soak of seconds would be told as flat."""
    assert soak.grown([{"worker": 1.0}] * 3, "worker") is None


@pytest.mark.slow
@pytest.mark.system
def test_clients_of_every_kind_are_served_through_reloads(tmp_path):
    """A request fails because the configuration changes, or because of what other clients do."""
    assert main(["soak", "--minutes", "0.25", "--reload-seconds", "2", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["requests"]["failed"] == {}
    assert set(found["requests"]["went"]) == {kind.run.__name__ for kind in KINDS}
    assert found["reloads"] >= 2
    assert "15 seconds of mixed load" in (tmp_path / "performance.md").read_text()
