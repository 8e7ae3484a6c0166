"""What r reaches without any introspection: reports dealt out anew, and weights permuted inside reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect._random import stream
from introspect.measure.moments import correlation
from introspect.measure.pairing import Pairing
from introspect.measure.resampling import permuted_cross_products, shuffled_cross_products

__all__ = ["NullDraws", "null_draws"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NullDraws:
    """Draws of the pooled r under both nulls.

    Attributes:
        shuffle: r with reports dealt out to other contexts of as many predictors, [n_null]; one NaN where no
            two contexts can trade.
        permutation: r with each report's weights permuted among its own predictors, [n_null].
        n_lone: Contexts that are alone in their number of predictors, and keep their own report in every
            shuffle.
    """

    shuffle: Floats
    permutation: Floats
    n_lone: int

    @property
    def shuffle_r(self) -> float:
        """Mean r of the shuffles: what a report of another context is worth."""
        kept = self.shuffle[np.isfinite(self.shuffle)]
        return float(kept.mean()) if kept.size else math.nan


def null_draws(pairing: Pairing, n_null: int, seed: int, name: str = "accuracy") -> NullDraws:
    """Draws from both nulls. Only the cross products move; all other sums stay as they are.

    Neither null is enough alone. A shuffle keeps the order of predictors, so what all contexts share survives
    it; a permutation keeps each report's level, so what a context's own weights share survives that one.

    Args:
        pairing: The two sides.
        n_null: Draws of each.
        seed: Seed.
        name: Stream of the caller.

    Example:
        >>> from introspect.measure.pairing import pair
        >>> told = {"a": {"p": 1, "q": 2}, "b": {"p": 3, "q": 1}, "c": {"x": 1, "y": 2, "z": 3}}
        >>> null_draws(pair(told, told), 10, seed=0).n_lone
        1
    """
    groups = pairing.by_width()
    total = pairing.moments.sums.sum(axis=0)
    n_lone = sum(1 for said, _ in groups if len(said) == 1)
    outcomes = []
    for kind, draw in (("shuffle", shuffled_cross_products), ("permutation", permuted_cross_products)):
        if not groups or (kind == "shuffle" and n_lone == len(groups)):
            outcomes.append(np.full(1, np.nan))
            continue
        rng = stream(seed, name, kind)
        sums = np.repeat(total[None], n_null, axis=0)
        sums[:, 5] = sum(draw(said, learned, n_null, rng) for said, learned in groups)
        outcomes.append(correlation(sums))
    return NullDraws(outcomes[0], outcomes[1], n_lone)
