"""The sample ratio check against published numbers, and when it is made."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from scipy.special import bdtr

from analysis.ratio import FLAG_AT, USERS_MAX, Ratio, log_ratio
from tests.support.slices import arm, look


@pytest.mark.parametrize(
    ("counts", "shares", "concentration", "log_e"),
    [
        ((2, 2, 1), (0.4, 0.4, 0.2), (1, 1, 1), -6.4457198193855785 + 5.27460083993072),
        ((60, 63, 32), (0.4, 0.4, 0.2), (1, 1, 1), -4.183813982367695),
        ((2, 1, 7), (0.1, 0.5, 0.4), (1000, 5000, 4000), log(1.0017496120131435)),
        ((5200, 4800), (0.5, 0.5), (50, 50), 5.6136134118),
        ((600, 9400), (0.05, 0.95), (500, 9500), 4.7131373220),
        ((500, 9500), (0.05, 0.95), (500, 9500), -0.3466571429),
    ],
)
def test_matches_published_numbers(
    counts: tuple[float, ...], shares: tuple[float, ...], concentration: tuple[float, ...], log_e: float
) -> None:
    """Broken: the check differs from that of the ssrm package, or from 40-digit arithmetic."""
    found = log_ratio(*(np.array(each, dtype=float) for each in (counts, shares, concentration)))
    assert found == pytest.approx(log_e, abs=1e-8)


def split(ratio: Ratio, candidate: float, stable: float, **options: object) -> None:
    ratio.observe(look(arm(stable), arm(candidate), share=0.05, **options))  # type: ignore[arg-type]


def test_a_right_split_is_clean_and_a_wrong_one_flagged() -> None:
    """Broken: lost requests of one side go unnoticed, or a good split blocks promotions."""
    right, wrong = Ratio(), Ratio()
    for _ in range(200):
        split(right, 50, 950)
        split(wrong, 60, 940)
    assert right.reading().flagged is False
    assert right.reading().checked == "requests"
    assert right.reading().observed_share == pytest.approx(0.05)
    assert wrong.reading().flagged is True
    assert wrong.reading().evidence > FLAG_AT
    assert wrong.reading().text.startswith("comparison unreliable")


def test_requests_that_are_not_accounted_for_flag() -> None:
    """Broken: losing the candidate's slow requests makes it look faster."""
    ratio = Ratio()
    stable = arm(950, latency=np.bincount([600] * 950, minlength=1620).astype(float))
    full = arm(50, latency=np.bincount([600] * 50, minlength=1620).astype(float))
    lossy = replace(arm(50, latency=np.bincount([600] * 40, minlength=1620).astype(float)), recorded=40.0)
    for _ in range(300):
        ratio.observe(look(stable, lossy, share=0.05))
    assert ratio.reading().flagged is True
    assert "of 12,000 of 15,000 of the candidate's requests; 285,000 of 285,000 of the stable's" in ratio.reading().text
    assert "4.04 % of what is compared is the candidate's, 5 % expected" in ratio.reading().text
    assert ratio.reading().observed_share == pytest.approx(12 / 297)
    whole = Ratio()
    for _ in range(300):
        whole.observe(look(stable, full, share=0.05))
    assert whole.reading().flagged is False


def test_evidence_of_stages_adds_and_weights_may_change() -> None:
    """Broken: a change of weight is taken for a fault, or forgives the one before."""
    ratio = Ratio()
    for _ in range(100):
        split(ratio, 60, 940)
    wrong_now = ratio.reading()
    before = wrong_now.evidence
    ratio.begin_stage()
    for _ in range(100):
        ratio.observe(look(arm(500), arm(500), share=0.5))
    after = ratio.reading()
    assert after.expected_share == 0.5
    assert after.observed_share == 0.5
    assert before > 10
    assert before / 30 < after.evidence < before * 1.01
    assert ", most of it of stages before this one" in after.text
    assert ", most of it" not in wrong_now.text


def test_sticky_routes_are_checked_by_users_or_not_at_all() -> None:
    """Broken: a few busy users look like a faulty split."""
    ratio = Ratio()
    for second in range(100):
        split(ratio, 400, 600, sticky=True, users=(95 + second, 5))
    assert ratio.reading().checked == "users"
    assert ratio.reading().flagged is False
    split(ratio, 400, 600, sticky=True, users=(150, 150))
    assert ratio.reading().flagged is True
    split(ratio, 400, 600, sticky=True, users=(USERS_MAX, 150))
    assert ratio.reading().checked == "not checked"
    assert ratio.reading().flagged is False
    unknown = Ratio()
    split(unknown, 400, 600, sticky=True)
    assert unknown.reading().checked == "not checked"
    assert unknown.reading().text == "routing is sticky and users are not known"


def test_a_mirror_has_no_split() -> None:
    """Broken: a stage that only mirrors is flagged, since all requests go both ways."""
    ratio = Ratio()
    ratio.observe(look(arm(1000), arm(1000), share=0.0))
    assert ratio.reading().checked == "not checked"
    assert ratio.reading().evidence == 1.0


@pytest.mark.slow
def test_false_flags_stay_below_one_in_a_thousand() -> None:
    """Broken: the check blocks good rollouts. 200 streams of 100 looks; a correct build fails once in a million."""
    random = np.random.default_rng(21)
    flags = 0
    for _ in range(200):
        ratio = Ratio()
        for candidate in random.binomial(1000, 0.05, 100):
            split(ratio, float(candidate), 1000.0 - float(candidate))
            if ratio.reading().flagged:
                flags += 1
                break
    limit = next(k for k in range(200) if 1 - bdtr(k, 200, 1 / FLAG_AT) < 1e-6)
    assert flags <= limit


@pytest.mark.parametrize(("candidate", "flagged"), [(600, False), (602, True)])
def test_a_flag_takes_a_thousand_to_one(candidate: float, flagged: bool) -> None:
    """Broken: promotions are blocked by splits that chance gives one good rollout in twenty, and not in a thousand; or
    odds of a thousand to one that requests of one side are lost do not block one."""
    ratio = Ratio()
    split(ratio, candidate, 10_000 - candidate)
    assert 850 < ratio.reading().evidence < 2000
    assert ratio.reading().flagged is flagged
