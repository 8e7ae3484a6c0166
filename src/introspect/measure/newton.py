"""Ridge (MAP) conditional logit for many contexts at once, by Newton's method on stacked arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError
from introspect.measure.elimination import FEW, solve_positive

__all__ = ["MapFit", "fit_map", "modes"]

Floats = NDArray[np.float64]

STEP_CAP = 8.0
"""Furthest that one Newton step may move any trial's utility, in logits: under separation steps would run away."""

CHUNK = 20_000
"""Trials x rival options worked on at once: what a core keeps in its own cache."""


@dataclass(frozen=True)
class MapFit:
    """Posterior modes and their Laplace approximation, one row per context.

    Attributes:
        coef: Modes, [C, Q].
        cov: Inverse negative Hessian of the log posterior at the mode, [C, Q, Q].
        log_likelihood: At the mode, [C].
        log_evidence: Laplace approximation of the log marginal likelihood, [C]; what a prior scale is chosen
            by. NaN without a proper prior.
        gradient: Largest absolute element of the log posterior's gradient at the mode, [C].
        converged: Gradient below the tolerance, [C].
        iterations: Newton steps that the slowest context took.
    """

    coef: Floats
    cov: Floats
    log_likelihood: Floats
    log_evidence: Floats
    gradient: Floats
    converged: NDArray[np.bool_]
    iterations: int


