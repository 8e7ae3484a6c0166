"""Resamples of contexts: bootstrap counts, percentile intervals and permutation nulls, all seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIN_UNITS",
    "Interval",
    "Resamples",
    "bootstrap_counts",
    "jackknife_interval",
    "p_value",
    "percentile_interval",
    "permuted_cross_products",
    "shuffled_cross_products",
    "studentised_interval",
]

Floats = NDArray[np.float64]

CHUNK = 4_000_000
"""Elements of scratch space that one permutation step may use (32 MB of float64)."""


MIN_UNITS = 10
"""Below this many units a bootstrap over them is too short to be believed: no interval is given."""

ALL_ORDERS = 5
"""Up to this many predictors all orders of a report are listed: 120 for five."""


class Interval(NamedTuple):
    """Low and high end; both NaN where there is no interval."""

    low: float
    high: float

    @classmethod
    def undefined(cls) -> Interval:
        """No interval."""
        return cls(float("nan"), float("nan"))

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float | np.number) and bool(self.low <= value <= self.high)


@dataclass(frozen=True, eq=False)
class Resamples:
    """One set of bootstrap resamples of contexts, shared by all intervals of a score, or why there is none.

    Attributes:
        counts: How often each resample takes each context, [B, C]; None where there are too few contexts.
        why: Why there are none; "" where there are.
    """

    counts: Floats | None
    why: str = ""

    @classmethod
    def of(cls, n_units: int, n_boot: int, rng: np.random.Generator, fewest: int = MIN_UNITS) -> Resamples:
        """Resamples of so many contexts.

        Example:
            >>> Resamples.of(3, 100, np.random.default_rng(0)).why
            '3 contexts; an interval over contexts needs at least 10'
        """
        if n_units < fewest:
            return cls(None, f"{n_units} contexts; an interval over contexts needs at least {fewest}")
        return cls(bootstrap_counts(n_units, n_boot, rng).astype(float))

    def take(self, rows: NDArray[np.intp]) -> Resamples:
        """The same resamples of some of the contexts."""
        return self if self.counts is None else Resamples(self.counts[:, rows])


def bootstrap_counts(n_units: int, n_boot: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each unit is drawn in each resample of the same size, [n_boot, n_units].

    Example:
        >>> bootstrap_counts(4, 3, np.random.default_rng(0)).sum(axis=1)
        array([4, 4, 4])
    """
    return rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=n_boot)


def percentile_interval(draws: Floats, level: float = 0.95) -> Interval:
    """The middle `level` of the draws; undefined draws are left out, and without any there is no interval.

    Example:
        >>> percentile_interval(np.arange(101.0), 0.5)
        Interval(low=25.0, high=75.0)
    """
    kept = draws[np.isfinite(draws)]
    if not kept.size:
        return Interval.undefined()
    low, high = np.quantile(kept, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(low), float(high))


