"""Possible trials as positions on the grids of a scenario's attributes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from introspect.decision.grid import Grid
from introspect.decision.scenario import DecisionScenario

__all__ = [
    "all_candidates",
    "draw_candidates",
    "grids_of",
    "has_dominant_option",
    "n_distinct",
    "repeats_an_option",
    "set_codes",
    "values_at",
]

Indices = NDArray[np.int64]


def grids_of(scenario: DecisionScenario) -> list[Grid]:
    """One grid per attribute, in declared order."""
    return [attribute.grid for attribute in scenario.attributes]


def n_distinct(grids: Sequence[Grid], n_options: int) -> int:
    """How many trials without repeated option there are, whatever the order of the options."""
    return math.comb(math.prod(grid.n for grid in grids), n_options)


def draw_candidates(
    scenario: DecisionScenario,
    grids: Sequence[Grid],
    m: int,
    n_options: int,
    rng: np.random.Generator,
    stretched: bool = False,
) -> Indices:
    """Grid positions of m trials drawn uniformly (in ratios on a log scale), [m, n_options, n_attributes].

    `Generator.random` spends one word of the stream on each number, so candidate i is the same in every batch
    size. A candidate may show an option twice, and two candidates the same options.

    Args:
        scenario: Whose trials.
        grids: Of its attributes.
        m: How many.
        n_options: Options per trial.
        rng: The stream.
        stretched: Move the values of every second candidate away from the middle of the range, to twice the
            distance or the end, unless the attribute is categorical. Few uniform draws differ much in every
            attribute, and those that do tell most.
    """
    draws = rng.random((m, n_options, len(grids)))
    if stretched:
        linear = np.array([attribute.kind != "categorical" for attribute in scenario.attributes])
        apart = np.clip(2.0 * draws[1::2] - 0.5, 0.0, np.nextafter(1.0, 0.0))
        draws[1::2] = np.where(linear, apart, draws[1::2])
    sizes = np.array([grid.n for grid in grids])
    index: Indices = np.minimum((draws * sizes).astype(np.int64), sizes - 1)
    for k, attribute in enumerate(scenario.attributes):
        if attribute.scale == "log":
            ratio = math.log(attribute.high / attribute.low)
            index[..., k] = grids[k].nearest(attribute.low * np.exp(draws[..., k] * ratio))
    return index


def all_candidates(grids: Sequence[Grid], n_options: int, rng: np.random.Generator) -> Indices:
    """Every distinct trial once, shuffled, its options in random order: [m, n_options, n_attributes]."""
    sizes = tuple(grid.n for grid in grids)
    sets = np.array(list(itertools.combinations(range(math.prod(sizes)), n_options)), dtype=np.int64)
    sets = rng.permuted(sets[rng.permutation(len(sets))], axis=1)
    return np.stack(np.unravel_index(sets, sizes), axis=-1).astype(np.int64)


def values_at(grids: Sequence[Grid], index: Indices) -> NDArray[np.float64]:
    """The values at grid positions [..., n_attributes]. Shape is kept."""
    out = np.empty(index.shape)
    for k, grid in enumerate(grids):
        out[..., k] = grid.at(index[..., k])
    return out


def repeats_an_option(index: Indices) -> NDArray[np.bool_]:
    """Which trials show an option twice, [m]."""
    tied = np.zeros(len(index), dtype=np.bool_)
    for i in range(index.shape[1]):
        for j in range(i):
            tied |= (index[:, i] == index[:, j]).all(axis=1)
    return tied


def set_codes(index: Indices) -> NDArray[np.uint64]:
    """A number per trial, [m]: equal for equal sets of options in whatever order, and for (practically) no others."""
    # Sums of mixed option codes (mod 2^64) do not depend on the order of the options.
    multipliers = np.random.SeedSequence(5).generate_state(index.shape[2], np.uint64) | np.uint64(1)
    codes = (index.astype(np.uint64) * multipliers).sum(axis=2)
    codes ^= codes >> np.uint64(29)
    codes *= np.uint64(0xBF58476D1CE4E5B9)
    codes ^= codes >> np.uint64(32)
    return np.asarray(codes.sum(axis=1), dtype=np.uint64)


def has_dominant_option(goodness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which trials have an option that is at least as good as every other on everything.

    Args:
        goodness: [n, n_options, n_predictors], more is better.
    """
    best = goodness.max(axis=1, keepdims=True)
    return np.asarray((goodness == best).all(axis=2).any(axis=1))
