"""The candidates that a design chooses from, and what is known of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from introspect.decision.designs.candidates import (
    Indices,
    all_candidates,
    draw_candidates,
    grids_of,
    has_dominant_option,
    n_distinct,
    repeats_an_option,
    set_codes,
    values_at,
)
from introspect.decision.grid import Grid
from introspect.decision.scenario import DecisionScenario

__all__ = ["Pool", "PoolSource", "middle_counts"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ENUMERATE = 4
_INTERIOR = 12
_CLOSE = 0.1


@dataclass(frozen=True)
class Pool:
    """P candidate trials of a scenario, options in the order drawn.

    Attributes:
        index: Grid positions, [P, J, K].
        encoded: Predictors, [P, J, D].
        code: Equal for equal sets of options, [P].
        usable: Shows no option twice, and no earlier candidate shows the same options, [P].
        interior: Shows middle values; see `PoolSource`, [P].
        close: Among the closest calls under the weights given, [P]; none without weights.
        dominated: Has an option that is at least as good on everything, [P]; none without weights.
    """

    index: Indices
    encoded: Floats
    code: NDArray[np.uint64]
    usable: Bools
    interior: Bools
    close: Bools
    dominated: Bools


@dataclass
class PoolSource:
    """Gives one pool after the other, from one stream of candidates.

    Where all distinct trials are at most four times `n_candidates`, the only pool is all of them.

    A candidate is interior where, in every attribute of three values or more, some option shows a value of the
    middle half of the range; where fewer than a twelfth of the candidates do, in as many attributes as a
    twelfth of them manage. It is close where the utilities of the best two options differ by less than in nine
    tenths of the candidates.

    Args:
        scenario: Whose trials.
        n_options: Options per trial.
        n_candidates: Candidates per pool.
        rng: The stream.
        weights: Utility of each predictor, [D]; None if not known.
    """

    scenario: DecisionScenario
    n_options: int
    n_candidates: int
    rng: np.random.Generator
    weights: Floats | None = None
    grids: list[Grid] = field(init=False)

    def __post_init__(self) -> None:
        self.grids = grids_of(self.scenario)

    @property
    def complete(self) -> bool:
        """Whether a pool holds every distinct trial there is."""
        return n_distinct(self.grids, self.n_options) <= _ENUMERATE * self.n_candidates

    @property
    def size(self) -> int:
        """Candidates per pool."""
        return n_distinct(self.grids, self.n_options) if self.complete else self.n_candidates

    def draw(self) -> Pool:
        """The next pool."""
        if self.complete:
            index = all_candidates(self.grids, self.n_options, self.rng)
        else:
            index = draw_candidates(
                self.scenario, self.grids, self.n_candidates, self.n_options, self.rng, stretched=True
            )
        encoded = self.scenario.encode(values_at(self.grids, index))
        code = set_codes(index)
        usable = ~repeats_an_option(index)
        first = np.zeros(len(code), dtype=np.bool_)
        first[np.unique(code, return_index=True)[1]] = True
        usable &= first
        none = np.zeros(len(code), dtype=np.bool_)
        close, dominated = none, none
        if self.weights is not None:
            dominated = has_dominant_option(encoded * np.sign(self.weights))
            close = _closest(encoded, self.weights, usable)
        return Pool(index, encoded, code, usable, self._interior(encoded, usable), close, dominated)

    def _interior(self, encoded: Floats, usable: Bools) -> Bools:
        counts = middle_counts(self.scenario, encoded)
        most = np.sort(counts[usable])[::-1]
        enough = most[min(len(most) - 1, len(counts) // _INTERIOR)] if len(most) else 0
        return np.asarray(usable & (counts >= enough))


def middle_counts(scenario: DecisionScenario, encoded: Floats) -> NDArray[np.int64]:
    """In how many attributes a trial shows a middle value, which a straight line and a curve through the ends
    of the range tell apart: [n, J, D] -> [n]. Attributes without middle values do not count.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in ("p", "q")]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> middle_counts(k, np.array([[[0.5, 0.0], [0.0, 0.3]], [[1.0, 0.0], [0.0, 1.0]]]))
        array([2, 0])
    """
    counts = np.zeros(len(encoded), dtype=np.int64)
    column = 0
    for attribute, grid in zip(scenario.attributes, grids_of(scenario), strict=True):
        width = len(attribute.predictors)
        if attribute.kind != "categorical" and grid.n >= 3:
            ends = attribute.encode(grid.at(np.array([0, grid.n - 1])))
            middle = float(ends.mean())
            value = attribute.low + middle * (attribute.high - attribute.low)
            if attribute.scale == "log":
                value = attribute.low * math.exp(middle * math.log(attribute.high / attribute.low))
            # On a coarse grid the middle half may be empty; the value nearest to the middle is then its stand-in.
            around = np.clip(grid.nearest(np.array(value)) + np.array([-1, 0, 1]), 1, grid.n - 2)
            nearest = float(np.abs(attribute.encode(grid.at(around)) - middle).min())
            reach = max(float(ends[1] - ends[0]) / 4.0, nearest) + 1e-12
            counts += (np.abs(encoded[:, :, column] - middle) <= reach).any(axis=1)
        column += width
    return counts


def _closest(encoded: Floats, weights: Floats, usable: Bools) -> Bools:
    utility = np.sort((encoded * weights).sum(axis=2), axis=1)
    gap = utility[:, -1] - utility[:, -2]
    if not usable.any():
        return usable
    limit = np.quantile(gap[usable], _CLOSE)
    return np.asarray(gap <= limit + 1e-9 * np.abs(weights).sum())  # equal up to rounding counts as equal
