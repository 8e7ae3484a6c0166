"""What reports would score that know nothing about the context they speak of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from introspect.measure.intervals import difference_interval
from introspect.measure.moments import Moments, six_sums
from introspect.measure.pairing import Pairing, max_scaled
from introspect.measure.resampling import Interval, Resamples

__all__ = ["BASELINES", "FLAT", "Baseline", "Baselines", "baselines_of"]

Floats = NDArray[np.float64]

BASELINES = {
    "constant": "the mean learned weights of the other contexts",
    "zero": "all weights 0",
    "prior": "random weights from the uniform prior",
    "other": "the report on another context",
}
"""Name -> what is said instead of the report."""

FLAT = "a baseline that does not vary has no r"
N_PRIOR = 100
"""Random reports per context whose scores are averaged."""
MAX_SHIFTS = 100
"""Reports of so many other contexts are enough for a mean distance."""


@dataclass(frozen=True)
class Baseline:
    """One baseline's score.

    Attributes:
        r: Pooled r; NaN for all zeros.
        mae: Mean absolute error on the scale of +-100.
    """

    r: float
    mae: float


@dataclass(frozen=True)
class Baselines:
    """What ignorant reports score, and by how much the real ones beat the best of them.

    Attributes:
        scores: Baseline (see `BASELINES`) -> its score.
        best: The baseline with the highest r; "" where none has one.
        margin: r of the reports minus that r.
        margin_interval: 95 % paired bootstrap interval of the margin over the contexts of this training run.
        reasons: Name of an undefined number -> why it is undefined.
    """

    scores: dict[str, Baseline] = field(default_factory=dict)
    best: str = ""
    margin: float = math.nan
    margin_interval: Interval = field(default_factory=Interval.undefined)
    reasons: dict[str, str] = field(default_factory=dict)


def baselines_of(pairing: Pairing, resamples: Resamples, rng: np.random.Generator) -> Baselines:
    """Scores of four reports that know nothing about the context.

    "constant" leaves the context itself out, so it is a forecast; where all contexts have the same predictors
    it goes by their names, else by their places. A context that is alone in its number of predictors gets zeros.

    Args:
        pairing: The two sides.
        resamples: Bootstrap resamples of the contexts.
        rng: Generator of the prior draws.

    Example:
        >>> from introspect.measure.pairing import pair
        >>> same = {f"k{i}": {"price": -100, "size": 10 * i} for i in range(8)}      # price is bad everywhere
        >>> found = baselines_of(pair(same, same), Resamples(None), np.random.default_rng(0))
        >>> found.best, round(found.scores["constant"].r, 2), round(found.margin, 2)
        ('constant', 0.96, 0.04)
    """
    n = len(pairing)
    if not n:
        why = "no context could be scored"
        names = [f"baseline_{name}_{what}" for name in BASELINES for what in ("r", "mae")]
        nothing = {name: Baseline(math.nan, math.nan) for name in BASELINES}
        return Baselines(scores=nothing, reasons=dict.fromkeys([*names, "margin", "margin_interval"], why))
    sums = {name: np.zeros((n, 6)) for name in BASELINES}
    errors = dict.fromkeys(BASELINES, 0.0)
    for at, said, learned in pairing.groups():
        constant = _means_of_others(learned, [pairing.predictors[i] for i in at])
        prior = max_scaled(rng.uniform(-1.0, 1.0, (N_PRIOR // 2, *learned.shape)))
        prior = np.concatenate([prior, -prior])  # each with its opposite, so that r is 0 and not chance
        if not pairing.signed:
            prior = np.abs(prior)
        for name, vectors in (("constant", constant), ("zero", np.zeros_like(learned))):
            sums[name][at] = six_sums(vectors, learned)
            errors[name] += float(np.abs(vectors - learned).sum())
        sums["prior"][at] = six_sums(prior, learned[None]).mean(axis=0)
        errors["prior"] += float(np.abs(prior - learned).sum()) / N_PRIOR
        sums["other"][at], distance = _others(said, learned)
        errors["other"] += distance
    n_points = pairing.moments.sums[:, 0].sum()
    moments = {name: Moments(pairing.ids, rows) for name, rows in sums.items()}
    scores = {name: Baseline(moments[name].pooled(), errors[name] / n_points) for name in BASELINES}
    reasons = {f"baseline_{name}_r": FLAT for name, score in scores.items() if math.isnan(score.r)}
    rated = {name: score.r for name, score in scores.items() if math.isfinite(score.r)}
    best = max(rated, key=lambda name: rated[name]) if rated else ""
    observed = pairing.moments.pooled()
    margin = observed - rated[best] if best else math.nan
    interval = Interval.undefined()
    if math.isnan(margin):
        reasons["margin"] = reasons["margin_interval"] = "r itself, or that of every baseline, is undefined"
    elif resamples.counts is None:
        reasons["margin_interval"] = resamples.why
    else:
        interval = difference_interval(moments[best], pairing.moments, resamples)
        if math.isnan(interval.low):
            reasons["margin_interval"] = "undefined in every resample"
    return Baselines(scores, best, margin, interval, reasons)


def _means_of_others(learned: Floats, names: list[tuple[str, ...]]) -> Floats:
    """For each context the mean weights of the others, [C, P]."""
    if len(learned) < 2:
        return np.zeros_like(learned)
    same = len({frozenset(own) for own in names}) == 1
    order = (
        np.array([np.argsort(own) for own in names]) if same else np.tile(np.arange(learned.shape[1]), (len(names), 1))
    )
    aligned = np.take_along_axis(learned, order, axis=1)
    means = (aligned.sum(axis=0) - aligned) / (len(learned) - 1)
    placed: Floats = np.empty_like(means)
    np.put_along_axis(placed, order, means, axis=1)
    return placed


def _others(said: Floats, learned: Floats) -> tuple[Floats, float]:
    """Six sums that the average other context's report gives, [C, 6], and its summed absolute error."""
    n = len(said)
    if n < 2:
        return six_sums(np.zeros_like(learned), learned), float(np.abs(learned).sum())
    mean = (said.sum(axis=0) - said) / (n - 1)
    sums = six_sums(mean, learned)
    squares = (said * said).sum(axis=1)
    sums[:, 3] = (squares.sum() - squares) / (n - 1)
    shifts = np.unique(np.linspace(1, n - 1, min(n - 1, MAX_SHIFTS)).astype(int))
    distance = float(np.mean([np.abs(np.roll(said, int(shift), axis=0) - learned).sum() for shift in shifts]))
    return sums, distance
