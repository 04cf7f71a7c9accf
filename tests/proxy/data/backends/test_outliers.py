"""Who is left out for how long, and who comes back."""

from __future__ import annotations

import pytest

from proxy.data.backends.outliers import eject, look
from proxy.data.backends.standing import Standing
from proxy.snapshot import Outliers

SETTINGS = Outliers(ejection_s=30.0, max_ejection_s=300.0, max_ejected_share=0.5)


def test_each_ejection_in_a_row_lasts_longer() -> None:
    """An endpoint that is broken for good would fail requests every half minute."""
    one, other = Standing(), Standing()
    now_s, lasted = 1000.0, []
    for _ in range(12):
        assert eject(SETTINGS, one, [one, other], now_s)
        lasted.append(one.ejected_until_s - now_s)
        now_s = one.ejected_until_s
        assert look([one, other], now_s) == [one]
    assert lasted == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
    assert one.ejected == 12


def test_an_endpoint_comes_back_when_its_time_is_over() -> None:
    """Earlier it would not have had its rest, and never would be a replica lost."""
    one = Standing()
    eject(SETTINGS, one, [one, Standing()], 1000.0)
    assert look([one], 1029.9) == []
    assert look([one], 1030.0) == [one]
    assert (one.ejected_until_s, one.server_errors) == (0.0, 0)


def test_good_conduct_is_rewarded() -> None:
    """An endpoint that failed once a day would be out longer every day."""
    one = Standing()
    for now_s in (1000.0, 1100.0):
        eject(SETTINGS, one, [one, Standing()], now_s)
        look([one], now_s + 60)
    assert one.ejections == 2
    look([one], 1170.0)
    look([one], 1180.0)
    assert one.ejections == 0
    assert one.ejected == 2


@pytest.mark.parametrize(("endpoints", "share", "ejected"), [(10, 0.5, 5), (10, 0.29, 2), (3, 0.1, 1), (1, 0.5, 1)])
def test_only_so_many_are_out_at_a_time(endpoints: int, share: float, ejected: int) -> None:
    """A model that fails everywhere would be left with no endpoint at all, or with none that is ever left out."""
    settings = Outliers(max_ejected_share=share)
    all_ = [Standing() for _ in range(endpoints)]
    assert sum(eject(settings, standing, all_, 1000.0) for standing in all_) == ejected
    assert sum(1 for standing in all_ if standing.ejected_until_s) == ejected
