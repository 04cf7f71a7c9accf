"""What the ledger costs."""

from loadtests.ledger import KINDS, judged, samples, section


def test_sticky_users_are_what_the_goal_is_about():
    """Counting without users is cheaper, and a sticky route is what people run."""
    plain, read = judged(dict(zip(KINDS, (0.1, 0.7, 1.4), strict=True)))
    assert (plain["value"], plain["holds"]) == (0.7, False)
    assert (read["value"], read["holds"]) == (1.4, True)


def test_all_outcomes_are_of_one_slice():
    """Opening lanes would be measured instead of counting; a reading must be of the kind that is asked for."""
    for kind in KINDS:
        found = samples(kind)
        assert {int(one.arrived_s) for one in found} == {1000}
        assert all(len(one.readings) == (2 if kind == KINDS[2] else 0) for one in found)
        assert any(one.failed for one in found)


def test_the_section_tells_which_build_was_measured():
    """Figures of interpreted code would be taken for those of the wheel."""
    figures = dict.fromkeys(KINDS, 0.5)
    facts = {
        "date": "2026-01-01",
        "command": "make bench",
        "machine": {"cpu": "x", "cores": 2, "memoryMiB": 1, "kernel": "k", "python": "3.11"},
    }
    page = section({**facts, "goals": judged(figures), "microseconds": figures, "rowKiB": figures,
                    "reservedKiB": 1024.0, "compiled": True})  # fmt: skip
    assert "(compiled)" in page
    assert "1,024 KiB" in page
