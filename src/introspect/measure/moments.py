"""Per-context sums from which correlations, and their resamples, follow without touching the data again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "calibration", "correlation", "correlation_gradient", "fisher", "six_sums"]

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
    def of(cls, ids: Sequence[str], x: Sequence[Floats], y: Sequence[Floats]) -> Moments:
        """Sums of one pair of vectors per context."""
        sums = np.zeros((len(ids), 6))
        widths = [len(vector) for vector in x]
        for width in set(widths):
            rows = [i for i, own in enumerate(widths) if own == width]
            sums[rows] = six_sums(np.stack([x[i] for i in rows]), np.stack([y[i] for i in rows]))
        return cls(tuple(ids), sums)

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

    def without_each(self) -> Floats:
        """Pooled correlation of all contexts but one, [C]: the jackknife's values."""
        return correlation(self.sums.sum(axis=0) - self.sums)

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


def six_sums(x: Floats, y: Floats) -> Floats:
    """n, sum x, sum y, sum x^2, sum y^2, sum xy over the last axis; a vector with a NaN on either side adds
    nothing.

    Args:
        x: [..., P].
        y: [..., P], or what broadcasts to it.

    Returns:
        [..., 6].

    Example:
        >>> six_sums(np.array([[1.0, 2.0], [np.nan, 1.0]]), np.array([[3.0, 4.0], [1.0, 1.0]]))
        array([[ 2.,  3.,  7.,  5., 25., 11.],
               [ 0.,  0.,  0.,  0.,  0.,  0.]])
    """
    x, y = np.broadcast_arrays(x, y)
    ones = np.full(x.shape[:-1], float(x.shape[-1]))
    sums = np.stack(
        [ones, x.sum(-1), y.sum(-1), (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)],
        axis=-1,
    )
    sums[np.isnan(sums).any(axis=-1)] = 0.0
    return sums


def correlation_gradient(sums: Floats) -> Floats:
    """Derivative of `correlation` by each of the six sums, [..., 6]; NaN where r is undefined."""
    n, sx, sy, sxx, syy, _ = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    r = correlation(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my = sx / n, sy / n
        vx, vy = sxx - n * mx * mx, syy - n * my * my
        # r = c / sqrt(vx vy), so dr = dc / sqrt(vx vy) - r dvx / 2 vx - r dvy / 2 vy.
        scale, half_x, half_y = 1.0 / np.sqrt(np.where(np.isnan(r), np.nan, vx * vy)), r / (2 * vx), r / (2 * vy)
        return np.stack(
            [
                scale * mx * my - half_x * mx * mx - half_y * my * my,
                2 * half_x * mx - scale * my,
                2 * half_y * my - scale * mx,
                -half_x,
                -half_y,
                scale,
            ],
            axis=-1,
        )


def fisher(sums: Floats) -> tuple[Floats, Floats]:
    """Fisher's z of the correlation, and its derivative by the six sums: on this scale errors are nearly normal.

    Example:
        >>> z, _ = fisher(np.array([3.0, 0.0, 0.0, 2.0, 2.0, 1.0]))      # r is .5
        >>> round(float(np.tanh(z)), 6)
        0.5
    """
    r = correlation(sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arctanh(r), correlation_gradient(sums) / (1.0 - r * r)[..., None]


def calibration(sums: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Slope and intercept of the regression of y on x, each with its derivative by the six sums.

    Example:
        >>> (slope, _), (intercept, _) = calibration(np.array([3.0, 0.0, 6.0, 2.0, 20.0, 4.0]))   # y = 2 + 2 x
        >>> float(slope), float(intercept)
        (2.0, 2.0)
    """
    n, sx, sy, sxx, _, sxy = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mx, my = sx / n, sy / n
        vx = sxx - n * mx * mx
        vx = np.where((vx <= 1e-12 * sxx) | (n < 2), np.nan, vx)
        slope = (sxy - n * mx * my) / vx
        intercept = my - slope * mx
        none = np.zeros_like(slope)
        d_slope = np.stack(
            [
                (mx * my - slope * mx * mx) / vx,
                (2 * slope * mx - my) / vx,
                -mx / vx,
                -slope / vx,
                none,
                1.0 / vx,
            ],
            axis=-1,
        )
        d_means = np.stack([-my / n + slope * mx / n, -slope / n, 1.0 / n, none, none, none], axis=-1)
        return (slope, d_slope), (intercept, d_means - mx[..., None] * d_slope)
