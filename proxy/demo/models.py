"""Three versions of a digit classifier, trained on the 1,797 scans that come with scikit-learn.

Half of the scans are held out: they are the traffic of the demo, and no version has seen them. Every version answers
a row in about 0.1 ms, so that what differs in latency is what the demo makes differ.

| version | trained on | right on held-out rows |
|---|---|---|
| v1 | 200 rows, linear | about 94 % |
| v2 | all rows, a small network | about 97 % |
| v3 | all rows, two labels in five drawn at random, linear | about 80 % |
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

SEED = 7
PIXELS = 64
DIGITS = 10
FEW_ROWS = 200
CORRUPTED_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Rows:
    """Scans of digits: `pixels` (n, PIXELS) between 0 and 1, `digits` (n,) between 0 and 9."""

    pixels: NDArray[np.float64]
    digits: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trained:
    """The versions by name (v1, v2, v3), where each was written, and the rows that none of them has seen."""

    files: Mapping[str, Path]
    accuracy: Mapping[str, float]
    held_out: Rows


def split() -> tuple[Rows, Rows]:
    """The rows to train on and the rows held out, half each, every digit alike in both."""
    pixels, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels / 16, digits, test_size=0.5, stratify=digits, random_state=SEED
    )
    return Rows(train_x, train_y), Rows(test_x, test_y)


def fit(rows: Rows) -> dict[str, Any]:
    """The three versions as fitted scikit-learn classifiers."""
    x, y = rows.pixels, rows.digits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close enough is the point of a cheap model
        return {
            "v1": LogisticRegression(C=10).fit(x[:FEW_ROWS], y[:FEW_ROWS]),
            "v2": MLPClassifier((100,), alpha=0.5, max_iter=300, random_state=SEED).fit(x, y),
            "v3": LogisticRegression(C=10).fit(x, corrupt(y)),
        }


def corrupt(digits: NDArray[np.int64]) -> NDArray[np.int64]:
    """The labels with CORRUPTED_SHARE of them drawn at random."""
    random = np.random.default_rng(SEED)
    return np.where(random.random(len(digits)) < CORRUPTED_SHARE, random.integers(0, DIGITS, len(digits)), digits)


def train(folder: Path) -> Trained:
    """Train all versions and write each as a joblib file into the folder. Takes about a second.

    One thread does it: on small matrices the threads of the numerical libraries wait for each other, and where the
    cores are busy that takes twenty times as long.
    """
    train_rows, held_out = split()
    with threadpool_limits(1):
        versions = fit(train_rows)
    files = {name: folder / f"{name}.joblib" for name in versions}
    for name, model in versions.items():
        joblib.dump(model, files[name])
    accuracy = {name: float(model.score(held_out.pixels, held_out.digits)) for name, model in versions.items()}
    return Trained(files, accuracy, held_out)
