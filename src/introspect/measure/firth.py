"""Firth's bias-reduced logit: maximum of the likelihood times Jeffreys' prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError
from introspect.measure.newton import STEP_CAP, MapFit

__all__ = ["fit_firth"]

Floats = NDArray[np.float64]


def fit_firth(
    design: Floats,
    outcome: Floats,
    weights: Floats | None = None,
    *,
    start: Floats | None = None,
    tolerance: float = 1e-9,
    max_iterations: int = 200,
) -> MapFit:
    """Maximum of the log-likelihood plus half the log-determinant of the information (Firth 1993), two options.

    It is finite even where the choices are separated (Heinze and Schemper 2002), as long as no predictor is
    redundant. The step is the modified score against the information, halved until the penalised likelihood rises;
    once steps are small the true curvature is used, for which scoring is only an approximation.

    Args:
        design: First option less second, [C, N, 1, Q].
        outcome: 1 where the first was chosen, [C, N, 1].
        weights: Case weights, [C, N]; 2 is the same as the row twice. Ones if not given.
        start: Coefficients to start from, [C, Q].
        tolerance: Largest absolute element of the modified score at which a context counts as converged.
        max_iterations: Steps after which a context is given up.

    Returns:
        Maxima; `cov` is the inverse information, `log_likelihood` leaves the penalty out and `log_evidence` is NaN.
        Contexts whose predictors are redundant, or that have no trials, have no maximum: NaN, not converged.

    Raises:
        MeasureError: More than two options.

    Example:
        >>> x = np.array([[[[1.0]], [[-1.0]], [[0.5]]]])                 # separated: every choice is explained
        >>> fit = fit_firth(x, np.array([[[1.0], [0.0], [1.0]]]))
        >>> bool(fit.converged[0]), bool(0 < fit.coef[0, 0] < 5)
        (True, True)
    """
    if design.shape[2] != 1:
        raise MeasureError(
            f"Firth's estimator is for trials of two options, these have {design.shape[2] + 1}; "
            'use estimator="eb" or "ridge"'
        )
    x, y = design[:, :, 0], outcome[..., 0]
    n_contexts, n_trials, n_coef = x.shape
    case = np.ones((n_contexts, n_trials)) if weights is None else np.asarray(weights, dtype=float)
    used = np.where(case[..., None] > 0, x, 0.0)
    sound = np.linalg.matrix_rank(np.matmul(np.swapaxes(used, 1, 2), used), hermitian=True) == n_coef
    coef = np.full((n_contexts, n_coef), np.nan)
    cov = np.full((n_contexts, n_coef, n_coef), np.nan)
    likelihood, largest = np.full(n_contexts, np.nan), np.full(n_contexts, np.nan)
    converged = np.zeros(n_contexts, dtype=bool)
    iterations = 0
    # M x M hat matrices are made for these; chunks keep them small.
    size = max(1, 2_000_000 // max(n_trials * n_trials, 1))
    rows = np.flatnonzero(sound)
    for first in range(0, len(rows), size):
        c = rows[first : first + size]
        begin = np.zeros((len(c), n_coef)) if start is None else np.nan_to_num(start[c])
        part = _fit(x[c], y[c], case[c], begin, tolerance, max_iterations)
        coef[c], cov[c], likelihood[c], largest[c] = part[:4]
        converged[c] = largest[c] <= max(tolerance, 1e-8)
        iterations = max(iterations, part[4])
    return MapFit(coef, cov, likelihood, np.full(n_contexts, np.nan), largest, converged, iterations)


def _fit(
    x: Floats, y: Floats, case: Floats, coef: Floats, tolerance: float, max_iterations: int
) -> tuple[Floats, Floats, Floats, Floats, int]:
    objective, score, inverse, likelihood, hat, chance = _evaluate(x, y, case, coef)
    active = np.arange(len(x))
    turn = 0
    while True:
        active = active[np.abs(score[active]).max(axis=1) > tolerance]
        if not active.size or turn >= max_iterations:
            break
        turn += 1
        step = np.matmul(inverse[active], score[active][..., None])[..., 0]
        near = np.flatnonzero(np.abs(np.matmul(x[active], step[..., None])).max(axis=(1, 2)) < 1.0)
        if near.size:
            a = active[near]
            step[near] = _curved(x[a], case[a], inverse[a], hat[a], chance[a], score[a], step[near])
        moved = np.abs(np.matmul(x[active], step[..., None])).max(axis=(1, 2))
        step *= np.minimum(1.0, STEP_CAP / np.maximum(moved, 1e-300))[:, None]
        pending = active
        for _ in range(30):
            trial = coef[pending] + step
            values = _evaluate(x[pending], y[pending], case[pending], trial)
            # The slack is rounding in the objective, which hides the last steps' true rise.
            good = values[0] >= objective[pending] - 1e-11 * (1.0 + np.abs(objective[pending]))
            done = pending[good]
            coef[done] = trial[good]
            for stored, fresh in zip((objective, score, inverse, likelihood, hat, chance), values, strict=True):
                stored[done] = fresh[good]
            pending, step = pending[~good], step[~good] / 2.0
            if not pending.size:
                break
        if pending.size:  # no rise left at machine precision: as good as it gets
            active = np.setdiff1d(active, pending)
    cov = (inverse + np.swapaxes(inverse, 1, 2)) / 2.0
    return coef, cov, likelihood, np.abs(score).max(axis=1, initial=0.0), turn


def _evaluate(
    x: Floats, y: Floats, case: Floats, coef: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Penalised log-likelihood, its gradient, the inverse information, the log-likelihood, hat values and chances."""
    eta = np.matmul(x, coef[..., None])[..., 0]
    chance = 0.5 + 0.5 * np.tanh(eta / 2.0)
    # p (1 - p) without cancellation: under separation the chances round to 0 and 1 long before the maximum.
    tail = np.exp(-np.abs(eta))
    spread = case * tail / (1.0 + tail) ** 2
    information = np.matmul(np.swapaxes(x, 1, 2), spread[..., None] * x)
    sign, log_det = np.linalg.slogdet(information)
    likelihood = (case * (y * eta - np.logaddexp(0.0, eta))).sum(axis=1)
    with np.errstate(all="ignore"):
        inverse = np.linalg.inv(np.where((sign > 0)[:, None, None], information, np.eye(x.shape[2])))
    hat = spread * (np.matmul(x, inverse) * x).sum(axis=2)
    score = np.matmul((case * (y - chance) + hat * (0.5 - chance))[:, None], x)[:, 0]
    objective = np.where(sign > 0, likelihood + 0.5 * log_det, -np.inf)
    return objective, score, inverse, likelihood, hat, chance


