"""Many small symmetric positive systems at once, each step of the elimination for all of them.

A loop over systems in LAPACK costs about a microsecond each for six unknowns, of which most is the call. Here one call
works on a whole row of systems, so it is the faster way from some dozens of them on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["eliminate", "pack", "solve_positive", "substitute"]

Floats = NDArray[np.float64]

FEW = 32
"""Systems below which LAPACK is faster."""


def pack(matrix: Floats) -> Floats:
    """Upper triangles of [M, n, n], packed by rows: [n (n + 1) / 2, M]."""
    upper = np.triu_indices(matrix.shape[1])
    return np.ascontiguousarray(matrix[:, upper[0], upper[1]].T)


def solve_positive(matrix: Floats, vector: Floats) -> tuple[Floats, Floats]:
    """Solutions [M, n] for symmetric positive matrices [M, n, n] and vectors [M, n], and log-determinants [M].

    A matrix that is not positive gives NaN.

    Example:
        >>> solution, log_det = solve_positive(np.array([[[4.0, 0.0], [0.0, 2.0]]]), np.array([[4.0, 1.0]]))
        >>> solution.tolist(), round(float(np.exp(log_det[0])), 6)
        ([[1.0, 0.5]], 8.0)
    """
    n = matrix.shape[1]
    rows, solution = pack(matrix), np.ascontiguousarray(vector.T)
    with np.errstate(all="ignore"):
        eliminate(rows, n)
        substitute(rows, solution)
        pivots = rows[_tops(n)]
        log_det = np.log(pivots).sum(axis=0)
    return np.ascontiguousarray(solution.T), np.asarray(log_det)


def _tops(n: int) -> NDArray[np.intp]:
    """Where each row of a packed triangle begins: its diagonal element."""
    return np.cumsum([0, *range(n, 1, -1)])


def eliminate(rows: NDArray[np.floating], n: int) -> None:
    """LDL' in place of symmetric positive matrices whose upper triangles are packed by rows, [n (n + 1) / 2, ...].

    Row j is left with D L', from the diagonal on.
    """
    top = 0
    for j in range(n - 1):
        width = n - j
        row = rows[top : top + width]
        factor = row[1:] / row[0]
        below = top + width
        for i in range(1, width):
            rows[below : below + width - i] -= factor[i - 1] * row[i:]
            below += width - i
        top += width


def substitute(rows: NDArray[np.floating], vector: NDArray[np.floating]) -> None:
    """Solve with what `eliminate` left, for vectors [n, ...] in place."""
    n = len(vector)
    tops = _tops(n).tolist()
    for j, top in enumerate(tops):
        vector[j] /= rows[top]
        if j + 1 < n:
            vector[j + 1 :] -= rows[top + 1 : top + n - j] * vector[j]
    for j in range(n - 2, -1, -1):
        known = np.add.reduce(rows[tops[j] + 1 : tops[j] + n - j] * vector[j + 1 :], axis=0)
        vector[j] -= known / rows[tops[j]]
