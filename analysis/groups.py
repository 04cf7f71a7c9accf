"""Users by hash group: what requests of the same users are worth, for the design effect of sticky routing.

Where a user keeps to one version, the user is what is drawn at random, and requests of one user are alike. How much
that costs is read off 64 groups, into which a hash of its own puts the users: the variance of the arm's rate between
groups, over the variance that independent requests would have. Evidence is divided by it. It never costs validity
(it only makes bets smaller), and it is measured in finished blocks alone.

A user who makes most of an arm's requests makes its level too, and so is hardly off it: what is squared is not by how
much a group is off, but by how much the level would be without the group (the jackknife; with groups of one size both
are the same). An arm of a single group tells nothing of how users differ: all its requests are worth one.

Source: random groups and the jackknife, Wolter, Introduction to Variance Estimation, chapters 2 and 4; the design
effect, Kish, Survey Sampling (1965), section 8.2; rates whose unit of assignment is the user, Deng, Knoblich, Lu,
arXiv 1803.06336, section 3; few or unequal clusters, Bell, McCaffrey, Survey Methodology 28 (2002).
"""

from __future__ import annotations

import numpy as np

from analysis.summaries import GROUPS, FloatArray

_ARMS = 4
"""Rows of a table of groups: nC, xC, nS, xS."""


class Groups:
    """Sums by hash group of some quantities, [4, quantities, GROUPS]: of the stages before, and of this one."""

    def __init__(self, quantities: int) -> None:
        self._settled: FloatArray = np.zeros((_ARMS, quantities, GROUPS))
        self._stage: FloatArray = np.zeros((_ARMS, quantities, GROUPS))

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"groups settled": self._settled, "groups stage": self._stage}

    def begin_stage(self) -> None:
        """Keep the sums of the stage before."""
        self._settled += self._stage
        self._stage[:] = 0.0

    def add(self, n_c: FloatArray, x_c: FloatArray, n_s: FloatArray, x_s: FloatArray) -> None:
        """Add what is of one slice, each [quantities, GROUPS] or [GROUPS]."""
        self._stage += np.stack([np.broadcast_to(each, self._stage.shape[1:]) for each in (n_c, x_c, n_s, x_s)])

    def set(self, n_c: FloatArray, x_c: FloatArray, n_s: FloatArray, x_s: FloatArray) -> None:
        """Take what the stage has been so far.

        Sums that have shrunk were counted in another memory: what that one held stays.
        """
        now = np.stack([np.broadcast_to(each, self._stage.shape[1:]) for each in (n_c, x_c, n_s, x_s)])
        if now[::2].sum() < self._stage[::2].sum():
            self.begin_stage()
        self._stage[:] = now

    def effects(self, variances: FloatArray | None = None) -> FloatArray:
        """The design effect of each quantity, at least 1."""
        n_c, x_c, n_s, x_s = self._settled + self._stage
        return design_effects(n_c, x_c, n_s, x_s, variances)


def design_effects(
    n_c: FloatArray, x_c: FloatArray, n_s: FloatArray, x_s: FloatArray, variances: FloatArray | None = None
) -> FloatArray:
    """(rvC + rvS)/(vC + vS): the variance of the arms' levels between groups, over that of independent requests.

    Args:
        n_c, x_c, n_s, x_s: counts, and how many (or the sum of the values), each [quantities, GROUPS].
        variances: of one value, [2, quantities] (candidate, stable); without them x is of yes and no, p(1 - p).

    Returns 1 where it cannot be told: an arm whose users are not known, or no variance at all.

    >>> n = np.array([[10.0, 10.0, 10.0, 10.0]])
    >>> design_effects(n, np.array([[10.0, 0.0, 0.0, 0.0]]), n, np.array([[0.0, 0.0, 0.0, 10.0]])).round(3).tolist()
    [13.333]
    """
    between, within, alone = np.zeros(len(n_c)), np.zeros(len(n_c)), np.ones(len(n_c))
    told = np.ones(len(n_c), dtype=np.bool_)
    for arm, (n, x) in enumerate(((n_c, x_c), (n_s, x_s))):
        total, groups = n.sum(axis=1), np.count_nonzero(n, axis=1)
        told &= groups >= 2
        alone = np.maximum(alone, np.where(groups == 1, total, 1.0))
        size, others = np.maximum(total, 1e-9), total[:, None] - n
        level = x.sum(axis=1) / size
        # What a group moves the level by: off it by x - level n, of all requests but its own.
        moved = np.divide(x - level[:, None] * n, others, out=np.zeros(x.shape), where=others > 0)
        between += (groups - 1) / np.maximum(groups, 1) * np.square(moved).sum(axis=1)
        within += (level * (1 - level) if variances is None else variances[arm]) / size
    told &= within > 0
    ratio = np.divide(between, within, out=alone, where=told)
    effects: FloatArray = np.maximum(ratio, 1.0)
    return effects
