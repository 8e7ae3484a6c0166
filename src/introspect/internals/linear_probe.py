"""A linear classifier of vectors: what can be read off without any language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from introspect.errors import MeasureError

__all__ = ["LinearProbe", "nearest"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression with a ridge.

    Attributes:
        classes: Labels.
        weights: [width, classes].
        bias: [classes].
        centre: Subtracted from vectors first.
        spread: Vectors are divided by it.
    """

    classes: tuple[str, ...]
    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]
    spread: float

    @classmethod
    def fit(cls, vectors: Floats, labels: Sequence[str], ridge: float = 1e-2) -> LinearProbe:
        """Fit to labelled vectors.

        Args:
            vectors: [rows, width].
            labels: One a row.
            ridge: Penalty per row on squared weights.

        Raises:
            MeasureError: Rows and labels do not agree, or there are none.

        Example:
            >>> x = np.array([[0.0, 1], [0, 2], [1, 0], [2, 0]], np.float32)
            >>> LinearProbe.fit(x, ["a", "a", "b", "b"]).predict(x)
            ['a', 'a', 'b', 'b']
        """
        if len(vectors) != len(labels) or not len(labels):
            raise MeasureError(f"{len(vectors)} vectors for {len(labels)} labels")
        classes = tuple(sorted(set(labels)))
        x = vectors.astype(np.float64)
        centre = x.mean(0)
        spread = float((x - centre).std()) or 1.0
        x = (x - centre) / spread
        y = np.eye(len(classes))[[classes.index(label) for label in labels]]
        n, width, k = len(x), x.shape[1], len(classes)

        def cost(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
            w, b = flat[: width * k].reshape(width, k), flat[width * k :]
            z = x @ w + b
            z -= z.max(1, keepdims=True)
            logp = z - np.log(np.exp(z).sum(1, keepdims=True))
            gap = (np.exp(logp) - y) / n
            grad = np.concatenate([(x.T @ gap + 2 * ridge * w).ravel(), gap.sum(0)])
            return float(-(y * logp).sum() / n + ridge * (w**2).sum()), grad

        found = minimize(cost, np.zeros(width * k + k), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
        return cls(classes, found[: width * k].reshape(width, k), found[width * k :], centre, spread)

    def scores(self, vectors: Floats) -> npt.NDArray[np.float64]:
        """Log-odds up to a constant, [rows, classes]."""
        return (vectors.astype(np.float64) - self.centre) / self.spread @ self.weights + self.bias

    def predict(self, vectors: Floats) -> list[str]:
        """The likeliest label of each."""
        return [self.classes[i] for i in self.scores(vectors).argmax(1)]


def nearest(train: Floats, vectors: Floats) -> npt.NDArray[np.intp]:
    """The training vector with the largest cosine, for each vector.

    Example:
        >>> nearest(np.array([[9.0, 9], [0, 0.1]], np.float32), np.array([[0.0, 5]], np.float32)).tolist()
        [1]
    """
    unit = [v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (train, vectors)]
    return np.asarray((unit[1] @ unit[0].T).argmax(1))
