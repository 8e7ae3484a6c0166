"""Resamples of contexts: bootstrap counts, percentile intervals and permutation nulls, all seeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "bootstrap_counts",
    "p_value",
    "percentile_interval",
    "permuted_cross_products",
    "shuffled_cross_products",
]

Floats = NDArray[np.float64]

CHUNK = 4_000_000
"""Elements of scratch space that one permutation step may use (32 MB of float64)."""


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
    rows = np.arange(len(x))
    parts = []
    for size in _chunks(n_draws, x.size):
        order = rng.permuted(np.broadcast_to(rows, (size, len(rows))), axis=1)
        parts.append(np.einsum("bcp,cp->b", x[order], y))
    return np.concatenate(parts)


def permuted_cross_products(x: Floats, y: Floats, n_draws: int, rng: np.random.Generator) -> Floats:
    """Sum of x times y with the predictors of x permuted inside each context, [n_draws]."""
    parts = []
    for size in _chunks(n_draws, x.size):
        mixed = rng.permuted(np.broadcast_to(x, (size, *x.shape)), axis=2)
        parts.append(np.einsum("bcp,cp->b", mixed, y))
    return np.concatenate(parts)


def _chunks(total: int, width: int) -> Iterator[int]:
    step = max(1, CHUNK // max(1, width))
    for start in range(0, total, step):
        yield min(step, total - start)
