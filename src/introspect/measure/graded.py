"""Weights from graded answers: how probable each label was, and not only which one was chosen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from introspect.measure.choice_table import ChoiceTable
from introspect.measure.diagnostics import DETECTION_LEVEL
from introspect.measure.newton import MapFit, fit_map
from introspect.measure.stacks import Stack

__all__ = ["FRACTIONAL_SD", "fit_fractional", "fit_ols", "fractional_prior", "grade", "regrade_flags", "weighted_ols"]

Floats = NDArray[np.float64]

NEARLY_ALL = 0.95
"""Share of the answered trials that must show both labels' probabilities for least squares."""

FRACTIONAL_SD = 10.0
"""Prior standard deviation of a weight in the fractional logit, in logits. It keeps saturated probabilities finite; of
2.5 to 50 it lost least in direction, over clear and noisy choosers with 10 to 50 trials."""


def grade(stack: Stack, choices: ChoiceTable, mode: str) -> list[Stack]:
    """Split a stack of two-option trials by what its scenarios' answers allow.

    Least squares where (nearly) all answered trials show both labels' log-probabilities, fractional logit where some
    are missing or lie at the floor of a truncated list, plain choices where there are none.

    Args:
        stack: Two-option trials of the table.
        choices: Where they come from.
        mode: "auto", or "ols" or "fractional" to use that one wherever any answer is graded.

    Returns:
        Stacks whose `graded` says what their outcomes are; scenarios with too few graded answers for least squares
        are left with their choices, marked `short`.
    """
    at = np.maximum(stack.rows, 0)
    both = np.where((stack.rows >= 0)[..., None], choices.logprob[at][..., :2], np.nan)
    floor = np.where(stack.rows >= 0, choices.logprob_floor[at], np.nan)
    # An absent label and one that is not above the floor say the same: it was no more probable than that.
    shown = np.isfinite(both) & ~(both <= floor[..., None])
    used = stack.case > 0
    full = used & shown.all(axis=2)
    some = used & shown.any(axis=2)
    n_used, n_full, n_some = used.sum(axis=1), full.sum(axis=1), some.sum(axis=1)
    if mode == "auto":
        ols = (n_full > 0) & (n_full >= NEARLY_ALL * n_used)
        fractional = (n_some > 0) & ~ols
    else:
        ols, fractional = (n_full > 0) & (mode == "ols"), (n_some > 0) & (mode == "fractional")
    with np.errstate(invalid="ignore", over="ignore"):
        log_odds = np.where(full, both[..., 0] - both[..., 1], 0.0)
        share = _share(both, floor, shown, used, stack.outcome[..., 0])
    # Least squares needs full rank with a trial to spare, or there is no residual to judge its errors by.
    case = np.where(ols[:, None], full, used).astype(float)
    kept = stack.design[:, :, 0] * case[..., None]
    rank = np.linalg.matrix_rank(np.matmul(np.swapaxes(kept, 1, 2), kept), hermitian=True)
    short = ols & ((n_full <= stack.design.shape[3]) | (rank < stack.design.shape[3]))
    ols &= ~short
    parts = []
    plain = ~ols & ~fractional
    for where, changes in (
        (plain & ~short, {}),
        (short, {"short": True}),
        (fractional, {"graded": "fractional", "outcome": share[fractional][..., None]}),
    ):
        if where.any():
            parts.append(stack.select(where, **changes))
    if ols.any():
        n_trials = full[ols].sum(axis=1)
        parts.append(
            stack.select(
                ols,
                graded="ols",
                outcome=share[ols][..., None],
                case=full[ols].astype(float),
                log_odds=log_odds[ols],
                n_trials=n_trials,
                n_missing=stack.n_missing[ols] + stack.n_trials[ols] - n_trials,
            )
        )
    return parts


def _share(both: Floats, floor: Floats, shown: NDArray[np.bool_], used: NDArray[np.bool_], chosen: Floats) -> Floats:
    """P(first) among the two labels, [C, N]: half the floor's probability for a label below it, and the choice itself
    where nothing is known."""
    below = floor - np.log(2.0)
    value = np.where(shown, both, below[..., None])
    known = np.isfinite(value).all(axis=2) & shown.any(axis=2)
    graded = 0.5 + 0.5 * np.tanh((value[..., 0] - value[..., 1]) / 2.0)
    # One label listed and no floor given: all that is known is that the other was not in the list.
    alone = shown[..., 0] & ~shown[..., 1]
    other = shown[..., 1] & ~shown[..., 0]
    result = np.where(known, graded, np.where(alone, 1.0, np.where(other, 0.0, chosen)))
    return np.where(used, result, 0.0)


