"""What is read from answers."""

import pytest

from config.routes.predictions import Output, Predictions


def test_paths_are_keys_and_indexes() -> None:
    """A list in an answer would be looked into with a text."""
    output = Output.model_validate({"name": "a", "kind": "category", "path": "result.scores.0.x1"})
    assert output.path_parts == ("result", "scores", 0, "x1")
    assert Output.model_validate({"name": "a", "kind": "category"}).path_parts == ()


def test_eight_outputs_fit_and_nine_do_not() -> None:
    """More outputs than the ledger has room for would be taken, and the ninth be counted over something else."""
    outputs = tuple({"name": f"o{place}", "kind": "category"} for place in range(9))
    assert len(Predictions.model_validate({"protocol": "open-inference", "outputs": outputs[:8]}).outputs) == 8
    with pytest.raises(ValueError):
        Predictions.model_validate({"protocol": "open-inference", "outputs": outputs})


def test_the_bound_of_an_answer_has_bounds() -> None:
    """A bound of a gigabyte would have a worker stand still for a minute."""
    outputs = ({"name": "a", "kind": "category"},)
    given = {"protocol": "open-inference", "outputs": outputs}
    assert Predictions.model_validate(given).max_body_bytes == 1 << 20
    assert Predictions.model_validate({**given, "maxBodyBytes": 2048}).max_body_bytes == 2048
    for size in (1023, 1 << 30):
        with pytest.raises(ValueError, match="maxBodyBytes"):
            Predictions.model_validate({**given, "maxBodyBytes": size})


def test_no_output_has_the_name_of_a_watch() -> None:
    """Two metrics of a judge would have one name, and the file that asks for it would stop the controller."""
    outputs = ({"name": "score", "kind": "number", "range": (0, 1)}, {"name": "score.invalid", "kind": "category"})
    with pytest.raises(ValueError, match="what the watch over"):
        Predictions.model_validate({"protocol": "open-inference", "outputs": outputs})
    assert Predictions.model_validate({"protocol": "open-inference", "outputs": outputs[1:]}).outputs
