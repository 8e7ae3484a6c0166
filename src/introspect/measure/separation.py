"""Whether some direction of the weights explains the choices, so that their likelihood has no maximum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from introspect.measure.newton import fit_map

__all__ = ["separated"]

Floats = NDArray[np.float64]

LOOSE_SD = 1e3
"""Prior scale, in logits, of the fit that settles what the fit at hand leaves open."""

ROUNDING = 1e-15

MARGIN = 1e-6
"""What rounding may be in a certificate, and the smallest utility that the linear programme counts as a rise."""


def separated(
    design: Floats, outcome: Floats, case: Floats, coef: Floats | None = None, *, flat: bool = False
) -> NDArray[np.bool_]:
    """Which contexts are completely or quasi-completely separated.

    Choices are separated where some direction of the coefficients, intercepts included, never lowers the utility of
    a chosen option against another one, and raises it at least once (Albert and Anderson 1984). The test is exact
    up to rounding, and cheap, for most contexts are settled by one of two certificates that any fit provides:

    - coefficients that put every chosen option strictly first separate the choices;
    - choices overlap if positive multiples of the utility differences (chosen less other) sum to zero. The residuals
      of a fit with a prior are such multiples but for the prior's pull. If one weighted least-squares correction
      takes the pull out and leaves every multiple positive, no direction separates.

    The fit at hand is tried first, then one with a loose prior. A linear programme (HiGHS) decides the few that are
    left, such as quasi-complete separation.

    Args:
        design: Differences to the last option, [C, N, J - 1, Q].
        outcome: 1 where that option was chosen, [C, N, J - 1]; a fraction counts for each option that has a share.
        case: Case weights, [C, N]; 0 is padding.
        coef: Coefficients of any fit, [C, Q], to start from.
        flat: Count contexts in which a direction changes no utility at all (such as a predictor that never differs),
            for these have no single maximum either.

    Returns:
        [C].

    Example:
        >>> x = np.array([[[[1.0]], [[2.0]], [[-1.0]]]] * 2)
        >>> y = np.array([[[1.0], [1.0], [0.0]], [[1.0], [0.0], [0.0]]])
        >>> separated(x, y, np.ones((2, 3))).tolist()
        [True, False]
    """
    n_contexts, n_coef = design.shape[0], design.shape[3]
    result = np.zeros(n_contexts, dtype=bool)
    left = np.arange(n_contexts)
    if flat:
        used = np.where(case[..., None, None] > 0, design, 0.0).reshape(n_contexts, -1, n_coef)
        result = np.linalg.matrix_rank(np.matmul(np.swapaxes(used, 1, 2), used), hermitian=True) < n_coef
        left = left[~result]
    if left.size:
        left = left[~_tied(design[left], outcome[left], case[left])]
    if coef is not None and left.size:
        left = _settle(design, outcome, case, coef[left], left, result)
    if left.size:
        loose = fit_map(
            design[left], outcome[left], np.full(n_coef, LOOSE_SD), case[left], tolerance=1e-6, max_iterations=60
        )
        left = _settle(design, outcome, case, loose.coef, left, result)
    for c in left:
        result[c] = _programme(_rows(design[c : c + 1], outcome[c : c + 1], case[c : c + 1])[0][0])
    return result


def _tied(design: Floats, outcome: Floats, case: Floats) -> NDArray[np.bool_]:
    """Where fractional outcomes alone leave no direction: each of them forbids any change of its utility."""
    n_contexts, n_coef = design.shape[0], design.shape[3]
    split = (outcome > 1e-12) & (outcome < 1.0 - 1e-12) & (case > 0)[..., None]
    result = np.zeros(n_contexts, dtype=bool)
    some = np.flatnonzero(split.any(axis=(1, 2)))
    if design.shape[2] > 1 or not some.size:
        return result
    rows = np.where(split[some][..., None], design[some], 0.0).reshape(len(some), -1, n_coef)
    result[some] = np.linalg.matrix_rank(np.matmul(np.swapaxes(rows, 1, 2), rows), hermitian=True) == n_coef
    return result


def _settle(
    design: Floats,
    outcome: Floats,
    case: Floats,
    coef: Floats,
    left: NDArray[np.intp],
    result: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Mark those that these coefficients show to be separated; return those that they say nothing about."""
    rows, owned = _rows(design[left], outcome[left], case[left])
    rise = np.matmul(rows, coef[..., None])[..., 0]
    explained = ((rise > 0) | ~owned).all(axis=1) & owned.any(axis=1)
    result[left[explained]] = True
    multiple = _multiples(design[left], outcome[left], case[left], coef)
    pull = np.matmul(multiple[:, None], rows)[:, 0]
    spread = np.matmul(np.swapaxes(rows, 1, 2), multiple[..., None] * rows)
    with np.errstate(all="ignore"):
        scale = np.abs(spread).max(axis=(1, 2))[:, None, None]
        inverse = np.linalg.pinv(np.nan_to_num(spread / scale), rcond=1e-11, hermitian=True)
        shift = np.matmul(inverse, (pull / scale[:, 0])[..., None])[..., 0]
        change = np.matmul(rows, shift[..., None])[..., 0]
        new = multiple * (1.0 - change)
        # What rounding left over would take one more correction; it must be too small to matter as well.
        left_over = np.abs(np.matmul(new[:, None], rows)[:, 0]) + ROUNDING * np.matmul(new[:, None], np.abs(rows))[:, 0]
        reach = np.abs(np.matmul(rows, inverse))
        slack = np.matmul(reach, (left_over / scale[:, 0])[..., None])[..., 0]
        overlap = ((np.abs(change) + slack < 1.0 - MARGIN) | ~owned).all(axis=1)
    overlap |= ~owned.any(axis=1)
    rest_of: NDArray[np.intp] = left[~explained & ~overlap]
    return rest_of


