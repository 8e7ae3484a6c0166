"""Per-context sums from which correlations, and their resamples, follow without touching the data again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "correlation"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """What each context adds to a pooled correlation of x (what was said) and y (what was learned).

    Attributes:
        ids: Scenario ids, sorted, so that results do not depend on the order contexts came in.
        sums: n, sum x, sum y, sum x^2, sum y^2, sum xy of each context, [C, 6].

    Example:
        >>> one = Moments.of(["k1"], [np.array([1.0, 2.0, 3.0])], [np.array([2.0, 4.0, 6.0])])
        >>> round(float(one.pooled()), 9)
        1.0
    """

    ids: tuple[str, ...]
    sums: Floats

    @classmethod
    def of(cls, ids: list[str], x: list[Floats], y: list[Floats]) -> Moments:
        """Sums of one pair of vectors per context."""
        rows = [
            (len(a), a.sum(), b.sum(), (a * a).sum(), (b * b).sum(), (a * b).sum()) for a, b in zip(x, y, strict=True)
        ]
        return cls(tuple(ids), np.asarray(rows, dtype=float).reshape(len(ids), 6))

    def __len__(self) -> int:
        return len(self.ids)

    def pooled(self) -> float:
        """Correlation over all contexts' points; NaN where one side does not vary."""
        return float(correlation(self.sums.sum(axis=0)))

    def within(self) -> Floats:
        """Correlation inside each context, [C]; NaN where one side does not vary."""
        return correlation(self.sums)

    def resampled(self, counts: NDArray[np.generic]) -> Floats:
        """Pooled correlation with context c taken ``counts[b, c]`` times, [B]."""
        return correlation(np.asarray(counts, dtype=float) @ self.sums)

    def select(self, ids: tuple[str, ...]) -> Moments:
        """The same for some of the contexts, in the order given."""
        place = {name: number for number, name in enumerate(self.ids)}
        return Moments(ids, self.sums[[place[name] for name in ids]])


def correlation(sums: Floats) -> Floats:
    """Pearson r from the six sums on the last axis; NaN where it is undefined.

    Args:
        sums: n, sum x, sum y, sum x^2, sum y^2, sum xy, [..., 6].

    Example:
        >>> float(correlation(np.array([2.0, 2.0, 0.0, 2.0, 2.0, 0.0])))   # x is constant
        nan
    """
    n, sx, sy, sxx, syy, sxy = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        vx, vy = n * sxx - sx * sx, n * syy - sy * sy
        # A variance that is rounding noise against the sums it came from is no variance.
        flat = (vx <= 1e-12 * n * sxx) | (vy <= 1e-12 * n * syy) | (n < 2)
        r = (n * sxy - sx * sy) / np.sqrt(np.where(flat, np.nan, vx) * np.where(flat, np.nan, vy))
    clipped: Floats = np.clip(r, -1.0, 1.0)
    return clipped