def fit_map(
    design: Floats,
    outcome: Floats,
    prior_sd: Floats,
    weights: Floats | None = None,
    *,
    start: Floats | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
) -> MapFit:
    """Posterior mode of a conditional logit under independent normal priors centred on zero.

    Each option but the last has a row of differences to the last option; the last option's utility is
    therefore 0. Contexts with fewer trials are padded with rows of weight 0, so one call fits them all.

    Args:
        design: Differences to the last option, [C, N, J - 1, Q] for J options and Q coefficients.
        outcome: 1 where that option was chosen, else 0 (fractions allowed), [C, N, J - 1].
        prior_sd: Prior standard deviation of each coefficient, [Q] or [C, Q], in logits. Infinite is no prior, so
            that the mode is the maximum of the likelihood; it has to exist, and there is no evidence then.
        weights: Case weights, [C, N]; 0 is padding, 2 is the same as the row twice. Ones if not given.
        start: Coefficients to start from, [C, Q]; zeros if not given.
        tolerance: Largest absolute gradient element at which a context counts as converged.
        max_iterations: Newton steps after which a context is given up as not converged.

    Raises:
        MeasureError: Shapes that do not fit together, or numbers that are not finite.

    Example:
        >>> x = np.array([[[[1.0]], [[-1.0]], [[0.5]]]])            # one context, three trials, two options
        >>> fit = fit_map(x, np.array([[[1.0], [0.0], [1.0]]]), np.array([5.0]))
        >>> bool(fit.converged[0]), fit.coef.shape, bool(fit.coef[0, 0] > 0)
        (True, (1, 1), True)
    """
    n_contexts, n_trials, n_rivals, n_coef = design.shape
    case = np.ones((n_contexts, n_trials)) if weights is None else np.asarray(weights, dtype=float)
    sd = np.broadcast_to(np.asarray(prior_sd, dtype=float), (n_contexts, n_coef))
    if outcome.shape != (n_contexts, n_trials, n_rivals) or case.shape != (n_contexts, n_trials):
        raise MeasureError(
            f"a design of shape {design.shape} needs an outcome of shape {(n_contexts, n_trials, n_rivals)} "
            f"and weights of shape {(n_contexts, n_trials)}, got {outcome.shape} and {case.shape}"
        )
    if not (np.isfinite(design).all() and np.isfinite(outcome).all() and np.isfinite(case).all()):
        raise MeasureError("design, outcome and weights must be finite: give unusable trials weight 0 and zeros")
    if not (sd > 0).all() or (case < 0).any():
        raise MeasureError("prior standard deviations must be positive and case weights must not be negative")
    precision = 1.0 / sd**2
    begin = np.zeros((n_contexts, n_coef)) if start is None else np.asarray(start, dtype=float)
    size = max(1, CHUNK // max(n_trials * n_rivals, 1))
    parts = [
        _climb(design[c], outcome[c], case[c], precision[c], begin[c], tolerance, max_iterations)
        for c in (slice(first, first + size) for first in range(0, max(n_contexts, 1), size))
    ]
    coef, objective, gradient, hessian, likelihood = (np.concatenate([part[0][k] for part in parts]) for k in range(5))
    largest = np.abs(gradient).max(axis=1, initial=0.0)
    cov = np.linalg.inv(hessian)
    cov = (cov + np.swapaxes(cov, 1, 2)) / 2.0
    return MapFit(
        coef,
        np.asarray(cov, dtype=np.float64),
        likelihood,
        _log_evidence(objective, precision, np.linalg.slogdet(hessian)[1]),
        largest,
        largest <= 1e-8,
        max(part[1] for part in parts),
    )


def modes(
    design: Floats, outcome: Floats, prior_sd: Floats, case: Floats, start: Floats | None, tolerance: float
) -> tuple[Floats, Floats]:
    """Modes [C, Q] to a tolerance and Laplace log evidence [C]: `fit_map` without what a search does not need."""
    n_contexts, n_trials, n_rivals, n_coef = design.shape
    precision = np.broadcast_to(1.0 / prior_sd**2, (n_contexts, n_coef))
    begin = np.zeros((n_contexts, n_coef)) if start is None else start
    coef, evidence = np.empty((n_contexts, n_coef)), np.empty(n_contexts)
    size = max(1, CHUNK // max(n_trials * n_rivals, 1))
    for first in range(0, n_contexts, size):
        c = slice(first, first + size)
        found, _ = _climb(design[c], outcome[c], case[c], precision[c], begin[c], tolerance, 200)
        coef[c] = found[0]
        evidence[c] = _log_evidence(found[1], precision[c], solve_positive(found[3], found[2])[1])
    return coef, evidence


def _log_evidence(objective: Floats, precision: Floats, log_det: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        value = objective + 0.5 * np.log(precision).sum(axis=1) - 0.5 * log_det
    return np.where(np.isfinite(value), value, np.nan)


def _climb(
    design: Floats,
    outcome: Floats,
    case: Floats,
    precision: Floats,
    begin: Floats,
    tolerance: float,
    max_iterations: int,
) -> tuple[tuple[Floats, Floats, Floats, Floats, Floats], int]:
    """Modes, then objective, gradient, negative Hessian and log-likelihood there; and the steps taken."""
    coef = begin.copy()
    flat = design.reshape(len(design), design.shape[1] * design.shape[2], design.shape[3])
    active = np.arange(len(design))
    iterations = 0
    objective, gradient, hessian, likelihood = _evaluate(design, outcome, case, precision, coef)
    while True:
        # Converged contexts leave the active set, so one slow context does not cost the others anything.
        active = active[np.abs(gradient[active]).max(axis=1, initial=0.0) > tolerance]
        if not active.size or iterations >= max_iterations:
            break
        iterations += 1
        step = _solve(hessian[active], gradient[active])
        moved = np.abs(np.matmul(flat[active], step[..., None])).max(axis=(1, 2), initial=0.0)
        step *= np.minimum(1.0, STEP_CAP / np.maximum(moved, 1e-300))[:, None]
        pending = active
        for _ in range(40):
            trial = coef[pending] + step
            whole = len(pending) == len(coef)
            at = slice(None) if whole else pending
            values = _evaluate(design[at], outcome[at], case[at], precision[at], trial)
            # A step must earn a little of what its slope promises, or capped ones could jump to and fro for ever. The
            # slack is rounding in the objective, which hides the last Newton steps' true rise.
            promised = 1e-4 * (gradient[pending] * step).sum(axis=1)
            good = values[0] >= objective[pending] + promised - 1e-11 * (1.0 + np.abs(objective[pending]))
            if whole and good.all():
                coef, (objective, gradient, hessian, likelihood) = trial, values
                pending = pending[:0]
                break
            done = pending[good]
            coef[done] = trial[good]
            for stored, fresh in zip((objective, gradient, hessian, likelihood), values, strict=True):
                stored[done] = fresh[good]
            pending, step = pending[~good], step[~good] / 2.0
            if not pending.size:
                break
        if pending.size:  # no ascent left at machine precision: as good as it gets
            active = np.setdiff1d(active, pending)
    return (coef, objective, gradient, hessian, likelihood), iterations


def _solve(matrix: Floats, vector: Floats) -> Floats:
    if len(matrix) < FEW:
        return np.asarray(np.linalg.solve(matrix, vector[..., None])[..., 0])
    return solve_positive(matrix, vector)[0]


def _evaluate(
    design: Floats, outcome: Floats, case: Floats, precision: Floats, coef: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Log posterior (up to a constant), its gradient, its negative Hessian, and the log-likelihood."""
    if design.shape[2] == 1:
        return _evaluate_pairs(design[:, :, 0], outcome[..., 0], case, precision, coef)
    n_contexts, n_trials, n_rivals, n_coef = design.shape
    flat = design.reshape(n_contexts, n_trials * n_rivals, n_coef)
    eta = np.matmul(flat, coef[..., None])[..., 0].reshape(n_contexts, n_trials, n_rivals)
    top = np.maximum(eta.max(axis=2), 0.0)
    powers = np.exp(eta - top[..., None])
    total = powers.sum(axis=2) + np.exp(-top)
    chance = powers / total[..., None]
    likelihood = (case * ((outcome * eta).sum(axis=2) - top - np.log(total))).sum(axis=1)
    objective = likelihood - 0.5 * (precision * coef**2).sum(axis=1)
    residual = (case[..., None] * (outcome - chance)).reshape(n_contexts, 1, n_trials * n_rivals)
    gradient = np.matmul(residual, flat)[:, 0] - precision * coef
    weighted = (case[..., None] * chance).reshape(n_contexts, n_trials * n_rivals, 1)
    hessian = np.matmul(np.swapaxes(flat, 1, 2), weighted * flat)
    mean = (chance[..., None] * design).sum(axis=2)
    hessian -= np.matmul(np.swapaxes(mean, 1, 2), case[..., None] * mean)
    hessian[:, np.arange(n_coef), np.arange(n_coef)] += precision
    return objective, gradient, hessian, likelihood


def _evaluate_pairs(
    x: Floats, y: Floats, case: Floats, precision: Floats, coef: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """The same for two options, where all follows from one exponential that cannot overflow."""
    eta = np.matmul(x, coef[..., None])[..., 0]
    size = np.abs(eta)
    tail = np.exp(-size)
    near = 1.0 / (1.0 + tail)  # probability of the likelier option
    chance = np.where(eta >= 0, near, tail * near)
    # y eta - log(1 + exp(eta)), without the difference of large numbers
    surprise = np.where(eta >= 0, 1.0 - y, y) * size + np.log1p(tail)
    likelihood = -(case * surprise).sum(axis=1)
    objective = likelihood - 0.5 * (precision * coef**2).sum(axis=1)
    gradient = np.matmul((case * (y - chance))[:, None], x)[:, 0] - precision * coef
    hessian = np.matmul(np.swapaxes(x, 1, 2), (case * tail * near**2)[..., None] * x)
    diagonal = np.arange(x.shape[2])
    hessian[:, diagonal, diagonal] += precision
    return objective, gradient, hessian, likelihood