def studentised_interval(
    rows: Floats,
    counts: NDArray[np.generic],
    scored: Callable[[Floats], tuple[Floats, Floats]],
    level: float = 0.95,
) -> Interval:
    """Bootstrap-t interval of a smooth function of per-unit sums, on that function's own scale.

    Each resample is studentised by its own standard error, the infinitesimal jackknife's, which needs no more
    than the sums and products of the rows: no resample touches the data, and none is resampled again.

    Args:
        rows: What each unit adds, [C, K].
        counts: How often each resample takes each unit, [B, C].
        scored: Totals [..., K] -> the number [...] and its derivative by the totals [..., K]. The number must
            not change when all totals are multiplied by one factor.
        level: Coverage that is promised.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5.

    Example:
        >>> rows = np.column_stack([np.ones(50), np.arange(50.0)])              # a mean, as a ratio of two sums
        >>> def mean(sums):
        ...     n, total = sums[..., 0], sums[..., 1]
        ...     return total / n, np.stack([-total / n**2, 1 / n], axis=-1)
        >>> counts = bootstrap_counts(50, 999, np.random.default_rng(0))
        >>> low, high = studentised_interval(rows, counts, mean)
        >>> bool(19 < low < 21 < 28 < high < 30)
        True
    """
    estimate, gradient = scored(rows.sum(axis=0))
    error = math.sqrt(float(((rows @ gradient) ** 2).sum()))
    if not math.isfinite(error) or not math.isfinite(float(estimate)):
        return Interval.undefined()
    weights = np.asarray(counts, dtype=float)
    i, j = np.triu_indices(rows.shape[1])
    values, slopes = scored(weights @ rows)
    # A unit's influence is its row times the derivative; their sum of squares is a quadratic form in the products.
    products = slopes[:, i] * slopes[:, j] * np.where(i == j, 1.0, 2.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.sqrt(((weights @ (rows[:, i] * rows[:, j])) * products).sum(axis=1))
        ratios = (values - estimate) / errors
    ratios = ratios[np.isfinite(ratios)]
    if not ratios.size:
        return Interval.undefined()
    low, high = np.quantile(ratios, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(float(estimate - high * error), float(estimate - low * error))


def jackknife_interval(estimate: float, without_each: Floats, level: float = 0.95) -> Interval:
    """Student's t around an estimate, with the error that leaving out one unit at a time shows.

    Args:
        estimate: The number on all units.
        without_each: The number without each of them, [C].
        level: Coverage that is promised.

    Example:
        >>> values = np.array([1.0, 2.0, 3.0, 4.0])
        >>> [round(end, 2) for end in jackknife_interval(2.5, (10 - values) / 3)]
        [0.45, 4.55]
    """
    from scipy.special import stdtrit

    kept = without_each[np.isfinite(without_each)]
    n = len(kept)
    if n < 2 or not math.isfinite(estimate):
        return Interval.undefined()
    error = math.sqrt((n - 1) / n * float(((kept - kept.mean()) ** 2).sum()))
    half = float(stdtrit(n - 1, (1.0 + level) / 2.0)) * error
    return Interval(estimate - half, estimate + half)


def p_value(null: Floats, observed: float) -> float:
    """Share of null draws at least as large as the observed value, which counts as one of them: never 0.

    Example:
        >>> p_value(np.array([0.1, 0.2, 0.3]), 0.9)
        0.25
    """
    kept = null[np.isfinite(null)]
    if not kept.size or not np.isfinite(observed):
        return float("nan")
    # Rounding must not make a draw that is the observed arrangement look smaller than it.
    return float((1 + np.count_nonzero(kept >= observed - 1e-12)) / (1 + kept.size))


def shuffled_cross_products(x: Floats, y: Floats, n_draws: int, rng: np.random.Generator) -> Floats:
    """Sum of x times y with the rows of x dealt out to other contexts, [n_draws].

    Args:
        x: Vectors of one side, [C, P], all contexts with the same number of predictors.
        y: Vectors of the other side, [C, P].
        n_draws: Shuffles.
        rng: Generator.
    """
    n = len(x)
    rows = np.arange(n)
    # Every product of a report with a context's weights, once; a shuffle then only looks up n of them.
    table = x @ y.T if n * n <= CHUNK else None
    parts = []
    for size in _chunks(n_draws, n if table is not None else x.size):
        order = rng.permuted(np.broadcast_to(rows, (size, n)), axis=1)
        if table is not None:
            parts.append(table[order, rows].sum(axis=1))
        else:
            parts.append(np.einsum("bcp,cp->b", x[order], y))
    return np.concatenate(parts)


def permuted_cross_products(x: Floats, y: Floats, n_draws: int, rng: np.random.Generator) -> Floats:
    """Sum of x times y with the predictors of x permuted inside each context, [n_draws].

    Up to five predictors all their orders are tried once, and a draw picks one of them for each context.
    """
    n, width = x.shape
    parts = []
    if width <= ALL_ORDERS:
        orders = np.array(list(permutations(range(width))))
        table = np.einsum("cop,cp->co", x[:, orders], y)
        rows = np.arange(n)
        for size in _chunks(n_draws, n):
            picked = rng.integers(0, len(orders), (size, n))
            parts += [table[rows, picked].sum(axis=1)]
        return np.concatenate(parts)
    for size in _chunks(n_draws, x.size):
        mixed = rng.permuted(np.broadcast_to(x, (size, *x.shape)), axis=2)
        parts.append(np.einsum("bcp,cp->b", mixed, y))
    return np.concatenate(parts)


def _chunks(total: int, width: int) -> Iterator[int]:
    step = max(1, CHUNK // max(1, width))
    for start in range(0, total, step):
        yield min(step, total - start)
