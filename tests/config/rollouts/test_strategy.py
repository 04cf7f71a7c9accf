"""The steps of a strategy."""

from pathlib import Path

from config.loader import load
from config.rollouts.steps import AnalysisStep, Pause, SetMirror, SetWeight
from config.rollouts.strategy import Canary

EXAMPLE = Path(__file__).parents[3] / "config/examples/canary.yaml"


def test_steps_become_types_of_their_own() -> None:
    """The rollout would do another step than the file says."""
    strategy = load(EXAMPLE).config.routes[0].strategy
    assert strategy is not None
    assert strategy.canary is not None
    assert strategy.canary.steps == (
        SetMirror(100.0),
        AnalysisStep(500, None),
        SetWeight(5.0),
        AnalysisStep(1000, None),
        SetWeight(25.0),
        Pause(600.0),
        SetWeight(50.0),
        AnalysisStep(None, None),
    )


def test_a_step_is_written_as_it_was_given() -> None:
    """Decimals, gates or defaults would change when a revision is written out, and begin a new rollout."""
    steps = (
        {"setMirror": {"percent": 0.5}},
        {"pause": {}},
        {"setWeight": 12.25},
        {"pause": {"duration": "1h30m"}},
        {"analysis": {"minSamples": 5, "duration": "10s"}},
        {"analysis": {}},
    )
    written = Canary.model_validate({"steps": steps}).model_dump(mode="json", by_alias=True)
    assert tuple(written["steps"]) == steps


def test_a_pause_may_come_first() -> None:
    """A team that wants a person's word before anything happens could not say so."""
    canary = Canary.model_validate({"steps": ({"pause": {}}, {"setWeight": 5})})
    assert canary.steps == (Pause(None), SetWeight(5.0))
