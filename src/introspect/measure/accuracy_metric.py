"""Scores reports against learned weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.accuracy import NOT_GIVEN, Accuracy
from introspect.measure.agreement import agreement_of
from introspect.measure.baselines import baselines_of
from introspect.measure.ceiling import Ceiling, ceiling_of, weight_halves
from introspect.measure.choice_model import ChoiceModel, Estimator
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.intervals import IntervalMethod, calibration_of, pooled_interval, within_of
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.nulls import null_draws
from introspect.measure.pairing import Pairing, WeightsLike, pair
from introspect.measure.partial import NAMES as PARTIAL_NAMES
from introspect.measure.partial import Partial, partial_of
from introspect.measure.provenance import choices_behind, reports_used
from introspect.measure.repeats import Repeats, ReportHalves, repeats_of, report_halves, usable_reports
from introspect.measure.report_table import ReportTable
from introspect.measure.resampling import MIN_UNITS, Resamples, p_value
from introspect.measure.rise import Rise, rise_between

__all__ = ["MIN_CONTEXTS", "AccuracyMetric"]

Floats = NDArray[np.float64]

MIN_CONTEXTS = MIN_UNITS
"""Below this many contexts no interval is given."""


@dataclass(frozen=True)
class AccuracyMetric:
    """Scores reports against learned weights.

    Attributes:
        n_boot: Bootstrap resamples of contexts.
        n_null: Draws from each permutation null; the smallest possible p is 1 / (1 + n_null).
        n_splits: Random halvings of trials and of repeated reports, for the ceilings.
        interval: Interval of the pooled r over contexts: "z-t" (bootstrap on Fisher's z, each resample
            studentised by its own error), "percentile" (too short below some 50 contexts) or "jackknife"
            (Student's t on Fisher's z).

    Example:
        >>> learned = {f"k{i}": {"age": i - 7.0, "price": 3.0, "size": 2.0 - i} for i in range(12)}
        >>> accuracy = AccuracyMetric(n_boot=200, n_null=99).score(learned, learned, rng=0)
        >>> round(accuracy.pooled_r, 6), accuracy.coverage, accuracy.p
        (1.0, 1.0, 0.01)
    """

    n_boot: int = 2000
    n_null: int = 2000
    n_splits: int = 10
    interval: IntervalMethod = "z-t"

    def __post_init__(self) -> None:
        if self.n_boot < 1 or self.n_null < 1:
            raise MeasureError(f"n_boot and n_null must be at least 1, got {self.n_boot} and {self.n_null}")
        if self.n_splits < 1:
            raise MeasureError(f"n_splits must be at least 1, got {self.n_splits}")
        if self.interval not in get_args(IntervalMethod):
            raise MeasureError(f"interval must be one of {', '.join(get_args(IntervalMethod))}, got {self.interval!r}")

    def score(
        self,
        reports: WeightsLike,
        weights: WeightsLike,
        rng: RNG,
        *,
        choices: ChoiceTable | TrialSet | None = None,
        target: WeightsLike | None = None,
        others: WeightsLike | None = None,
        model: ChoiceModel | None = None,
    ) -> Accuracy:
        """How well the reports match the weights.

        Args:
            reports: A ReportTable, or scenario_id -> {predictor: weight}. Its contexts are the ones asked
                about.
            weights: LearnedWeights, or scenario_id -> {predictor: weight}.
            rng: Seed of the bootstrap, of the nulls and of the halvings.
            choices: The choices that the weights were fitted to: gives the ceiling and r without their noise.
            target: The preference that was taught: gives r beyond it.
            others: Reports of another model, or of the same one before it was taught: gives r beyond them.
            model: The estimator for halves of the choices; as the weights were fitted, as far as that is known.

        Raises:
            MeasureError: A scenario's predictors have different names on the two sides.
        """
        seed = root_seed(rng)
        pairing = pair(reports, weights)
        moments = pairing.moments
        resamples = Resamples.of(len(pairing), self.n_boot, stream(seed, "accuracy", "bootstrap"))
        reasons: dict[str, str] = {}
        r = moments.pooled() if len(moments) else math.nan
        if math.isnan(r):
            reasons["pooled_r"] = "one side does not vary at all" if len(moments) else "no context could be scored"
        if not pairing.n_asked:
            reasons["coverage"] = "no context was asked about"
        nulls = null_draws(pairing, self.n_null, seed)
        p_shuffle, p_permutation = p_value(nulls.shuffle, r), p_value(nulls.permutation, r)
        if math.isnan(p_shuffle):
            reasons["p_shuffle"] = "needs a defined r and two contexts with equally many predictors"
        if math.isnan(nulls.shuffle_r):
            reasons["shuffle_r"] = reasons["p_shuffle"]
        if math.isnan(p_permutation):
            reasons["p_permutation"] = "needs a defined r"
        if math.isnan(p_shuffle) or math.isnan(p_permutation):
            reasons["p"] = "needs both nulls"
        repeats, repeat_halves = self._repeats(reports, pairing, resamples, seed)
        ceiling = self._ceiling(pairing, weights, choices, model, repeats, repeat_halves, resamples, seed)
        baselines = baselines_of(pairing, resamples, stream(seed, "accuracy", "prior"))
        for part in (repeats, ceiling, baselines):
            reasons |= part.reasons
        return Accuracy(
            pooled_r=r,
            pooled_interval=pooled_interval(moments, resamples, self.interval, reasons),
            coverage=len(pairing) / pairing.n_asked if pairing.n_asked else math.nan,
            # NaN-propagating: one null alone is not enough, so without both there is no p.
            p=float(np.maximum(p_shuffle, p_permutation)),
            p_shuffle=p_shuffle,
            p_permutation=p_permutation,
            shuffle_quantiles=_quantiles(nulls.shuffle),
            permutation_quantiles=_quantiles(nulls.permutation),
            shuffle_r=nulls.shuffle_r,
            n_lone=nulls.n_lone,
            n_contexts=len(pairing),
            n_points=int(moments.sums[:, 0].sum()),
            n_asked=pairing.n_asked,
            dropped=pairing.dropped,
            moments=moments,
            interval_method=self.interval,
            ceiling=ceiling,
            repeats=repeats,
            baselines=baselines,
            partial=self._partial(pairing, target, "target", "partial", resamples, seed, reasons),
            beyond_others=self._partial(pairing, others, "others", "beyond_others", resamples, seed, reasons),
            learned_vs_target_r=_target_r(target, weights, reasons),
            **within_of(moments, resamples, reasons),
            **calibration_of(moments, resamples, reasons),
            **agreement_of(pairing, weights, reasons),
            **reports_used(reports, pairing, reasons),
            **choices_behind(pairing, weights, reasons),
            reasons=reasons,
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

    def _repeats(
        self, reports: WeightsLike, pairing: Pairing, resamples: Resamples, seed: int
    ) -> tuple[Repeats, ReportHalves | None]:
        if not isinstance(reports, ReportTable) or not len(pairing):
            why = "no context could be scored" if isinstance(reports, ReportTable) else NOT_GIVEN["reports"]
            names = [name for name in Repeats.__dataclass_fields__ if name != "reasons"]
            return Repeats(reasons=dict.fromkeys(names, why)), None
        single = usable_reports(reports, pairing)
        halves = report_halves(single, self.n_splits, stream(seed, "accuracy", "repeats"), pairing.signed)
        return repeats_of(pairing, single, halves, resamples), halves

    def _ceiling(
        self,
        pairing: Pairing,
        weights: WeightsLike,
        choices: ChoiceTable | TrialSet | None,
        model: ChoiceModel | None,
        repeats: Repeats,
        repeat_halves: ReportHalves | None,
        resamples: Resamples,
        seed: int,
    ) -> Ceiling:
        halves = None
        if choices is not None and len(pairing):
            trials = choices.trials if isinstance(choices, ChoiceTable) else choices
            names = {scenario.id: scenario.predictors for scenario in trials.scenarios}
            rng = stream(seed, "accuracy", "trials")
            split = (model or _estimator(weights)).split_halves(choices, self.n_splits, rng)
            halves = weight_halves(pairing, split, names)
        return ceiling_of(
            pairing,
            halves,
            repeat_halves,
            resamples,
            no_halves=NOT_GIVEN["choices"] if choices is None else "",
            no_reports=repeats.reasons["single_r"] if repeat_halves is None else "",
        )

    def _partial(
        self,
        pairing: Pairing,
        third: WeightsLike | None,
        what: str,
        prefix: str,
        resamples: Resamples,
        seed: int,
        reasons: dict[str, str],
    ) -> Partial:
        if third is None:
            found = Partial(reasons=dict.fromkeys(PARTIAL_NAMES, NOT_GIVEN[what]))
        else:
            found = partial_of(pairing, third, resamples, self.n_null, seed, f"accuracy {prefix}")
        flat = {"p_shuffle": f"{prefix}_p_context", "p_permutation": f"{prefix}_p_attribute"}
        flat |= {name: f"{prefix}_{name}" for name in ("r", "interval", "p")}
        flat |= {"reported_r": f"reported_vs_{what}_r"} | ({"learned_r": "others_r"} if what == "others" else {})
        reasons |= {flat[name]: why for name, why in found.reasons.items() if name in flat}
        return found


def _estimator(weights: WeightsLike) -> ChoiceModel:
    """The estimator that the weights say they come from; the default one where they do not say."""
    if not isinstance(weights, LearnedWeights):
        return ChoiceModel()
    return ChoiceModel(
        estimator=cast(Estimator, weights.estimator) if weights.estimator in get_args(Estimator) else "eb",
        tau=weights.tau,
        intercept=any(len(own) for own in weights.intercept),
        intercept_sd=weights.intercept_sd,
    )


def _target_r(target: WeightsLike | None, weights: WeightsLike, reasons: dict[str, str]) -> float:
    if target is None:
        reasons["learned_vs_target_r"] = NOT_GIVEN["target"]
        return math.nan
    moments = pair(target, weights).moments
    r = moments.pooled() if len(moments) else math.nan
    if math.isnan(r):
        reasons["learned_vs_target_r"] = "no context has both" if not len(moments) else "one side does not vary at all"
    return r


def _quantiles(draws: Floats) -> tuple[float, float, float]:
    kept = draws[np.isfinite(draws)]
    if not kept.size:
        return (math.nan, math.nan, math.nan)
    low, middle, high = np.quantile(kept, [0.025, 0.5, 0.975])
    return (float(low), float(middle), float(high))
