"""Prior scales common to all contexts, chosen by their pooled evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from introspect.measure.newton import modes
from introspect.measure.stacks import Stack

__all__ = ["SCALE_RANGE", "SIDE_FLOOR", "Scales", "choose_scales"]

Floats = NDArray[np.float64]

SCALE_RANGE = (0.5, 20.0)
"""Smallest and largest prior standard deviation of a weight, in logits. Where choices follow the weights without noise,
the evidence grows without bound; beyond 20 logits nothing is gained in direction, and intervals lose their honesty."""

SIDE_FLOOR = 0.5
"""Smallest prior standard deviation of a position's effect, in logits: a context that leans to a side when others do
not must still be able to say so."""

GRID = 19
SIDE_GRID = 5

TOLERANCE = 1e-3
"""Gradient at which a fit on the grid is good enough: the objective is flat at its mode."""


@dataclass(frozen=True)
class Scales:
    """What the contexts' choices say about the priors.

    Attributes:
        weight: Prior standard deviation of a weight, in logits.
        side: Prior standard deviation of a position's effect, in logits.
        starts: For each stack, coefficients near its modes [C, Q] to start a fit from, or None.
    """

    weight: float
    side: float
    starts: list[Floats | None] = field(repr=False)


def choose_scales(stacks: Sequence[Stack], weight: float, side: float) -> Scales:
    """Empirical Bayes: the scales at which the choices of all contexts together are most probable.

    The Laplace approximation of each context's log marginal likelihood is summed over contexts, on a logarithmic grid
    of 19 scales of the weights, with a parabola through the best three. The scale of the position effects, between
    0.5 and the given one, is chosen before and after on a coarser grid. A wide prior there would cost a parameter per
    context even where no side is favoured, and make the weights look larger than they are.

    Contexts without choices have no say, and those with all choices on one side speak of the position effect alone.

    Args:
        stacks: Choices.
        weight: The scale of weights where no context has choices on both sides, and the one to begin with.
        side: The largest scale of a position's effect; the one used where it cannot be chosen.
    """
    search = _Search(stacks)
    if not search.informed:
        return Scales(weight, side, [None] * len(stacks))
    sides = np.geomspace(min(SIDE_FLOOR, side), side, SIDE_GRID)
    has_side = side > SIDE_FLOOR and any(stack.n_intercepts for stack in stacks)
    if has_side:
        side = _best(sides, [search.evidence(weight, s, one_sided=True) for s in sides])
    grid = np.geomspace(*SCALE_RANGE, GRID)
    values = [search.evidence(tau, side) for tau in grid]
    weight = _best(grid, values)
    if has_side:
        near = np.clip(side * np.array([0.7, 1.0, 1.0 / 0.7]), sides[0], sides[-1])
        side = _best(near, [search.evidence(weight, s, one_sided=True) for s in near])
        near = weight * np.array([grid[0] / grid[1], 1.0, grid[1] / grid[0]])
        weight = _best(near, [search.evidence(tau, side) for tau in near])
    return Scales(float(np.clip(weight, *SCALE_RANGE)), float(side), search.latest)


def _best(grid: Floats, values: Sequence[float]) -> float:
    """Where a curve over the logarithm of an increasing grid is highest, by the parabola through its best three."""
    top = int(np.argmax(values))
    if not 0 < top < len(grid) - 1:
        return float(grid[top])
    (a, b, c), (left, middle, right) = np.log(grid[top - 1 : top + 2]), values[top - 1 : top + 2]
    if not a < b < c:
        return float(grid[top])
    rise, fall = (middle - left) / (b - a), (right - middle) / (c - b)
    bend = rise - fall  # of a highest point positive, or 0 on a plateau
    return float(np.exp(0.5 * (a + b) + 0.5 * (c - a) * rise / bend)) if bend > 0 else float(grid[top])


class _Search:
    """Evidence at one pair of scales after the other, each fit continued from those before."""

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.stacks = stacks
        self.both = [_both_sides(stack) for stack in stacks]
        self.informed = any(both.any() for both in self.both)
        self.latest: list[Floats | None] = [None] * len(stacks)
        self._before: list[Floats | None] = [None] * len(stacks)

    def evidence(self, weight: float, side: float, *, one_sided: bool = False) -> float:
        """Pooled log evidence, with or without the contexts that chose one side only."""
        total = 0.0
        for number, stack in enumerate(self.stacks):
            prior_sd = np.array([weight] * stack.n_weights + [side] * stack.n_intercepts)
            latest, before = self.latest[number], self._before[number]
            # Modes move smoothly along a grid: two of them in line are close to the third.
            start = latest if latest is None or before is None else 2.0 * latest - before
            coef, evidence = modes(stack.design, stack.outcome, prior_sd, stack.case, start, TOLERANCE)
            self._before[number], self.latest[number] = latest, coef
            total += float(evidence[(stack.n_trials > 0) if one_sided else self.both[number]].sum())
        return total


def _both_sides(stack: Stack) -> NDArray[np.bool_]:
    chosen = np.einsum("cn,cnk->ck", stack.case, stack.outcome)
    total = stack.case.sum(axis=1)
    most = np.maximum(chosen.max(axis=1), total - chosen.sum(axis=1))
    result: NDArray[np.bool_] = most < total
    return result
