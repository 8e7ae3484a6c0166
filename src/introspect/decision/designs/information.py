"""What a trial would tell about the weights before any answer is known: its share of the logit's information.

With all weights 0 every option is equally likely. A trial with J options then adds U'U to the information
matrix, where U = H Z / sqrt(J): Z [J, Q] are the options' predictors followed by the position effects, and H
[J - 1, J] are orthonormal contrasts. The greedy D-optimal trial is the one that multiplies the determinant
most, by det(I + U A U') with A the inverse of the information so far (Sherman, Morrison and Woodbury).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["INTERCEPT_SD", "RIDGE", "Information", "PairInformation", "SetInformation", "no_information", "null_rows"]

Floats = NDArray[np.float64]

RIDGE = 1e-4
"""Information on each weight before the first trial: too little to matter once a trial has been shown, so that
the first D trials are the ones that identify all D weights."""

INTERCEPT_SD = 5.0
"""Prior standard deviation of a position effect, in logits. Positions are known to matter little, so the first
trials go to the weights."""


class Information(Protocol):
    """Information of several scenarios' designs, and what each candidate would add to it."""

    def load(self, encoded: Floats, rows: NDArray[np.intp] | slice) -> None:
        """Take these candidates [rows, P, J, D], in the order drawn, for these scenarios."""

    def gains(self, flipped: NDArray[np.bool_]) -> Floats:
        """Increasing in the determinant that each candidate would lead to, [C, P].

        Args:
            flipped: Whether the next trial shows its options in reverse, [C].
        """

    def add(self, picked: NDArray[np.intp], flipped: NDArray[np.bool_]) -> None:
        """Count one candidate of each scenario as shown."""


class PairInformation:
    """For two options: quadratic forms of all candidates, kept up to date by rank-one steps.

    All arithmetic is elementwise and in a fixed order, so a scenario's trials are the same, to the last bit,
    whichever scenarios it shares the arrays with.

    Args:
        n_scenarios: C.
        n_candidates: P.
        n_predictors: D.
        inverse: Inverse of the information before the first trial, [C, D + 1, D + 1]; `no_information` if None.
    """

    def __init__(self, n_scenarios: int, n_candidates: int, n_predictors: int, inverse: Floats | None = None) -> None:
        n = n_scenarios
        self._inverse = no_information(n, n_predictors) if inverse is None else inverse.copy()
        # Half the difference of the options' predictors; the factor 1/4 of the information is then in x x'.
        self._x = np.zeros((n_predictors, n, n_candidates))
        self._own = np.zeros((n, n_candidates))
        self._cross = np.zeros((n, n_candidates))
        self._rows = np.arange(n)

    def load(self, encoded: Floats, rows: NDArray[np.intp] | slice) -> None:
        """See `Information.load`."""
        half = (encoded[..., 0, :] - encoded[..., 1, :]) / 2.0
        x = np.moveaxis(half, -1, 0)
        self._x[:, rows] = x
        inverse = self._inverse[rows]
        own, cross = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
        for i in range(len(x)):
            product = np.zeros_like(own)
            for j in range(len(x)):
                product += inverse[:, i, j, None] * x[j]
            own += product * x[i]
            cross += inverse[:, i, -1, None] * x[i]
        self._own[rows], self._cross[rows] = own, cross / 2.0

    def gains(self, flipped: NDArray[np.bool_]) -> Floats:
        """See `Information.gains`."""
        # Reversing the options turns (x, 1) into (-x, 1), whose information is that of (x, -1).
        sides = np.where(flipped, -2.0, 2.0)[:, None]
        return np.asarray(self._own + sides * self._cross)

    def add(self, picked: NDArray[np.intp], flipped: NDArray[np.bool_]) -> None:
        """See `Information.add`."""
        n_predictors = len(self._x)
        row = np.empty((len(picked), n_predictors + 1))
        row[:, :-1] = self._x[:, self._rows, picked].T
        row[:, -1] = np.where(flipped, -0.5, 0.5)
        turned, total = np.zeros_like(row), np.ones(len(picked))
        for j in range(n_predictors + 1):
            turned += self._inverse[:, :, j] * row[:, j, None]
        for j in range(n_predictors + 1):
            total += turned[:, j] * row[:, j]
        along = self._x[0] * turned[:, 0, None]
        for j in range(1, n_predictors):
            along += self._x[j] * turned[:, j, None]
        scaled = along / total[:, None]
        self._cross -= scaled * (turned[:, -1, None] / 2.0)
        scaled *= along
        self._own -= scaled
        self._inverse -= turned[:, :, None] * (turned / total[:, None])[:, None, :]


