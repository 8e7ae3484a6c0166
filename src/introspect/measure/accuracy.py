"""How well reports match the weights that drive the choices, with intervals, nulls and what is undefined."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from introspect._notebook import frame_of, html_lines, interval_figure, r_words, short_repr
from introspect.measure import accuracy_words
from introspect.measure.baselines import FLAT, Baselines
from introspect.measure.ceiling import Ceiling
from introspect.measure.moments import Moments
from introspect.measure.partial import Partial
from introspect.measure.repeats import Repeats
from introspect.measure.resampling import Interval

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NOT_GIVEN", "Accuracy"]

NOT_GIVEN = {
    "choices": "no trials were given (choices=)",
    "target": "no target was given (target=)",
    "others": "no other reports were given (others=)",
    "reports": "no single reports were given",
    "weights": "no fitted weights were given",
}
"""Why a number is undefined that needs an optional input: of no interest to who did not give it."""

# Where a number that follows from another has no reason of its own, that one's holds.
_FOLLOWS = {
    "ci_low": "pooled_interval", "ci_high": "pooled_interval", "null_p": "p", "null_p_context": "p_shuffle",
    "null_p_attribute": "p_permutation", "top_attribute": "top_agreement", "n_scenarios": "n_contexts",
}  # fmt: skip


def _none() -> Interval:
    return Interval.undefined()


@dataclass(frozen=True)
class Accuracy:
    """How well what was said matches what was learned.

    All weights are scaled so that the largest magnitude in a context is 100 before they are compared.
    Undefined numbers are NaN, and `reasons` says why. `summary()` is for reading, `to_frame()` and `to_dict()`
    hold everything.

    Attributes:
        pooled_r: Pearson r over all contexts' predictors.
        pooled_interval: 95 % interval of it over the contexts of *this training run* (a studentised bootstrap
            unless the metric says otherwise): it says nothing about how another run would turn out (see
            `two_level`).
        mean_within_r: Mean over contexts of the r inside a context.
        mean_within_interval: 95 % bootstrap interval of it over contexts.
        median_within_r: Median over contexts of the r inside a context.
        sign_agreement: Share of predictors whose reported and learned weights have the same sign, of those whose
            learned sign is known (the 95 % interval of a fitted weight does not cover 0).
        top_agreement: Share of contexts whose heaviest predictor was reported as the heaviest (ties share a
            hit).
        mean_cosine: Mean over contexts of the cosine, which, unlike r, notices an offset that all weights
            share.
        coverage: Share of the contexts asked about that could be scored.
        response_rate: Share of the single reports that could be used; NaN where no single reports were given.
        p: The larger of the two p values below; one-sided, never 0.
        p_shuffle: Against reports dealt out to other contexts (what all contexts have in common is no
            introspection).
        p_permutation: Against each report's weights permuted among its own predictors.
        shuffle_quantiles: 2.5 %, 50 % and 97.5 % points of the shuffle null's r.
        permutation_quantiles: The same of the permutation null's r.
        n_contexts: Contexts scored.
        n_within: Contexts of them with a defined r of their own.
        n_points: Predictors scored, over all contexts.
        n_asked: Contexts asked about.
        dropped: Reason -> ids of the contexts left out for it.
        reasons: Name of an undefined number -> why it is undefined.
        within_r: r inside each scored context, by scenario id (NaN where undefined).
        moments: Per-context sums, for intervals over several runs.
        median_within_interval: 95 % bootstrap interval of the median over contexts.
        mean_spearman: Mean over contexts of the rank correlation inside a context.
        mae: Mean absolute difference of reported and learned weights, on the scale of +-100.
        calibration_slope: Slope of learned on reported weights; below 1, reports exaggerate differences.
        calibration_slope_interval: Its 95 % studentised interval over contexts.
        calibration_intercept: The learned weight where 0 was reported.
        calibration_intercept_interval: Its 95 % studentised interval over contexts.
        shuffle_r: Mean r of the shuffled reports.
        n_lone: Scored contexts that are alone in their number of predictors, so that none can trade with them.
        n_signs: Predictors whose learned sign is known.
        n_signs_ignored: Predictors left out of the sign agreement.
        n_reports_used: Single reports that the scores rest on.
        n_reports_dropped: Single reports that could not be used.
        reports_dropped: Status of those (or "usable, context not scored") -> how many.
        ceiling: What the noise of either side allows, and r without it.
        repeats: A single report against the average of several.
        baselines: What reports score that know nothing about the context.
        partial: Partial r given the target.
        beyond_others: Partial r given the other reports.
        learned_vs_target_r: Pooled r of the learned weights with the target.
        detected_r: Pooled r without the contexts whose choices are compatible with no preference at all: where
            there is none, scaling the largest weight to 100 makes a preference out of noise.
        n_undetected: Scored contexts of that kind.
        separated_share: Share of the scored contexts whose weights explain every choice.
        position_bias: Mean advantage of the first position over the scored contexts, in logits.
        tau: Prior scale of the learned weights, in logits.
        interval_method: How `pooled_interval` was made.
    """

    pooled_r: float
    pooled_interval: Interval
    mean_within_r: float
    mean_within_interval: Interval
    median_within_r: float
    sign_agreement: float
    top_agreement: float
    mean_cosine: float
    coverage: float
    response_rate: float
    p: float
    p_shuffle: float
    p_permutation: float
    shuffle_quantiles: tuple[float, float, float]
    permutation_quantiles: tuple[float, float, float]
    n_contexts: int
    n_within: int
    n_points: int
    n_asked: int
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    within_r: dict[str, float] = field(default_factory=dict, repr=False)
    moments: Moments = field(default_factory=lambda: Moments((), np.empty((0, 6))), repr=False, compare=False)
    median_within_interval: Interval = field(default_factory=_none)
    mean_spearman: float = math.nan
    mae: float = math.nan
    calibration_slope: float = math.nan
    calibration_slope_interval: Interval = field(default_factory=_none)
    calibration_intercept: float = math.nan
    calibration_intercept_interval: Interval = field(default_factory=_none)
    shuffle_r: float = math.nan
    n_lone: int = 0
    n_signs: int = 0
    n_signs_ignored: int = 0
    n_reports_used: int = 0
    n_reports_dropped: int = 0
    reports_dropped: dict[str, int] = field(default_factory=dict)
    ceiling: Ceiling = field(default_factory=Ceiling)
    repeats: Repeats = field(default_factory=Repeats)
    baselines: Baselines = field(default_factory=Baselines)
    partial: Partial = field(default_factory=Partial)
    beyond_others: Partial = field(default_factory=Partial)
    learned_vs_target_r: float = math.nan
    detected_r: float = math.nan
    n_undetected: int = 0
    separated_share: float = math.nan
    position_bias: float = math.nan
    tau: float = math.nan
    interval_method: str = "z-t"

    @property
    def doubts(self) -> dict[str, str]:
        """The reasons without those that are as expected: an optional input was not given."""
        expected = {*NOT_GIVEN.values(), FLAT}
        return {name: why for name, why in self.reasons.items() if why not in expected}

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON: every NaN is null, parts are flattened, and the per-context sums are left out.

        The names that the command line prints stand beside the attributes' own: `n_scenarios`, `ci_low`,
        `ci_high`, `top_attribute`, `null_p`, `null_p_context`, `null_p_attribute`; `ceiling` is the total one.
        """
        flat = {name: _plain(value) for name, value in self._numbers().items()}
        whole = ("shuffle_quantiles", "permutation_quantiles", "dropped", "reports_dropped", "reasons", "within_r")
        flat |= {name: _plain(getattr(self, name)) for name in whole}
        flat["best_baseline"], flat["interval_method"] = self.baselines.best, self.interval_method
        return flat

    def to_frame(self) -> pd.DataFrame:
        """One row per number: name, value, ends of its interval where it has one, and why it is undefined."""
        numbers = self._numbers()
        rows = []
        for name, value in numbers.items():
            if isinstance(value, Interval) or name in ("ci_low", "ci_high"):
                continue
            stem = name.removesuffix("_r")
            ends = next((numbers[k] for k in (f"{name}_interval", f"{stem}_interval") if k in numbers), _none())
            reason = self.reason(name) if math.isnan(float(value)) else ""
            low, high = ends if isinstance(ends, Interval) else _none()
            rows.append({"name": name, "value": float(value), "low": low, "high": high, "reason": reason})
        return frame_of(rows, ["name", "value", "low", "high", "reason"])

    def __repr__(self) -> str:
        over = f"over {self.n_contexts} contexts, coverage {self.coverage:.0%}"
        return short_repr(self, f"{r_words(self.pooled_r, *self.pooled_interval)} {over}")

    def _repr_html_(self) -> str:
        i, q = self.pooled_interval, self.shuffle_quantiles
        figure = interval_figure(self.pooled_r, i.low, i.high, (q[0], q[-1]), self.ceiling.total)
        return html_lines("Reports against measured weights", self.sentences(), figure)

    def reason(self, name: str) -> str:
        """Why a number of `to_dict` or `to_frame` is undefined; "" where it is not."""
        return self.reasons.get(name) or self.reasons.get(_FOLLOWS.get(name, ""), "")

    def sentences(self) -> list[str]:
        """The result in words, the undefined parts with their reasons."""
        return accuracy_words.sentences(self)

    def summary(self) -> str:
        """The result as a short block of text."""
        return accuracy_words.summary(self)

    def _numbers(self) -> dict[str, float | int | Interval]:
        """Every number and interval under its flat name."""
        c, k, b = self.ceiling, self.repeats, self.baselines
        numbers: dict[str, float | int | Interval] = {
            "n_scenarios": self.n_contexts, "n_contexts": self.n_contexts, "n_asked": self.n_asked,
            "n_within": self.n_within, "n_points": self.n_points, "coverage": self.coverage,
            "n_reports_used": self.n_reports_used, "n_reports_dropped": self.n_reports_dropped,
            "response_rate": self.response_rate,
            "pooled_r": self.pooled_r, "pooled_interval": self.pooled_interval,
            "ci_low": self.pooled_interval.low, "ci_high": self.pooled_interval.high,
            "mean_within_r": self.mean_within_r, "mean_within_interval": self.mean_within_interval,
            "median_within_r": self.median_within_r, "median_within_interval": self.median_within_interval,
            "mean_spearman": self.mean_spearman, "mean_cosine": self.mean_cosine,
            "sign_agreement": self.sign_agreement, "n_signs": self.n_signs, "n_signs_ignored": self.n_signs_ignored,
            "top_agreement": self.top_agreement, "top_attribute": self.top_agreement, "mae": self.mae,
            "calibration_slope": self.calibration_slope,
            "calibration_slope_interval": self.calibration_slope_interval,
            "calibration_intercept": self.calibration_intercept,
            "calibration_intercept_interval": self.calibration_intercept_interval,
            "ceiling": c.total, "ceiling_weights": c.weights, "ceiling_reports": c.reports,
            "weights_half_r": c.weights_half_r, "reports_half_r": c.reports_half_r,
            "disattenuated_r": c.disattenuated_r, "disattenuated_interval": c.disattenuated_interval,
            "disattenuated_report_r": c.disattenuated_report_r,
            "disattenuated_report_interval": c.disattenuated_report_interval,
            "disattenuated_both_r": c.disattenuated_both_r,
            "disattenuated_both_interval": c.disattenuated_both_interval,
            "p": self.p, "p_shuffle": self.p_shuffle, "p_permutation": self.p_permutation,
            "null_p": self.p, "null_p_context": self.p_shuffle, "null_p_attribute": self.p_permutation,
            "shuffle_r": self.shuffle_r, "n_lone": self.n_lone,
        }  # fmt: skip
        for name, score in b.scores.items():
            numbers |= {f"baseline_{name}_r": score.r, f"baseline_{name}_mae": score.mae}
        numbers |= {"margin": b.margin, "margin_interval": b.margin_interval}
        numbers |= {
            "n_repeats": k.n_repeats, "single_r": k.single_r, "averaged_r": k.averaged_r,
            "averaging_gain": k.averaging_gain, "averaging_gain_interval": k.averaging_gain_interval,
            "predicted_averaged_r": k.predicted_averaged_r,
        }  # fmt: skip
        for prefix, part in (("partial", self.partial), ("beyond_others", self.beyond_others)):
            numbers |= {
                f"{prefix}_r": part.r, f"{prefix}_interval": part.interval, f"{prefix}_p": part.p,
                f"{prefix}_p_context": part.p_shuffle, f"{prefix}_p_attribute": part.p_permutation,
                f"{prefix}_n_contexts": part.n_contexts,
            }  # fmt: skip
        return numbers | {
            "reported_vs_target_r": self.partial.reported_r, "learned_vs_target_r": self.learned_vs_target_r,
            "reported_vs_others_r": self.beyond_others.reported_r, "others_r": self.beyond_others.learned_r,
            "detected_r": self.detected_r, "n_undetected": self.n_undetected,
            "separated_share": self.separated_share, "position_bias": self.position_bias, "tau": self.tau,
        }  # fmt: skip


def _plain(value: object) -> JsonValue:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int | np.integer):
        return int(value)
    return str(value)
