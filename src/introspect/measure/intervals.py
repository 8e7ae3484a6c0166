"""r over and inside contexts, and its calibration line, with intervals over contexts."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from introspect.measure.moments import Moments, calibration, correlation, correlation_gradient, fisher
from introspect.measure.resampling import (
    Interval,
    Resamples,
    jackknife_interval,
    percentile_interval,
    studentised_interval,
)

__all__ = ["IntervalMethod", "calibration_of", "difference_interval", "pooled_interval", "within_of"]

Floats = NDArray[np.float64]
IntervalMethod = Literal["z-t", "percentile", "jackknife"]

LEVEL = 0.95


def pooled_interval(
    moments: Moments, resamples: Resamples, method: IntervalMethod, reasons: dict[str, str]
) -> Interval:
    """Interval of the pooled r over contexts.

    Args:
        moments: Per-context sums.
        resamples: Bootstrap resamples of the contexts.
        method: See `AccuracyMetric`.
        reasons: Is told why there is none.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(100, 5))
        >>> moments = Moments.of([f"k{i:03d}" for i in range(100)], x, x + rng.normal(size=x.shape))
        >>> low, high = pooled_interval(moments, Resamples.of(100, 999, rng), "z-t", {})
        >>> round(low, 2), round(moments.pooled(), 2), round(high, 2)
        (0.69, 0.74, 0.78)
    """
    r = moments.pooled() if len(moments) else math.nan
    if resamples.counts is None or math.isnan(r):
        reasons["pooled_interval"] = resamples.why or "r itself is undefined"
        return Interval.undefined()
    if 1.0 - abs(r) < 1e-12:  # every resample is just as perfect, and Fisher's z is infinite
        return Interval(r, r)
    if method == "percentile":
        found = percentile_interval(moments.resampled(resamples.counts), LEVEL)
    else:
        if method == "jackknife":
            with np.errstate(divide="ignore"):
                low, high = jackknife_interval(math.atanh(r), np.arctanh(moments.without_each()), LEVEL)
        else:
            low, high = studentised_interval(moments.sums, resamples.counts, fisher, LEVEL)
        found = Interval(math.tanh(low), math.tanh(high))
    if math.isnan(found.low):
        reasons["pooled_interval"] = "r is undefined in every resample"
    return found


def difference_interval(first: Moments, second: Moments, resamples: Resamples) -> Interval:
    """Studentised interval of second r minus first r, of two pairs of sides of the same contexts.

    Both are resampled together, so what they share drops out.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(100, 5))
        >>> ids = [f"k{i:03d}" for i in range(100)]
        >>> worse, better = (Moments.of(ids, x, x + rng.normal(0, size, x.shape)) for size in (1.0, 0.5))
        >>> low, high = difference_interval(worse, better, Resamples.of(100, 999, rng))
        >>> bool(0 < low < better.pooled() - worse.pooled() < high)
        True
    """
    if resamples.counts is None:
        return Interval.undefined()
    rows = np.concatenate([first.sums, second.sums], axis=1)
    if np.array_equal(first.sums, second.sums):
        return Interval(0.0, 0.0)
    return studentised_interval(rows, resamples.counts, _difference, LEVEL)


def _difference(sums: Floats) -> tuple[Floats, Floats]:
    one, two = sums[..., :6], sums[..., 6:]
    gradient = np.concatenate([-correlation_gradient(one), correlation_gradient(two)], axis=-1)
    return correlation(two) - correlation(one), gradient


def within_of(moments: Moments, resamples: Resamples, reasons: dict[str, str]) -> dict[str, Any]:
    """r inside contexts: every one of them, and their mean and median with intervals, by field of Accuracy."""
    within = moments.within()
    order = np.flatnonzero(np.isfinite(within))
    order = order[np.argsort(within[order], kind="stable")]
    defined = within[order]
    if not defined.size:
        reasons["mean_within_r"] = reasons["median_within_r"] = "in no context do both sides vary"
    elif defined.size < len(moments):
        reasons["within_r"] = f"constant on one side in {len(moments) - defined.size} contexts"
    mean_interval = median_interval = Interval.undefined()
    counts = resamples.counts
    if counts is None or not defined.size:
        why = resamples.why or reasons.get("mean_within_r", "")
        reasons |= {"mean_within_interval": why, "median_within_interval": why}
    else:
        drawn = counts[:, order]
        passed = np.cumsum(drawn, axis=1)
        n = passed[:, -1]
        # The middle of a resample: its lower and upper middle value, found in the cumulated counts.
        places = ((passed <= at[:, None]).sum(axis=1) for at in ((n - 1) // 2, n // 2))
        middle = [defined[np.minimum(place, defined.size - 1)] for place in places]
        ones = np.ones(defined.size)
        low, high = studentised_interval(np.column_stack([ones, defined]), drawn, _ratio, LEVEL)
        mean_interval = (
            Interval(max(low, -1.0), min(high, 1.0)) if defined.std() > 1e-9 else Interval(*defined[[0, -1]])
        )
        median_interval = percentile_interval((middle[0] + middle[1]) / 2.0, LEVEL)
    return {
        "mean_within_r": float(defined.mean()) if defined.size else math.nan,
        "mean_within_interval": mean_interval,
        "median_within_r": float(np.median(defined)) if defined.size else math.nan,
        "median_within_interval": median_interval,
        "n_within": int(defined.size),
        "within_r": dict(zip(moments.ids, within.tolist(), strict=True)),
    }


def calibration_of(moments: Moments, resamples: Resamples, reasons: dict[str, str]) -> dict[str, Any]:
    """Slope and intercept of learned on reported weights with their intervals, by field of Accuracy."""
    found: dict[str, Any] = {}
    for name, scored in (("calibration_slope", _slope), ("calibration_intercept", _intercept)):
        value = float(scored(moments.sums.sum(axis=0))[0]) if len(moments) else math.nan
        interval = Interval.undefined()
        if math.isnan(value):
            reasons[name] = reasons[f"{name}_interval"] = "the reports do not vary at all"
        elif resamples.counts is None:
            reasons[f"{name}_interval"] = resamples.why
        else:
            interval = studentised_interval(moments.sums, resamples.counts, scored, LEVEL)
            if math.isnan(interval.low):
                reasons[f"{name}_interval"] = "undefined in every resample"
        found |= {name: value, f"{name}_interval": interval}
    return found


def _ratio(sums: Floats) -> tuple[Floats, Floats]:
    n, total = sums[..., 0], sums[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return total / n, np.stack([-total / n**2, 1.0 / n], axis=-1)


def _slope(sums: Floats) -> tuple[Floats, Floats]:
    return calibration(sums)[0]


def _intercept(sums: Floats) -> tuple[Floats, Floats]:
    return calibration(sums)[1]