class SetInformation:
    """For any number of options, computed afresh for every trial.

    Args:
        n_scenarios: C.
        n_predictors: D.
        n_options: J.
        inverse: As in `PairInformation`, [C, D + J - 1, D + J - 1].
    """

    def __init__(self, n_scenarios: int, n_predictors: int, n_options: int, inverse: Floats | None = None) -> None:
        start = no_information(n_scenarios, n_predictors, n_options) if inverse is None else inverse.copy()
        self._inverse = start
        self._rows: list[tuple[Floats, Floats]] = [(np.empty(0), np.empty(0))] * n_scenarios

    def load(self, encoded: Floats, rows: NDArray[np.intp] | slice) -> None:
        """See `Information.load`."""
        places = np.arange(len(self._rows))[rows]
        for place, own in zip(places.tolist(), encoded, strict=True):
            self._rows[place] = (null_rows(own), null_rows(own[:, ::-1]))

    def gains(self, flipped: NDArray[np.bool_]) -> Floats:
        """See `Information.gains`."""
        out = []
        for inverse, rows, flip in zip(self._inverse, self._rows, flipped.tolist(), strict=True):
            shown = rows[int(flip)]
            out.append(_log_det(shown @ inverse @ np.swapaxes(shown, 1, 2)))
        return np.array(out)

    def add(self, picked: NDArray[np.intp], flipped: NDArray[np.bool_]) -> None:
        """See `Information.add`."""
        for c, (pick, flip) in enumerate(zip(picked.tolist(), flipped.tolist(), strict=True)):
            row = self._rows[c][int(flip)][pick]
            turned = self._inverse[c] @ row.T
            step = np.linalg.solve(np.eye(len(row)) + row @ turned, turned.T)
            inverse = self._inverse[c] - turned @ step
            self._inverse[c] = (inverse + inverse.T) / 2.0


def no_information(n_scenarios: int, n_predictors: int, n_options: int = 2) -> Floats:
    """Inverse of what is known before the first trial: hardly anything of the weights, a little of the sides."""
    known = np.append(np.full(n_predictors, RIDGE), np.full(n_options - 1, INTERCEPT_SD**-2))
    return np.tile(np.diag(1.0 / known), (n_scenarios, 1, 1))


def null_rows(shown: Floats) -> Floats:
    """Rows U of a trial's information at the null, [..., J - 1, D + J - 1], for options as shown [..., J, D].

    Example:
        >>> null_rows(np.array([[1.0, 0.0], [0.0, 0.5]])) * 2     # differences, then the side
        array([[ 1. , -0.5,  1. ]])
    """
    n_options = shown.shape[-2]
    positions = np.broadcast_to(np.eye(n_options)[:, :-1], (*shown.shape[:-1], n_options - 1))
    contrasts = np.zeros((n_options - 1, n_options))
    for i in range(1, n_options):
        contrasts[i - 1, :i], contrasts[i - 1, i] = 1.0, -i
        contrasts[i - 1] /= np.sqrt(i * (i + 1.0) * n_options)
    return np.asarray(contrasts @ np.concatenate([shown, positions], axis=-1), dtype=np.float64)


def _log_det(products: Floats) -> Floats:
    """Logarithm of det(I + G) for many small positive G, [P, R, R] -> [P], by an unrolled Cholesky."""
    size = products.shape[-1]
    lower: dict[tuple[int, int], Floats] = {}
    total = np.zeros(len(products))
    for j in range(size):
        pivot = 1.0 + products[:, j, j] - sum((lower[j, k] ** 2 for k in range(j)), np.zeros(len(products)))
        total += np.log(pivot)
        root = np.sqrt(pivot)
        for i in range(j + 1, size):
            rest = sum((lower[i, k] * lower[j, k] for k in range(j)), np.zeros(len(products)))
            lower[i, j] = (products[:, i, j] - rest) / root
    return total