def _curved(
    x: Floats, case: Floats, inverse: Floats, hat: Floats, chance: Floats, score: Floats, scoring: Floats
) -> Floats:
    """Newton's step with the penalty's own curvature, where that matrix is positive; else the scoring step."""
    spread = case * chance * (1.0 - chance)
    tilt = 1.0 - 2.0 * chance
    reach = np.matmul(np.matmul(x, inverse), np.swapaxes(x, 1, 2)) ** 2
    along = spread * tilt
    # d hat_i = hat_i tilt_i x_i - spread_i sum_j spread_j tilt_j (x_i' I^-1 x_j)^2 x_j; the penalty's score is
    # hat_i tilt_i / 2 in direction x_i, and d tilt_i = -2 p_i (1 - p_i) x_i.
    diagonal = 0.5 * hat * tilt**2 - hat * chance * (1.0 - chance)
    xt = np.swapaxes(x, 1, 2)
    curvature = np.matmul(xt, diagonal[..., None] * x)
    curvature -= 0.5 * np.matmul(xt, along[..., None] * np.matmul(reach, along[..., None] * x))
    negative = np.matmul(xt, spread[..., None] * x) - curvature
    negative = (negative + np.swapaxes(negative, 1, 2)) / 2.0
    positive = np.linalg.eigvalsh(negative)[:, 0] > 1e-10 * np.abs(negative).max(axis=(1, 2))
    step = scoring.copy()
    if positive.any():
        step[positive] = np.linalg.solve(negative[positive], score[positive][..., None])[..., 0]
    return step
