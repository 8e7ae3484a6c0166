"""Ridge logits of many reweighted copies of the same trials, several contexts at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError
from introspect.measure.elimination import eliminate, substitute
from introspect.measure.newton import STEP_CAP, fit_map

__all__ = ["Replicates", "fit_replicates"]

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

CHUNK = 50_000
"""Trials x replicates worked on at once: what a core keeps in its own cache."""

ROUGH = 1e-3
"""Newton step, in logits, below which single precision has done its part."""

FINE = 1e-5
"""Double-precision step below which a fit is done: what is left is this times the error of a Hessian that was taken at
most `ROUGH` away."""

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
    if start is None and n_replicates > 1:
        share = case.mean(axis=2, keepdims=True)
        mean = (case * outcome).mean(axis=2, keepdims=True) / np.where(share > 0, share, 1.0)
        start = np.nan_to_num(fit_replicates(design, mean, prior_sd, share).coef[..., 0])
    coef = np.empty((n_contexts, n_coef, n_replicates))
    converged = np.empty((n_contexts, n_replicates), dtype=bool)
    replicate_step = min(n_replicates, max(1, CHUNK // max(n_trials, 1)))
    context_step = max(1, CHUNK // max(n_trials * replicate_step, 1))
    for first in range(0, n_contexts, context_step):
        c = slice(first, first + context_step)
        pairs = _Pairs(design[c], precision)
        begin = None if start is None else start[c]
        for lowest in range(0, n_replicates, replicate_step):
            r = slice(lowest, lowest + replicate_step)
            y, w = (a[c] if a.shape[2] == 1 else a[c, :, r] for a in (outcome, case))
            coef[c, :, r], converged[c, r] = pairs.fit(y, w, begin)
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
        self.diagonal = np.flatnonzero(upper[0] == upper[1])

    def fit(
        self, outcome: NDArray[np.floating], case: NDArray[np.floating], start: Floats | None
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Modes [C, Q, R] and which of them were found."""
        n_contexts, n_trials, n_coef = self.design.shape
        n_replicates = max(outcome.shape[2], case.shape[2])
        wide = (n_contexts, n_trials, n_replicates)
        w = np.ascontiguousarray(np.broadcast_to(case, wide), dtype=np.float64)
        if outcome.shape[2] == 1:
            linear = np.matmul(self.turned * outcome[..., 0][:, None], w)
        else:
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
        factors = np.empty((self.outer32.shape[1], n_contexts, n_replicates), dtype=np.float32)
        precision = self.precision.astype(np.float32)[:, None, None]
        # Converged fits leave along one axis: contexts, or the replicates of a single context.
        axis = 0 if n_contexts > 1 else 1
        active = np.arange(n_contexts if axis == 0 else n_replicates)
        x, xt, outer = self.minus32, self.turned32, self.outer32
        w32 = w.astype(np.float32)
        # Coefficients come first from here on, so that each step of the elimination is one pass over all fits.
        lin, b = (a.astype(np.float32).swapaxes(0, 1).copy() for a in (linear, coef))
        last, slope = np.zeros_like(b), np.zeros((n_contexts, n_replicates), dtype=np.float32)
        for turn in range(MAX_ROUGH):
            p = np.matmul(x, b.swapaxes(0, 1))
            np.exp(p, out=p)
            p += 1.0
            np.reciprocal(p, out=p)
            v = w32 * p
            gradient = lin - np.matmul(xt, v).swapaxes(0, 1)
            gradient -= precision * b
            p *= v
            v -= p
            hessian = np.ascontiguousarray(np.matmul(outer, v).swapaxes(0, 1))
            hessian[self.diagonal] += precision
            step = gradient.copy()
            eliminate(hessian, n_coef)
            substitute(hessian, step)
            longest = np.abs(step).max(axis=0)
            step *= np.minimum(1.0, STEP_CAP / longest)
            rise = np.einsum("qcr,qcr->cr", step, gradient)
            # Where the slope along the last step has turned steeply down, that step went too far: go half-way back.
            far = np.einsum("qcr,qcr->cr", last, gradient) < -0.5 * slope
            if turn and far.any():
                step = np.where(far, -0.5 * last, step)
                last = np.where(far, 0.5 * last, step)
                slope = np.where(far, slope, rise)
                going = ~(longest < ROUGH) | far
            else:
                last, slope = step, rise
                going = ~(longest < ROUGH)
            b += step
            keep = going.any(axis=1 - axis)
            finished = turn == MAX_ROUGH - 1 or not keep.any()
            if finished or keep.mean() < 0.7:
                _store(coef, factors, b, hessian, active, axis)
                if finished:
                    break
                active = active[keep]
                lin, b, last, slope = (np.compress(keep, a, axis=axis - 2) for a in (lin, b, last, slope))
                if axis == 0:
                    x, xt, outer, w32 = (a[keep] for a in (x, xt, outer, w32))
                else:
                    w32 = np.compress(keep, w32, axis=2)
        return factors

    def _fine(self, w: Floats, linear: Floats, coef: Floats, factors: Singles) -> NDArray[np.bool_]:
        """Last steps, with double-precision gradients and the Hessians at hand; which fits arrived."""
        from scipy.special import expit

        n_contexts, _, n_replicates = coef.shape
        # A pivot that nearly vanished has no digits left in single precision.
        pivots = factors[self.diagonal]
        sound = pivots.min(axis=0) > 1e-5 * pivots.max(axis=0)
        done = np.zeros((n_contexts, n_replicates), dtype=bool)
        axis = 0 if n_contexts > 1 else 1
        active = np.arange(n_contexts if axis == 0 else n_replicates)
        x, xt, b, lin = self.design, self.turned, coef, linear
        for _ in range(MAX_FINE):
            v = np.matmul(x, b)
            expit(v, out=v)
            v *= w
            gradient = lin - np.matmul(xt, v) - self.precision[:, None] * b
            # Only the gradient needs all its digits: the step is small, and single precision has seven of them.
            step = gradient.swapaxes(0, 1).astype(np.float32)
            substitute(factors, step)
            length = np.abs(step).max(axis=0)
            b = b + np.where(length < 1.0, step, 0.0).swapaxes(0, 1)
            arrived = sound & (length < FINE)
            if axis == 0:
                coef[active], done[active] = b, arrived
            else:
                coef[:, :, active], done[:, active] = b, arrived
            keep = (sound & ~arrived & (length < 1.0)).any(axis=1 - axis)
            if not keep.any():
                break
            if keep.mean() < 0.7:
                active = active[keep]
                factors, sound = (np.compress(keep, a, axis=axis - 2) for a in (factors, sound))
                if axis == 0:
                    x, xt, w, b, lin = (a[keep] for a in (x, xt, w, b, lin))
                else:
                    w, b, lin = (np.compress(keep, a, axis=2) for a in (w, b, lin))
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


def _store(coef: Floats, factors: Singles, b: Singles, hessian: Singles, active: NDArray[np.intp], axis: int) -> None:
    if axis == 0:
        coef[active], factors[:, active] = b.swapaxes(0, 1), hessian
    else:
        coef[:, :, active], factors[:, :, active] = b.swapaxes(0, 1), hessian
