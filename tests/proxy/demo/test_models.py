"""Three versions of which one is better and one is worse, on rows that none has seen."""

import joblib
import numpy as np
import pytest

from proxy.demo import models


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> models.Trained:
    return models.train(tmp_path_factory.mktemp("models"))


@pytest.mark.slow
def test_v2_is_better_and_v3_worse_on_held_out_rows(trained: models.Trained) -> None:
    """Broken: the demo would promote what is no better, or abort what is no worse."""
    accuracy = trained.accuracy
    assert accuracy["v2"] > accuracy["v1"] + 0.01
    assert accuracy["v3"] < accuracy["v2"] - 0.1


@pytest.mark.slow
def test_written_models_answer_as_the_trained_ones(trained: models.Trained) -> None:
    """Broken: the servers would serve something else than what was measured."""
    rows = trained.held_out
    for name, file in trained.files.items():
        assert joblib.load(file).score(rows.pixels, rows.digits) == pytest.approx(trained.accuracy[name])


@pytest.mark.slow
def test_v2_is_within_the_margins_of_the_demo_and_v3_is_not(trained: models.Trained) -> None:
    """Broken: v2 could never be proven, or v3 never caught, however long the demo ran."""
    rows = trained.held_out.pixels
    chances = {name: joblib.load(file).predict_proba(rows) for name, file in trained.files.items()}
    assert disagreement(chances["v1"], chances["v2"]) < 0.06
    assert score_shift_sd(chances["v1"], chances["v2"]) < 0.3
    assert disagreement(chances["v2"], chances["v3"]) > 0.14
    assert score_shift_sd(chances["v2"], chances["v3"]) > 1.0


def test_no_version_has_seen_the_traffic() -> None:
    """Broken: the demo would compare memories instead of models."""
    train, held_out = models.split()
    assert len(train.pixels) + len(held_out.pixels) == 1797
    seen = {row.tobytes() for row in train.pixels}
    assert not any(row.tobytes() in seen for row in held_out.pixels)
    assert held_out.pixels.shape[1] == models.PIXELS


def test_corrupted_labels_are_partly_wrong() -> None:
    """Broken: v3 would be as good as v2, or no model at all."""
    _, rows = models.split()
    wrong = np.mean(models.corrupt(rows.digits) != rows.digits)
    assert 0.3 < wrong < models.CORRUPTED_SHARE


def disagreement(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean(one.argmax(axis=1) != other.argmax(axis=1)))


def score_shift_sd(stable: np.ndarray, candidate: np.ndarray) -> float:
    scores = stable.max(axis=1)
    return float(abs(candidate.max(axis=1).mean() - scores.mean()) / scores.std())