def _pairs(n_rivals: int) -> list[tuple[int, int]]:
    return [(k, j) for k in range(n_rivals + 1) for j in range(n_rivals + 1) if k != j]


def _rows(design: Floats, outcome: Floats, case: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Differences of an option with a share in the outcome to each other one, [C, M, Q], and which are real, [C, M]."""
    full = np.concatenate([design, np.zeros_like(design[:, :, :1])], axis=2)
    share = np.concatenate([outcome, 1.0 - outcome.sum(axis=2, keepdims=True)], axis=2)
    used = (share > 1e-12) & (case[..., None] > 0)
    if design.shape[2] == 1 and not (used[..., 0] & used[..., 1]).any():  # plain choices of two need one row each
        rows = np.where(used[..., :1], design[:, :, 0], -design[:, :, 0])
        owned: NDArray[np.bool_] = np.asarray(used.any(axis=2))
        return np.where(owned[..., None], rows, 0.0), owned
    pairs = _pairs(design.shape[2])
    rows = np.concatenate([full[:, :, k] - full[:, :, j] for k, j in pairs], axis=1)
    owned = np.concatenate([used[:, :, k] for k, _ in pairs], axis=1)
    return np.where(owned[..., None], rows, 0.0), owned


def _multiples(design: Floats, outcome: Floats, case: Floats, coef: Floats) -> Floats:
    """Share of the one times probability of the other, for each of `_rows`: these sum to the likelihood's gradient."""
    utility = np.matmul(design, coef[:, None, :, None])[..., 0]
    utility = np.concatenate([utility, np.zeros_like(utility[:, :, :1])], axis=2)
    chance = np.exp(utility - utility.max(axis=2, keepdims=True))
    chance /= chance.sum(axis=2, keepdims=True)
    share = np.concatenate([outcome, 1.0 - outcome.sum(axis=2, keepdims=True)], axis=2)
    share = np.where(share > 1e-12, share, 0.0) * case[..., None]
    if design.shape[2] == 1 and not ((share > 0).sum(axis=2) > 1).any():
        return np.asarray((share * chance[..., ::-1]).sum(axis=2))
    return np.concatenate([share[:, :, k] * chance[:, :, j] for k, j in _pairs(design.shape[2])], axis=1)


def _programme(rows: Floats) -> bool:
    """Largest total rise of a direction in the unit cube that lowers nothing; positive where choices are
    separated."""
    from scipy.optimize import linprog

    rows = rows[np.abs(rows).max(axis=1) > 0]
    if not len(rows):
        return False
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)
    found = linprog(-rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    return found.x is not None and bool((rows @ found.x).max() > MARGIN)
