"""The round numbers that a numeric attribute may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "decimal_width", "default_step", "log_grid", "plain", "step_grid"]

_EXACT = 2.0**53
_MAX_DECIMALS = 15
_MIN_LOG_POINTS = 20


def default_step(width: float) -> float:
    """Step of an attribute that names none: 1 from a width of 5, 0.1 from 1, else two significant steps.

    Source: the rounding rule of arXiv 2505.17120's option values.

    Example:
        >>> default_step(95), default_step(2), default_step(0.25)
        (1.0, 0.1, 0.01)
    """
    if width >= 5:
        return 1.0
    if width >= 1:
        return 0.1
    return float(Decimal(1).scaleb(Decimal(repr(width)).adjusted() - 1))


def decimal_width(low: float, high: float) -> float:
    """`high - low` of the numbers as written: 0.3 - 0.1 is 0.2, which binary subtraction misses."""
    return float(Decimal(repr(high)) - Decimal(repr(low)))


def decimals_of(value: float) -> int:
    """Digits after the point of the shortest text that gives `value` back."""
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def plain(value: float) -> str:
    """The shortest decimal text, without exponent, that `float` turns back into `value`."""
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0")


@dataclass(frozen=True)
class Grid:
    """The values an attribute may take: `start + step * k` for k in 0..n-1, or the listed `points`.

    Attributes:
        n: How many values.
        start: The first value.
        step: Distance between neighbours; 0 where the points are listed.
        decimals: Digits after the point that show every value exactly; None where they differ (listed
            points).
        points: The values where they are not equidistant, ascending.
    """

    n: int
    start: float
    step: float
    decimals: int | None
    points: NDArray[np.float64] | None = None

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at these positions. Any shape."""
        if self.points is not None:
            return np.asarray(self.points[index], dtype=np.float64)
        values = self.start + self.step * index
        if self.decimals:
            # Dividing whole numbers by a power of ten is correctly rounded, so text -> float gives the same
            # float.
            power = 10.0**self.decimals
            values = np.rint(values * power) / power
        return np.asarray(values + 0.0, dtype=np.float64)  # + 0.0 turns -0.0 into 0.0

    def nearest(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions of the nearest grid values. Any shape."""
        if self.points is not None:
            middle = (self.points[1:] + self.points[:-1]) / 2
            return np.asarray(np.searchsorted(middle, values), dtype=np.int64)
        index = np.rint((np.asarray(values) - self.start) / self.step)
        return np.clip(index, 0, self.n - 1).astype(np.int64)


@lru_cache(maxsize=4096)
def step_grid(low: float, high: float, step: float | None) -> Grid:
    """Equidistant values inside [low, high]: from `low` on by `step`, or multiples of the default step.

    Raises:
        ValueError: The values could not be shown exactly in decimal digits.
    """
    size = max(abs(low), abs(high))
    given = step is not None
    by = default_step(decimal_width(low, high)) if step is None else step
    decimals = max(decimals_of(by), decimals_of(low)) if given else decimals_of(by)
    if size / by > _EXACT or (decimals and size * 10.0**decimals > _EXACT) or decimals > _MAX_DECIMALS:
        what = f"low {plain(low)} and step {plain(by)}" if given else f"range {plain(low)} to {plain(high)}"
        raise ValueError(f"{what} need more digits than a number can show exactly; round them or change the unit")
    first = low if given else _multiple(by, math.ceil(low / by), decimals)
    if not given:
        shift = next(
            k for k in (-1, 0, 1, 2) if first + k * by >= low - by * 1e-9 and _at(first, by, k, decimals) >= low
        )
        first = _at(first, by, shift, decimals)
    n = math.floor((high - first) / by) + 2
    while _at(first, by, n - 1, decimals) > high:
        n -= 1
    return Grid(n=n, start=first, step=by, decimals=decimals)


def _at(first: float, step: float, k: int, decimals: int) -> float:
    value = first + k * step
    return (round(value * 10.0**decimals) / 10.0**decimals if decimals else value) + 0.0


def _multiple(step: float, k: int, decimals: int) -> float:
    return _at(0.0, step, k, decimals)


@lru_cache(maxsize=4096)
def log_grid(low: float, high: float) -> Grid:
    """Values of two significant digits inside [low, high]; of more digits where that gives under 20 values.

    Raises:
        ValueError: The range is too narrow to hold distinct decimal values.
    """
    for digits in range(2, 16):
        points: list[float] = []
        for exponent in range(math.floor(math.log10(low)) - 1, math.floor(math.log10(high)) + 2):
            unit = Decimal(1).scaleb(exponent - digits + 1)
            start = max(10 ** (digits - 1), math.floor(Decimal(low) / unit))
            stop = min(10**digits - 1, math.ceil(Decimal(high) / unit))
            if stop - start > 100_000:
                break
            points += [v for v in (float(k * unit) for k in range(start, stop + 1)) if low <= v <= high]
        if len(points) >= _MIN_LOG_POINTS:
            array = np.array(points, dtype=np.float64)
            array.setflags(write=False)
            return Grid(n=len(points), start=points[0], step=0.0, decimals=None, points=array)
    raise ValueError(f"range {plain(low)} to {plain(high)} is too narrow to hold distinct values; give a step")
