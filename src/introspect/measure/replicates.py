"""Ridge logits of many reweighted copies of the same trials, several contexts at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError
from introspect.measure.newton import STEP_CAP, fit_map

__all__ = ["Replicates", "fit_replicates"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

CHUNK = 50_000
"""Trials x replicates worked on at once: what a core keeps in its own cache."""

ROUGH = 1e-3
"""Newton step, in logits, below which single precision has done its part."""

FINE = 3e-6
"""Double-precision step below which a replicate is done. Its error is smaller by the error of the Hessian, which was
taken at most `ROUGH` away."""

MAX_ROUGH = 30
MAX_FINE = 6


@dataclass(frozen=True)
class Replicates:
    """Fits of every replicate of every context.

    Attributes:
        coef: Modes, [C, Q, R]; NaN where there is none.
        converged: [C, R].
    """

    coef: Floats
    converged: NDArray[np.bool_]


def fit_replicates(
    design: Floats,
    outcome: NDArray[np.floating],
    prior_sd: Floats,
    case: NDArray[np.floating] | None = None,
    *,
    start: Floats | None = None,
) -> Replicates:
    """Posterior modes of two-option logits for R versions of the same trials that differ in case weights or
    outcomes.

    A bootstrap replicate is a row of case weights and not a copy of the trials, so that all replicates share the
    matrix products: utilities, gradients and all Hessians of R replicates are three products with one design. The
    small systems are eliminated for all replicates together. Newton's method runs in single precision until its
    steps are small, since there a wrong digit costs nothing, and the last steps use the gradient in double precision.

    Args:
        design: First option minus second, [C, N, Q].
        outcome: 1 where the first was chosen, fractions allowed, [C, N] or [C, N, R].
        prior_sd: Prior standard deviation of each coefficient, [Q], in logits; infinite for none.
        case: Case weights, [C, N] or [C, N, R]; ones if not given.
        start: Where to start, [C, Q]; the fit of the average replicate if not given.

    Returns:
        Modes to about 1e-8. Without a prior, replicates without a finite mode are NaN and not converged.

    Raises:
        MeasureError: Shapes that do not fit together.

    Example:
        >>> x = np.array([[[1.0], [-1.0], [0.5], [0.2]]])
        >>> twice = np.array([[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]])   # each trial once, or twice
        >>> fit_replicates(x, np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([5.0]), twice).coef.round(2)
        array([[[2.67, 2.98]]])
    """
    n_contexts, n_trials, n_coef = design.shape
    case = np.ones((n_contexts, n_trials)) if case is None else case
    outcome, case = (a[..., None] if a.ndim == 2 else a for a in (outcome, case))
    n_replicates = max(outcome.shape[2], case.shape[2])
    for array in (outcome, case):
        if array.shape[:2] != (n_contexts, n_trials) or array.shape[2] not in (1, n_replicates):
            raise MeasureError(
                f"a design of shape {design.shape} needs outcomes and case weights of shape {(n_contexts, n_trials)} "
                f"or {(n_contexts, n_trials, n_replicates)}, got {outcome.shape} and {case.shape}"
            )
    precision = 1.0 / np.broadcast_to(np.asarray(prior_sd, dtype=float), (n_coef,)) ** 2
    coef = np.empty((n_contexts, n_coef, n_replicates))
    converged = np.empty((n_contexts, n_replicates), dtype=bool)
    replicate_step = min(n_replicates, max(1, CHUNK // max(n_trials, 1)))
    context_step = max(1, CHUNK // max(n_trials * replicate_step, 1))
    for first in range(0, n_contexts, context_step):
        c = slice(first, first + context_step)
        pair = _Pairs(design[c], precision)
        begin = start[c] if start is not None else None
        if begin is None and n_replicates > 1:
            share = case[c].mean(axis=2, keepdims=True)
            mean = (case[c] * outcome[c]).mean(axis=2, keepdims=True) / np.where(share > 0, share, 1.0)
            begin = pair.fit(mean, share, None)[0][..., 0]
            begin[~np.isfinite(begin).all(axis=1)] = 0.0
        for lowest in range(0, n_replicates, replicate_step):
            r = slice(lowest, lowest + replicate_step)
            y, w = (a[c] if a.shape[2] == 1 else a[c, :, r] for a in (outcome, case))
            coef[c, :, r], converged[c, r] = pair.fit(y, w, begin)
    return Replicates(coef, converged)


class _Pairs:
    """The products of one chunk's designs that all its replicates share."""

    def __init__(self, design: Floats, precision: Floats) -> None:
        n_coef = design.shape[2]
        upper = np.triu_indices(n_coef)
        self.design = design
        self.precision = precision
        self.turned = np.ascontiguousarray(np.swapaxes(design, 1, 2))
        self.minus32 = (-design).astype(np.float32)
        self.turned32 = self.turned.astype(np.float32)
        self.outer32 = self.turned32[:, upper[0]] * self.turned32[:, upper[1]]
        place = np.empty((n_coef, n_coef), dtype=np.intp)
        place[upper] = place.T[upper] = np.arange(len(upper[0]))
        self.place = place

    def fit(
        self, outcome: NDArray[np.floating], case: NDArray[np.floating], start: Floats | None
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Modes [C, Q, R] and which of them were found."""
        n_contexts, _, n_coef = self.design.shape
        n_replicates = max(outcome.shape[2], case.shape[2])
        wide = (n_contexts, case.shape[1], n_replicates)
        w = np.ascontiguousarray(np.broadcast_to(case, wide), dtype=np.float64)
        linear = np.matmul(self.turned, w * outcome)
        coef = np.zeros((n_contexts, n_coef, n_replicates))
        if start is not None:
            coef += start[..., None]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            factors = self._rough(w, linear, coef)
            done = self._fine(w, linear, coef, factors)
        self._rest(w, outcome, coef, done)
        return coef, done

    def _rough(self, w: Floats, linear: Floats, coef: Floats) -> Singles:
        """Newton's method in single precision; the coefficients change in place, the last factors return."""
        n_contexts, n_coef, n_replicates = coef.shape
        factors = np.empty((n_coef, n_coef, n_contexts, n_replicates), dtype=np.float32)
        precision = self.precision.astype(np.float32)[:, None]
        over_contexts = (
            n_contexts > 1
        )  # converged ones leave along one axis: contexts, or the replicates of one context
        active = np.arange(n_contexts if over_contexts else n_replicates)
        x, xt, outer = self.minus32, self.turned32, self.outer32
        w32, lin, b = w.astype(np.float32), linear.astype(np.float32), coef.astype(np.float32)
        last, slope = np.zeros_like(b), np.zeros((n_contexts, n_replicates), dtype=np.float32)
        for turn in range(MAX_ROUGH):
            p = np.matmul(x, b)
            np.exp(p, out=p)
            p += 1.0
            np.reciprocal(p, out=p)
            v = w32 * p
            gradient = lin - np.matmul(xt, v) - precision * b
            p *= v
            v -= p
            hessian = np.matmul(outer, v).swapaxes(0, 1)[self.place]
            for q in range(n_coef):
                hessian[q, q] += precision[q]
            step = gradient.swapaxes(0, 1).copy()
            _eliminate(hessian)
            _substitute(hessian, step)
            step = step.swapaxes(0, 1)
            longest = np.abs(step).max(axis=1)
            step *= np.minimum(1.0, STEP_CAP / longest)[:, None]
            # Where the slope along the last step has turned steeply down, the step went too far: go half-way back.
            far = (last * gradient).sum(axis=1) < -0.5 * slope if turn else np.zeros(slope.shape, dtype=bool)
            rise = (step * gradient).sum(axis=1)
            if far.any():
                step = np.where(far[:, None], -0.5 * last, step)
                last = np.where(far[:, None], 0.5 * last, step)
                slope = np.where(far, slope, rise)
            else:
                last, slope = step, rise
            b = b + step
            going = ~(longest < ROUGH) | far
            keep = going.any(axis=1) if over_contexts else going[0]
            if turn == MAX_ROUGH - 1 or not keep.any():
                _store(coef, factors, b, hessian, active, over_contexts)
                break
            if keep.mean() < 0.7:
                _store(coef, factors, b, hessian, active, over_contexts)
                active = active[keep]
                if over_contexts:
                    x, xt, outer, w32, lin, b, last, slope = (a[keep] for a in (x, xt, outer, w32, lin, b, last, slope))
                else:
                    w32, lin, b, last, slope = (a[..., keep] for a in (w32, lin, b, last, slope))
        return factors

    def _fine(self, w: Floats, linear: Floats, coef: Floats, factors: Singles) -> NDArray[np.bool_]:
        """Last steps, with double-precision gradients and the Hessians at hand; which replicates arrived."""
        from scipy.special import expit

        done = np.zeros((coef.shape[0], coef.shape[2]), dtype=bool)
        # A pivot that nearly vanished has no digits left in single precision.
        pivots = np.stack([factors[q, q] for q in range(len(factors))])
        sound = pivots.min(axis=0) > 1e-5 * pivots.max(axis=0)
        factors = factors.astype(np.float64)
        for _ in range(MAX_FINE):
            v = np.matmul(self.design, coef)
            expit(v, out=v)
            v *= w
            gradient = linear - np.matmul(self.turned, v) - self.precision[:, None] * coef
            step = gradient.swapaxes(0, 1).copy()
            _substitute(factors, step)
            length = np.abs(step).max(axis=0)
            coef += np.where(length < 1.0, step, 0.0).swapaxes(0, 1)
            done = sound & (length < FINE)
            if (done | ~sound | ~(length < 1.0)).all():
                break
        return done

    def _rest(self, w: Floats, outcome: NDArray[np.floating], coef: Floats, done: NDArray[np.bool_]) -> None:
        """What single precision could not do goes to the general path; without a prior it has no mode."""
        contexts, replicates = np.nonzero(~done)
        proper = bool((self.precision > 0).all())
        coef[contexts, :, replicates] = np.nan
        for first in range(0, len(contexts) if proper else 0, 1024):
            c, r = contexts[first : first + 1024], replicates[first : first + 1024]
            y = np.broadcast_to(outcome, w.shape)[c, :, r][..., None]
            fit = fit_map(self.design[c][:, :, None], y, self.precision**-0.5, w[c, :, r])
            coef[c, :, r], done[c, r] = fit.coef, fit.converged


def _store(
    coef: Floats,
    factors: Singles,
    b: Singles,
    hessian: Singles,
    active: NDArray[np.intp],
    over_contexts: bool,
) -> None:
    if over_contexts:
        coef[active], factors[:, :, active] = b, hessian
    else:
        coef[:, :, active], factors[..., active] = b, hessian


def _eliminate(matrix: NDArray[np.floating]) -> None:
    """LDL' of symmetric positive matrices [Q, Q, ...] in place: row j holds D L', from the diagonal on."""
    for j in range(len(matrix) - 1):
        factor = matrix[j, j + 1 :] / matrix[j, j]
        for i in range(len(factor)):
            matrix[j + 1 + i, j + 1 + i :] -= factor[i] * matrix[j, j + 1 + i :]


def _substitute(matrix: NDArray[np.floating], vector: NDArray[np.floating]) -> None:
    """Solve with what `_eliminate` left, for vectors [Q, ...] in place."""
    n = len(matrix)
    for j in range(n):
        vector[j] /= matrix[j, j]
        if j + 1 < n:
            vector[j + 1 :] -= matrix[j, j + 1 :] * vector[j]
    for j in range(n - 2, -1, -1):
        vector[j] -= (matrix[j, j + 1 :] * vector[j + 1 :]).sum(axis=0) / matrix[j, j]
