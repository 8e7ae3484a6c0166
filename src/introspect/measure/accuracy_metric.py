"""Scores reports against learned weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.errors import MeasureError
from introspect.measure.accuracy import Accuracy
from introspect.measure.moments import Moments, correlation
from introspect.measure.pairing import Pairing, WeightsLike, pair
from introspect.measure.report_table import ReportTable
from introspect.measure.resampling import (
    Interval,
    bootstrap_counts,
    p_value,
    percentile_interval,
    permuted_cross_products,
    shuffled_cross_products,
)
from introspect.measure.rise import Rise, rise_between

__all__ = ["MIN_CONTEXTS", "AccuracyMetric"]

Floats = NDArray[np.float64]

MIN_CONTEXTS = 10
"""Below this many contexts a bootstrap over contexts is too short to be believed: no interval is given."""

LEVEL = 0.95


@dataclass(frozen=True)
class AccuracyMetric:
    """Scores reports against learned weights.

    Attributes:
        n_boot: Bootstrap resamples of contexts.
        n_null: Draws from each permutation null; the smallest possible p is 1 / (1 + n_null).

    Example:
        >>> learned = {f"k{i}": {"age": i - 7.0, "price": 3.0, "size": 2.0 - i} for i in range(12)}
        >>> accuracy = AccuracyMetric(n_boot=200, n_null=99).score(learned, learned, rng=0)
        >>> round(accuracy.pooled_r, 6), accuracy.coverage, accuracy.p
        (1.0, 1.0, 0.01)
    """

    n_boot: int = 2000
    n_null: int = 2000

    def __post_init__(self) -> None:
        if self.n_boot < 1 or self.n_null < 1:
            raise MeasureError(f"n_boot and n_null must be at least 1, got {self.n_boot} and {self.n_null}")

    def score(self, reports: WeightsLike, weights: WeightsLike, rng: RNG) -> Accuracy:
        """How well the reports match the weights.

        Args:
            reports: A ReportTable, or scenario_id -> {predictor: weight}. Its contexts are the ones asked
                about.
            weights: LearnedWeights, or scenario_id -> {predictor: weight}.
            rng: Seed of the bootstrap and of the nulls.

        Raises:
            MeasureError: A scenario's predictors have different names on the two sides.
        """
        seed = root_seed(rng)
        pairing = pair(reports, weights)
        moments = pairing.moments
        reasons: dict[str, str] = {}
        pooled = moments.pooled() if len(moments) else math.nan
        if not len(moments):
            reasons["pooled_r"] = "no context could be scored"
        elif math.isnan(pooled):
            reasons["pooled_r"] = "one side does not vary at all"
        within = moments.within()
        defined = within[np.isfinite(within)]
        if not defined.size:
            reasons["mean_within_r"] = "in no context do both sides vary"
        elif defined.size < len(moments):
            reasons["within_r"] = f"constant on one side in {len(moments) - defined.size} contexts"
        interval, within_interval = self._intervals(moments, within, seed, reasons)
        shuffle, permutation = self._nulls(pairing, seed)
        p_shuffle, p_permutation = p_value(shuffle, pooled), p_value(permutation, pooled)
        if math.isnan(p_shuffle):
            reasons["p_shuffle"] = "needs a defined r and two contexts with equally many predictors"
        if math.isnan(p_permutation):
            reasons["p_permutation"] = "needs a defined r"
        response_rate = reports.response_rate if isinstance(reports, ReportTable) else math.nan
        if math.isnan(response_rate):
            reasons["response_rate"] = "no single reports were given"
        signs, tops, cosines = _agreements(pairing)
        if not len(moments):
            for name in ("sign_agreement", "top_agreement", "mean_cosine"):
                reasons[name] = "no context could be scored"
        if not pairing.n_asked:
            reasons["coverage"] = "no context was asked about"
        if not pairing.signed:
            signs = []
            reasons["sign_agreement"] = "the reports say no signs; magnitudes were compared"
        return Accuracy(
            pooled_r=pooled,
            pooled_interval=interval,
            mean_within_r=_mean(defined),
            mean_within_interval=within_interval,
            median_within_r=float(np.median(defined)) if defined.size else math.nan,
            sign_agreement=_mean(signs),
            top_agreement=_mean(tops),
            mean_cosine=_mean(cosines),
            coverage=len(pairing) / pairing.n_asked if pairing.n_asked else math.nan,
            response_rate=response_rate,
            # NaN-propagating: one null alone is not enough, so without both there is no p.
            p=float(np.maximum(p_shuffle, p_permutation)),
            p_shuffle=p_shuffle,
            p_permutation=p_permutation,
            shuffle_quantiles=_quantiles(shuffle),
            permutation_quantiles=_quantiles(permutation),
            n_contexts=len(pairing),
            n_within=int(defined.size),
            n_points=int(moments.sums[:, 0].sum()),
            n_asked=pairing.n_asked,
            dropped=pairing.dropped,
            reasons=reasons,
            within_r=dict(zip(moments.ids, within.tolist(), strict=True)),
            moments=moments,
        )

    def compare(
        self,
        before: WeightsLike,
        after: WeightsLike,
        weights: WeightsLike,
        rng: RNG,
        *,
        after_weights: WeightsLike | None = None,
    ) -> Rise:
        """The rise of the pooled r from one set of reports to another, over the contexts both can be scored
        on.

        Args:
            before: Reports before, as in `score`.
            after: Reports after.
            weights: What both are scored against.
            rng: Seed of the bootstrap and of the swaps.
            after_weights: What the reports after are scored against, if not `weights`.

        Raises:
            MeasureError: As `score`.

        Example:
            >>> learned = {f"k{i}": {"age": i - 7.0, "price": 3.0, "size": 2.0 - i} for i in range(12)}
            >>> rise = AccuracyMetric(n_boot=200, n_null=99).compare(learned, learned, learned, rng=0)
            >>> rise.rise, rise.p
            (0.0, 1.0)
        """
        first = pair(before, weights).moments
        second = pair(after, weights if after_weights is None else after_weights).moments
        return rise_between(
            first,
            second,
            n_boot=self.n_boot,
            n_null=self.n_null,
            min_contexts=MIN_CONTEXTS,
            rng=root_seed(rng),
        )

    def _intervals(
        self, moments: Moments, within: Floats, seed: int, reasons: dict[str, str]
    ) -> tuple[Interval, Interval]:
        if len(moments) < MIN_CONTEXTS:
            too_few = f"{len(moments)} contexts; an interval over contexts needs at least {MIN_CONTEXTS}"
            reasons["pooled_interval"] = reasons["mean_within_interval"] = too_few
            return Interval.undefined(), Interval.undefined()
        counts = bootstrap_counts(len(moments), self.n_boot, stream(seed, "accuracy", "bootstrap"))
        pooled = percentile_interval(moments.resampled(counts), LEVEL)
        if math.isnan(pooled.low):
            reasons["pooled_interval"] = "r is undefined in every resample"
        defined = np.isfinite(within)
        if np.count_nonzero(defined) < MIN_CONTEXTS:
            reasons["mean_within_interval"] = f"r is defined inside fewer than {MIN_CONTEXTS} contexts"
            return pooled, Interval.undefined()
        with np.errstate(invalid="ignore"):
            means = counts[:, defined] @ within[defined] / counts[:, defined].sum(axis=1)
        return pooled, percentile_interval(means, LEVEL)

    def _nulls(self, pairing: Pairing, seed: int) -> tuple[Floats, Floats]:
        """r of shuffled and of permuted reports. Only the cross products move and are recomputed."""
        groups = pairing.by_width()
        total = pairing.moments.sums.sum(axis=0)
        outcomes = []
        for kind, draw in (("shuffle", shuffled_cross_products), ("permutation", permuted_cross_products)):
            if not groups or (kind == "shuffle" and all(len(x) < 2 for x, _ in groups)):
                outcomes.append(np.full(1, np.nan))
                continue
            rng = stream(seed, "accuracy", kind)
            sums = np.repeat(total[None], self.n_null, axis=0)
            sums[:, 5] = sum(draw(x, y, self.n_null, rng) for x, y in groups)
            outcomes.append(correlation(sums))
        return outcomes[0], outcomes[1]


def _agreements(pairing: Pairing) -> tuple[list[float], list[float], list[float]]:
    """Sign hits per predictor, top hits and cosine per context. A reported 0 agrees with no sign."""
    signs: list[float] = []
    tops: list[float] = []
    cosines: list[float] = []
    for said, learned in zip(pairing.said, pairing.learned, strict=True):
        used = learned != 0
        signs += (np.sign(said[used]) == np.sign(learned[used])).astype(float).tolist()
        heaviest = np.abs(said) >= np.abs(said).max() * (1 - 1e-12)
        tops.append(float(heaviest[np.abs(learned).argmax()]) / np.count_nonzero(heaviest))
        cosines.append(float(said @ learned / (np.linalg.norm(said) * np.linalg.norm(learned))))
    return signs, tops, cosines


def _mean(values: Floats | list[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _quantiles(draws: Floats) -> tuple[float, float, float]:
    kept = draws[np.isfinite(draws)]
    if not kept.size:
        return (math.nan, math.nan, math.nan)
    low, middle, high = np.quantile(kept, [0.025, 0.5, 0.975])
    return (float(low), float(middle), float(high))
