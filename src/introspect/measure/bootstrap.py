"""Resampled trials as case weights, and the weights fitted to every resample."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from introspect._random import stream
from introspect.measure.firth import fit_firth
from introspect.measure.graded import weighted_ols
from introspect.measure.newton import fit_map
from introspect.measure.replicates import fit_replicates
from introspect.measure.stacks import Stack

__all__ = ["half_weights", "refit", "resample_weights"]

Floats = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], Floats]

CHUNK = 4_000_000
"""Case weights held at once (32 MB)."""


def resample_weights(n_boot: int) -> Draw:
    """How often each of n trials is drawn when n are drawn with replacement, [n, n_boot]."""

    def draw(n: int, rng: np.random.Generator) -> Floats:
        picks = rng.integers(0, n, (n_boot, n))
        picks *= n_boot
        picks += np.arange(n_boot)[:, None]
        return np.bincount(picks.ravel(), minlength=n * n_boot).reshape(n, n_boot).astype(np.float64)

    return draw


def half_weights(n_splits: int) -> Draw:
    """Random halves of n trials, [n, 2 n_splits]: the first halves, then their complements.

    Of an odd number of trials the second half has one more.
    """

    def draw(n: int, rng: np.random.Generator) -> Floats:
        order = rng.permuted(np.tile(np.arange(n), (n_splits, 1)), axis=1)
        first = (order < n // 2).T.astype(np.float64)
        return np.concatenate([first, 1.0 - first], axis=1)

    return draw


def refit(
    stack: Stack, estimator: str, prior_sd: Floats, draw: Draw, n_replicates: int, seed: int, name: str
) -> Iterator[tuple[str, Floats]]:
    """Weights of every replicate of every scenario of a stack, (scenario id, [R, P]), in chunks of bounded memory.

    Scenarios without usable trials are NaN, and so are replicates in which the estimator has no optimum.
    """
    n_contexts, n_trials = stack.case.shape
    size = max(1, CHUNK // max(n_trials * n_replicates, 1))
    for first in range(0, n_contexts, size):
        part = stack.select(np.arange(first, min(first + size, n_contexts)))
        case = np.zeros((len(part.scenario_ids), n_trials, n_replicates))
        for c, scenario_id in enumerate(part.scenario_ids):
            used = np.flatnonzero(part.case[c])
            if used.size:
                case[c, used] = draw(used.size, stream(seed, name, scenario_id))
        coef = _fit(part, estimator, prior_sd, case)[:, : part.n_weights]
        coef[part.n_trials == 0] = np.nan
        for c, scenario_id in enumerate(part.scenario_ids):
            yield scenario_id, np.ascontiguousarray(coef[c].T)


def _fit(stack: Stack, estimator: str, prior_sd: Floats, case: Floats) -> Floats:
    """Coefficients [C, Q, R]."""
    x = stack.design[:, :, 0]
    if stack.graded == "ols":
        assert stack.log_odds is not None
        return weighted_ols(x, stack.log_odds, case)
    if stack.graded == "fractional":
        return fit_replicates(x, stack.outcome[..., 0], prior_sd, case).coef
    if estimator == "firth":
        return _flattened(stack, case, lambda d, y, w: fit_firth(d, y, w).coef)
    if stack.design.shape[2] == 1:
        return fit_replicates(x, stack.outcome[..., 0], prior_sd, case).coef
    return _flattened(stack, case, lambda d, y, w: _general(d, y, w, prior_sd))


def _general(design: Floats, outcome: Floats, case: Floats, prior_sd: Floats) -> Floats:
    from introspect.measure.separation import separated

    if np.isfinite(prior_sd).all():
        return fit_map(design, outcome, prior_sd, case).coef
    coef = np.full((len(design), design.shape[3]), np.nan)
    sound = ~separated(design, outcome, case, flat=True)
    coef[sound] = fit_map(design[sound], outcome[sound], prior_sd, case[sound]).coef
    return coef


def _flattened(stack: Stack, case: Floats, fit: Callable[[Floats, Floats, Floats], Floats]) -> Floats:
    """Every replicate as a context of its own, a chunk at a time."""
    n_contexts, _, n_replicates = case.shape
    coef = np.empty((n_contexts, stack.design.shape[3], n_replicates))
    contexts, replicates = (a.ravel() for a in np.indices((n_contexts, n_replicates)))
    size = max(1, CHUNK // 4 // max(stack.design[0].size, 1))
    for first in range(0, len(contexts), size):
        c, r = contexts[first : first + size], replicates[first : first + size]
        coef[c, :, r] = fit(stack.design[c], stack.outcome[c], case[c, :, r])
    return coef