def weighted_ols(design: Floats, log_odds: Floats, case: Floats) -> Floats:
    """Least squares of log-odds for every set of case weights: [C, N, Q], [C, N], [C, N, R] -> [C, Q, R]."""
    n_coef = design.shape[2]
    upper = np.triu_indices(n_coef)
    turned = np.ascontiguousarray(np.swapaxes(design, 1, 2))
    packed = np.matmul(turned[:, upper[0]] * turned[:, upper[1]], case)
    right = np.matmul(turned, case * log_odds[..., None])
    gram = np.empty((design.shape[0], case.shape[2], n_coef, n_coef))
    for k, (i, j) in enumerate(zip(*upper, strict=True)):
        gram[:, :, i, j] = gram[:, :, j, i] = packed[:, k]
    scale = np.trace(gram, axis1=2, axis2=3)[..., None, None]
    # A resample may lack a direction; the ridge of rounding size leaves it at the shortest solution.
    gram += (1e-12 * scale + 1e-300) * np.eye(n_coef)
    coef = np.linalg.solve(gram, np.moveaxis(right, 1, 2)[..., None])[..., 0]
    return np.asarray(np.moveaxis(coef, 2, 1))


def fit_ols(stack: Stack) -> MapFit:
    """Least squares on unclipped log-odds with a heteroscedasticity-robust (HC3) covariance.

    Two labels' log-odds are the utility difference itself, so no link is needed; what remains (idiosyncrasies of a
    pair, curvature) is error of unknown and uneven size, for which the Bernoulli information would be wrong.
    """
    assert stack.log_odds is not None
    x, case = stack.design[:, :, 0], stack.case
    turned = np.swapaxes(x, 1, 2)
    inverse = np.linalg.inv(np.matmul(turned, case[..., None] * x))
    right = np.matmul(turned, (case * stack.log_odds)[..., None])
    coef = np.matmul(inverse, right)[..., 0]
    residual = stack.log_odds - np.matmul(x, coef[..., None])[..., 0]
    hat = case * (np.matmul(x, inverse) * x).sum(axis=2)
    cov = _sandwich(x, case, residual, hat, inverse)
    n = stack.n_trials
    variance = (case * residual**2).sum(axis=1) / n
    with np.errstate(divide="ignore"):
        likelihood = -0.5 * n * (np.log(2.0 * np.pi * variance) + 1.0)
    gradient = np.abs(np.matmul(turned, (case * residual)[..., None])[..., 0]).max(axis=1)
    missing = np.full(len(n), np.nan)
    return MapFit(coef, cov, likelihood, missing, gradient, np.isfinite(coef).all(axis=1), 1)


def fractional_prior(stack: Stack, side: float) -> Floats:
    """Prior standard deviations of a fractional logit, weights before intercepts."""
    return np.array([FRACTIONAL_SD] * stack.n_weights + [side] * stack.n_intercepts)


def fit_fractional(stack: Stack, side: float) -> MapFit:
    """Fractional logit (Papke and Wooldridge 1996) with a sandwich covariance.

    Args:
        stack: Probabilities of the first option.
        side: Prior standard deviation of a position's effect, in logits.
    """
    fit = fit_map(stack.design, stack.outcome, fractional_prior(stack, side), stack.case)
    x = stack.design[:, :, 0]
    chance = 0.5 + 0.5 * np.tanh(np.matmul(x, fit.coef[..., None])[..., 0] / 2.0)
    residual = stack.outcome[..., 0] - chance
    hat = stack.case * chance * (1.0 - chance) * (np.matmul(x, fit.cov) * x).sum(axis=2)
    cov = _sandwich(x, stack.case, residual, hat, fit.cov)
    missing = np.full(len(stack.scenario_ids), np.nan)
    return MapFit(fit.coef, cov, fit.log_likelihood, missing, fit.gradient, fit.converged, fit.iterations)


def _sandwich(x: Floats, case: Floats, residual: Floats, hat: Floats, bread: Floats) -> Floats:
    """HC3: each squared residual as if its own trial had been left out of the fit."""
    apart = residual / np.maximum(1.0 - hat, 1e-6)
    pulled = (case * apart)[..., None] * np.matmul(x, bread)
    cov = np.matmul(np.swapaxes(pulled, 1, 2), pulled)
    # Log-odds that are exactly linear leave no residual; the covariance must still be a covariance.
    least = 1e-24 * np.maximum(np.trace(bread, axis1=1, axis2=2), 1e-12)
    return np.asarray(cov + least[:, None, None] * np.eye(x.shape[2]))


def regrade_flags(stack: Stack, fit: MapFit, flags: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Flags of least-squares fits: what choices alone would say does not hold, and "undetected" is an F test with
    the robust covariance."""
    from scipy.special import fdtrc

    width = stack.n_weights
    block = np.linalg.pinv(fit.cov[:, :width, :width], rcond=1e-12, hermitian=True)
    wald = np.einsum("cp,cpq,cq->c", fit.coef[:, :width], block, fit.coef[:, :width])
    spare = np.maximum(stack.n_trials - stack.design.shape[3], 1)
    detected = fdtrc(width, spare, wald / width) < DETECTION_LEVEL
    void = ("undetected", "separated", "one_sided")
    return [
        (*(flag for flag in found if flag not in void), *(() if seen else ("undetected",)))
        for found, seen in zip(flags, detected, strict=True)
    ]
