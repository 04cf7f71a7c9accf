"""docs/performance.md."""

from pathlib import Path

from loadtests.__main__ import kept
from loadtests.document import MEASUREMENTS, document

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "loadtests" / "results"


def test_the_document_shows_the_results_that_are_kept():
    """Somebody would read figures of another run than those in loadtests/results."""
    assert (ROOT / "docs" / "performance.md").read_text() == document(kept(RESULTS))


def test_all_results_that_are_kept_have_a_section():
    """A measurement would be renamed, and its results be kept for nobody."""
    elsewhere = {"judging"}  # docs/statistics.md
    assert {path.stem for path in RESULTS.glob("*.json")} <= set(MEASUREMENTS) | elsewhere
