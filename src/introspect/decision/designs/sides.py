"""Which trials are shown in reverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["balanced_sides"]


def balanced_sides(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Half of n trials. Every two neighbours hold one of each, so the balance holds for every prefix."""
    coins = rng.random((n + 1) // 2) < 0.5
    return np.stack([coins, ~coins], axis=1).ravel()[:n]
