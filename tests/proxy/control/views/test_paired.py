"""How pairs look to people."""

from __future__ import annotations

import numpy as np

from analysis.summaries import OTHER
from proxy.control.views import paired


def test_rare_labels_are_added_up() -> None:
    """A model with a thousand labels would make a table of a million cells."""
    pairs = {(f"l{n}", f"l{n}"): 1000.0 - n for n in range(100)}
    found = paired._confusion(pairs)
    assert (len(found["rows"]), found["rows"][0], found["rows"][-1]) == (paired.LABELS_SHOWN, "l0", OTHER)
    assert int(np.sum(found["cells"])) == sum(pairs.values())
    assert paired._confusion({("a", "b"): 2.0, ("a", "a"): 3.0}) == {"rows": ["a", "b"], "cells": [[3, 2], [0, 0]]}
