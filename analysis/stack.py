"""All e-processes of a rollout in one stack of rows: a look costs the same few array operations for any plan.

counts of the rows ─► likelihood ratios ─► Bank        (wealth: capped, divided by phi, restarted)
                  └─► u, v             ─► Dispersion  (phi of the next block)
                  └─► levels           ─► Differences (what is shown)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final, NamedTuple

import numpy as np

from analysis.engine import HARM, Binary, Table, gaussian_log_ratios
from analysis.intervals import Differences
from analysis.robustness import Bank, Dispersion
from analysis.still import copied, still
from analysis.summaries import FloatArray

_NONE: Final = 1e-300
"""Takes the place of a count of 0 below a count of 0."""


class Drift(NamedTuple):
    """One row of Engine B: a shift of the mean in a direction (+1, -1), against a margin in standard deviations."""

    direction: float
    margin: float
    side: float


class _Found(NamedTuple):
    """What the tables of all rows say."""

    log_ratios: FloatArray
    u: FloatArray
    v: FloatArray
    lively: bool

    def plus(self, other: _Found) -> _Found:
        """Both together."""
        return _Found(
            self.log_ratios + other.log_ratios, self.u + other.u, self.v + other.v, self.lively or other.lively
        )


class Stack:
    """Rows of Engine A, then rows of Engine B."""

    def __init__(self, tables: list[Table], drifts: list[Drift]) -> None:
        self._tables = len(tables)
        sides = np.array([*(table.side for table in tables), *(drift.side for drift in drifts)])
        columns = np.array(drifts, dtype=np.float64).reshape(-1, len(Drift._fields)).T
        self._direction, self._margin, self._side = columns
        self.rows = len(sides)
        self.binary = Binary(tables)
        self.bank = Bank(sides == HARM)
        upward = np.concatenate((np.ones(self._tables), self._direction))
        self.dispersion = Dispersion(np.where(sides == HARM, upward, 0.0))
        self.differences = Differences(self.rows)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        parts = {
            "bank": self.bank.state(),
            "dispersion": self.dispersion.state(),
            "differences": self.differences.state(),
        }
        named = {f"{name}.{key}": array for name, part in parts.items() for key, array in part.items()}
        return {**named, "past_n": self.binary.past_n, "past_x": self.binary.past_x}

    def still(self) -> Stack:
        """What is shown of the rows, as it is now. Of their wealth there is nothing in it that would stay the same."""
        other = copied(self)
        other.differences = still(self.differences)
        other.bank, other.dispersion = copied(self.bank), copied(self.dispersion)
        other.bank.phi, other.dispersion.total = self.bank.phi.copy(), self.dispersion.total.copy()
        return other

    def observe(self, counts: FloatArray, variance: FloatArray, earlier: Sequence[FloatArray] = ()) -> bool:
        """Add one slice and tell if it held any evidence.

        Args:
            counts: [rows, 4], of each row nC, xC, nS, xS (for means: n and sum).
            variance: of one value, for each row of Engine B, known from the past; 0 where it is not known yet.
            earlier: further tables of the slice, of the same shape: what it tells of earlier stages. Tables of a slice
                are independent given what came before it, so each is a factor of its own: the log ratios add, and
                so do u and v of the dispersion, of which the slice stays one step.
        """
        odds = self._odds()
        found = [self._table(counts, variance, odds, present=True)]
        found += [self._table(table, variance, odds, present=False) for table in earlier]
        whole = reduce(_Found.plus, found)
        self.bank.add(whole.log_ratios)
        self.dispersion.add(whole.u, whole.v)
        return whole.lively

    def _odds(self) -> FloatArray:
        """Odds of the candidate over those of the stable so far, of each row of Engine A."""
        n_s, n_c, stable, candidate = (each[: self._tables] for each in self.differences.totals())
        of_candidate, of_stable = (candidate * n_c + 0.5) / (n_c + 1), (stable * n_s + 0.5) / (n_s + 1)
        odds: FloatArray = of_candidate * (1 - of_stable) / (of_stable * (1 - of_candidate))
        return odds

    def _table(self, counts: FloatArray, variance: FloatArray, odds: FloatArray, present: bool) -> _Found:
        """One table of each row: what it adds to the evidence, and to what is shown."""
        n_c, x_c, n_s, x_s = counts.T
        m_c, m_s = x_c / np.maximum(n_c, _NONE), x_s / np.maximum(n_s, _NONE)
        split = self._tables
        rate = self.binary.stable()
        spread = np.concatenate((rate * (1 - rate), variance))
        log_a = self.binary.observe(*counts[:split].T)
        information = self.differences.add(n_c, m_c, n_s, m_s, spread, present)
        u, v = _hypergeometric(counts[:split], odds)
        known = variance > 0
        sd = np.sqrt(np.where(known, variance, 1.0))
        v_b = np.where(known, information[split:], 0.0)
        u_b = v_b * (m_c[split:] - m_s[split:]) / sd
        log_b = gaussian_log_ratios(u_b, v_b, self._direction, self._margin, self._side)
        return _Found(
            np.concatenate((log_a, log_b)),
            np.concatenate((u, u_b)),
            np.concatenate((v, v_b)),
            bool(np.any(information > 0)),
        )

    def close(self, least_phi: FloatArray) -> None:
        """End the block; `least_phi` holds the design effects known of the rows."""
        self.bank.close(np.maximum(self.dispersion.phi(), least_phi))
        self.dispersion.close_block()


def _hypergeometric(counts: FloatArray, odds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """u = xC - nC x/n, and the variance of xC given the totals if the arms' odds differ so; 0 where an arm is empty.

    Of rare failures a worse candidate has the larger part, and that part varies more than that of an equal one. What an
    effect brings with it must not be mistaken for noise, so the odds are those of the past (a better candidate is taken
    for an equal one). Fisher's noncentral hypergeometric distribution: its mode in continuous form, and the variance
    that goes with it (Levin, Biometrika 71 (1984), 630; McCullagh, Nelder, Generalized Linear Models, section 7.3.2);
    for odds of 1 it is that of the central one, exactly.
    """
    n_c, x_c, n_s, x_s = counts.T
    n, x = n_c + n_s, x_c + x_s
    expected = x * (n_c / np.maximum(n, _NONE))
    v = np.where(n > 1, expected * n_s * (n - x) / np.maximum(n * (n - 1), _NONE), 0.0)
    worse = np.flatnonzero((odds > 1) & (v > 0))
    n_c, n_s, n, x, odds = (each[worse] for each in (n_c, n_s, n, x, odds))
    part = (n_c + x) * odds + n_s - x
    rise = 2 * odds * n_c * x
    likely = rise / (part + np.sqrt(np.maximum(part * part - 2 * (odds - 1) * rise, 0.0)))
    cells = np.maximum((likely, n_c - likely, x - likely, n_s - x + likely), 1e-9)
    v[worse] = np.maximum(v[worse], n / ((n - 1) * (1 / cells).sum(axis=0)))
    return x_c - expected, np.maximum(v, 0.0)
