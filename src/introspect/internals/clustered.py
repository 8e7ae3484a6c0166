"""Figures over rows that come in groups: intervals from whole groups, differences from the same groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from introspect._random import stream
from introspect.measure.resampling import Interval, Resamples, percentile_interval

__all__ = ["Clusters", "Estimate"]

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Estimate:
    """A figure.

    Attributes:
        value: NaN where it is undefined.
        interval: 95 %, over groups.
        n: Rows.
        groups: Groups.
        why: Why there is no interval.
    """

    value: float
    interval: Interval
    n: int
    groups: int
    why: str = ""

    def __str__(self) -> str:
        low, high = self.interval
        if self.value != self.value:
            return "undefined"
        return f"{self.value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low == low else f" ({self.why})")

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return bool(self.interval.low > 0 or self.interval.high < 0)


class Clusters:
    """Groups of rows, resampled whole; the same resamples for every figure, so that differences are paired.

    Args:
        groups: The group of each row.
        n_boot: Resamples.
        seed: Of the resamples.

    Example:
        >>> clusters = Clusters([str(i // 4) for i in range(80)])
        >>> right = np.arange(80) % 2 == 0
        >>> str(clusters.mean(right)), clusters.difference(right, right).value
        ('0.500 [0.500, 0.500]', 0.0)
    """

    def __init__(self, groups: Sequence[str], n_boot: int = 2000, seed: int = 0) -> None:
        self._names, self._of = np.unique(np.asarray(list(groups), dtype=object).astype(str), return_inverse=True)
        self._n = len(self._of)
        drawn = Resamples.of(len(self._names), n_boot, stream(seed, "clusters"))
        self._counts, self._why = drawn.counts, drawn.why.replace("contexts", "groups")

    def sums(self, columns: npt.ArrayLike) -> Floats:
        """Sums of [rows, columns] by group."""
        made = np.asarray(columns, dtype=np.float64).reshape(self._n, -1)
        out = np.zeros((len(self._names), made.shape[1]))
        np.add.at(out, self._of, made)
        return out

    def estimate(self, columns: npt.ArrayLike, statistic: Statistic) -> Estimate:
        """A statistic of column sums.

        Args:
            columns: [rows, columns].
            statistic: Of sums, [..., columns], to [...].
        """
        sums = self.sums(columns)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(statistic(sums.sum(0)))
            draws = None if self._counts is None else statistic(self._counts @ sums)
        interval = Interval.undefined() if draws is None else percentile_interval(draws)
        return Estimate(value, interval, self._n, len(self._names), self._why)

    def mean(self, values: npt.ArrayLike) -> Estimate:
        """The mean of a column, NaN left out."""
        made = np.asarray(values, dtype=np.float64)
        there = np.isfinite(made)
        return self.estimate(np.column_stack([np.where(there, made, 0.0), there]), lambda s: s[..., 0] / s[..., 1])

    def difference(self, values: npt.ArrayLike, others: npt.ArrayLike) -> Estimate:
        """Mean of the one minus mean of the other, over the same rows."""
        return self.mean(np.asarray(values, dtype=np.float64) - np.asarray(others, dtype=np.float64))

    def paired(self, columns: npt.ArrayLike, others: npt.ArrayLike, statistic: Statistic) -> Estimate:
        """A statistic of the one minus the same statistic of the other, resampled together."""
        one, two = (np.asarray(c, dtype=np.float64).reshape(self._n, -1) for c in (columns, others))
        k = one.shape[1]
        return self.estimate(np.column_stack([one, two]), lambda s: statistic(s[..., :k]) - statistic(s[..., k:]))
