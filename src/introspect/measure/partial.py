"""Whether reports track where behaviour departs from something else that they could be read off from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from introspect.measure.moments import correlation, correlation_gradient
from introspect.measure.nulls import null_draws
from introspect.measure.pairing import Pairing, WeightsLike
from introspect.measure.resampling import Interval, Resamples, p_value, studentised_interval

__all__ = ["Partial", "partial_of"]

Floats = NDArray[np.float64]

# Columns of the ten sums: n; sums of x, y, t; of their squares; of xy, xt, yt.
_XY, _XT, _YT = [0, 1, 2, 4, 5, 7], [0, 1, 3, 4, 6, 8], [0, 2, 3, 5, 6, 9]


@dataclass(frozen=True)
class Partial:
    """Correlation of reports and learned weights with a third vector held fixed.

    The third vector may be the preference that was taught ("does the report track where behaviour deviates from
    what was taught?") or another model's report ("does the model know more about itself than an onlooker?").

    Attributes:
        r: Partial correlation, pooled over the contexts that have all three vectors.
        interval: 95 % studentised bootstrap interval over the contexts of this training run.
        p: The larger of the two p values below; one-sided, never 0.
        p_shuffle: Against residual reports dealt out to other contexts.
        p_permutation: Against residual reports permuted among their own predictors.
        reported_r: r of the reports with the third vector.
        learned_r: r of the learned weights with the third vector.
        n_contexts: Contexts that have all three vectors.
        reasons: Name of an undefined number -> why it is undefined.
    """

    r: float = math.nan
    interval: Interval = field(default_factory=Interval.undefined)
    p: float = math.nan
    p_shuffle: float = math.nan
    p_permutation: float = math.nan
    reported_r: float = math.nan
    learned_r: float = math.nan
    n_contexts: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


NAMES = ("r", "interval", "p", "p_shuffle", "p_permutation", "reported_r", "learned_r")


def partial_of(
    pairing: Pairing, third: WeightsLike, resamples: Resamples, n_null: int, seed: int, name: str
) -> Partial:
    """The partial correlation given a third side.

    The nulls move the reports' residuals, what is left of them once the third vector is regressed out (over all
    contexts, with an intercept), and leave the learned weights' residuals where they are.

    Args:
        pairing: The two sides.
        third: The third.
        resamples: Bootstrap resamples of the pairing's contexts.
        n_null: Draws from each null.
        seed: Seed.
        name: Stream of the nulls.

    Source: D. Freedman and D. Lane, Journal of Business & Economic Statistics 1 (1983), for permuting residuals.

    Example:
        >>> from introspect.measure.pairing import pair
        >>> rng = np.random.default_rng(0)
        >>> taught = rng.normal(size=(60, 5))
        >>> own = taught + rng.normal(0, 0.5, taught.shape)                # behaviour departs from what was taught
        >>> side = lambda values: {f"k{i:02d}": dict(zip("pqrst", row)) for i, row in enumerate(values)}
        >>> recites, looks = (pair(side(said + rng.normal(0, 0.3, said.shape)), side(own)) for said in (taught, own))
        >>> none = Resamples(None)                                          # no interval
        >>> [round(partial_of(each, side(taught), none, 99, 0, "doc").r, 1) + 0 for each in (recites, looks)]
        [0.1, 0.9]
    """
    vectors = pairing.beside(third)
    rows = np.array([i for i, vector in enumerate(vectors) if vector is not None], dtype=np.intp)
    if not len(rows):
        return Partial(reasons=dict.fromkeys(NAMES, "no scored context has such a vector"))
    part = pairing.take(rows)
    control = tuple(vector for vector in vectors if vector is not None)
    sums = _ten_sums(part, control)
    total = sums.sum(axis=0)
    reported, learned = float(correlation(total[_XT])), float(correlation(total[_YT]))
    r = float(_partial(total)[0])
    found = Partial(r=r, reported_r=reported, learned_r=learned, n_contexts=len(rows))
    reasons: dict[str, str] = {}
    for key, value in (("reported_r", reported), ("learned_r", learned)):
        if math.isnan(value):
            reasons[key] = "one side does not vary at all"
    if math.isnan(r):
        why = "one side does not vary, or is the third vector itself"
        return replace(
            found, reasons=reasons | dict.fromkeys(("r", "interval", "p", "p_shuffle", "p_permutation"), why)
        )
    residual = _residuals(part, control)
    draws = null_draws(residual, n_null, seed, name)
    p_shuffle, p_permutation = p_value(draws.shuffle, r), p_value(draws.permutation, r)
    if math.isnan(p_shuffle):
        reasons["p_shuffle"] = reasons["p"] = "needs two contexts with equally many predictors"
    interval = Interval.undefined()
    own = resamples.take(rows)
    if own.counts is None:
        reasons["interval"] = own.why
    elif 1.0 - r * r < 1e-12:
        interval = Interval(r, r)
    else:
        low, high = studentised_interval(sums, own.counts, _partial_fisher)
        interval = Interval(math.tanh(low), math.tanh(high))
        if math.isnan(low):
            reasons["interval"] = "undefined in every resample"
    return replace(
        found,
        interval=interval,
        p=float(np.maximum(p_shuffle, p_permutation)),
        p_shuffle=p_shuffle,
        p_permutation=p_permutation,
        reasons=reasons,
    )


def _ten_sums(pairing: Pairing, control: tuple[Floats, ...]) -> Floats:
    columns = [
        (len(x), x.sum(), y.sum(), t.sum(), x @ x, y @ y, t @ t, x @ y, x @ t, y @ t)
        for x, y, t in zip(pairing.said, pairing.learned, control, strict=True)
    ]
    return np.array(columns, dtype=float)


def _partial(sums: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Partial r of x and y given t, and the three plain ones; NaN where t leaves nothing of a side."""
    xy, xt, yt = (correlation(sums[..., columns]) for columns in (_XY, _XT, _YT))
    left = (1 - xt * xt) * (1 - yt * yt)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (xy - xt * yt) / np.sqrt(np.where(left > 1e-12, left, np.nan))
    return np.clip(r, -1.0, 1.0), xy, xt, yt


def _partial_fisher(sums: Floats) -> tuple[Floats, Floats]:
    """Fisher's z of the partial r, and its derivative by the ten sums."""
    r, _, xt, yt = _partial(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt((1 - xt * xt) * (1 - yt * yt))
        slopes = (1 / root, r * xt / (1 - xt * xt) - yt / root, r * yt / (1 - yt * yt) - xt / root)
        gradient = np.zeros(sums.shape)
        for slope, columns in zip(slopes, (_XY, _XT, _YT), strict=True):
            gradient[..., columns] += slope[..., None] * correlation_gradient(sums[..., columns])
        return np.arctanh(r), gradient / (1 - r * r)[..., None]


def _residuals(pairing: Pairing, control: tuple[Floats, ...]) -> Pairing:
    """Both sides with the third vector regressed out of all contexts' points together."""
    t = np.concatenate(control)
    design = np.column_stack([np.ones(len(t)), t])
    cuts = np.cumsum([len(vector) for vector in control])[:-1]
    sides = []
    for side in (pairing.said, pairing.learned):
        values = np.concatenate(side)
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        sides.append(tuple(np.split(left, cuts)))
    return replace(pairing, said=sides[0], learned=sides[1])
