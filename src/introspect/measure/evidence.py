"""One prior scale for all contexts, chosen by their pooled evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from introspect.measure.newton import fit_map
from introspect.measure.stacks import Stack

__all__ = ["SCALE_RANGE", "choose_scale"]

Floats = NDArray[np.float64]

SCALE_RANGE = (0.5, 20.0)
"""Smallest and largest prior standard deviation of a weight, in logits. Where choices follow the weights without noise,
the evidence grows without bound; beyond 20 logits nothing is gained in direction, and intervals lose their honesty."""

GRID = 19


def choose_scale(
    stacks: Sequence[Stack], prior_sd: Callable[[float, int, int], Floats], fallback: float
) -> tuple[float, list[Floats | None]]:
    """Empirical Bayes: the scale at which the choices of all contexts together are most probable.

    The Laplace approximation of each context's log marginal likelihood is summed over contexts on a logarithmic grid
    of 19 scales; a parabola through the best three places the maximum between them. Fits start from those of the
    scale before. Contexts without choices, or with all of them on one side, have no say.

    Args:
        stacks: Choices.
        prior_sd: (scale, number of weights, number of intercepts) -> prior standard deviations.
        fallback: The scale where no context has a say.

    Returns:
        The scale, and for each stack coefficients near its modes [C, Q] to start a fit from (None where there are
        none).
    """
    informed = [np.flatnonzero(_informative(stack)) for stack in stacks]
    parts = [stack.select(at) for stack, at in zip(stacks, informed, strict=True)]
    if not any(at.size for at in informed):
        return fallback, [None] * len(stacks)
    grid = np.geomspace(*SCALE_RANGE, GRID)
    evidence = np.zeros(GRID)
    starts: list[list[Floats | None]] = []
    current: list[Floats | None] = [None] * len(parts)
    for g, scale in enumerate(grid):
        for number, part in enumerate(parts):
            if not len(part.scenario_ids):
                continue
            sd = prior_sd(float(scale), part.n_weights, part.n_intercepts)
            # The evidence is flat at the mode: an error of 1e-4 in the gradient moves it by about 1e-8.
            fit = fit_map(part.design, part.outcome, sd, part.case, start=current[number], tolerance=1e-4)
            current[number] = fit.coef
            evidence[g] += fit.log_evidence.sum()
        starts.append(list(current))
    best = int(evidence.argmax())
    scale = float(grid[best])
    if 0 < best < GRID - 1:
        left, middle, right = evidence[best - 1 : best + 2]
        bend = left - 2.0 * middle + right
        if bend < 0:
            scale *= float((grid[1] / grid[0]) ** (0.5 * (left - right) / bend))
    begin: list[Floats | None] = []
    for stack, at, start in zip(stacks, informed, starts[best], strict=True):
        coef = np.zeros((len(stack.scenario_ids), stack.design.shape[3]))
        if start is not None:
            coef[at] = start
        begin.append(coef)
    return float(np.clip(scale, *SCALE_RANGE)), begin


def _informative(stack: Stack) -> NDArray[np.bool_]:
    chosen = np.einsum("cn,cnk->ck", stack.case, stack.outcome)
    total = stack.case.sum(axis=1)
    most = np.maximum(chosen.max(axis=1), total - chosen.sum(axis=1))
    result: NDArray[np.bool_] = most < total
    return result
