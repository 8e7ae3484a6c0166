"""How high r could get, given the noise of both sides, and what it would be without that noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError
from introspect.measure.moments import correlation, six_sums
from introspect.measure.pairing import Pairing, max_scaled
from introspect.measure.repeats import ReportHalves
from introspect.measure.resampling import Interval, Resamples, percentile_interval

__all__ = ["LOW_CEILING", "Ceiling", "ceiling_of", "weight_halves"]

Floats = NDArray[np.float64]
Halves = Mapping[str, tuple[Floats, Floats]]

LOW_CEILING = 0.8
"""Below this ceiling a low r says more about the measurement than about the model."""


@dataclass(frozen=True)
class Ceiling:
    """The largest r that the noise of measuring allows, and r with that noise taken out.

    Attributes:
        weights: Of the measured weights: the square root of their reliability, from random halves of the
            trials (Spearman-Brown).
        reports: Of the averaged reports: the same from random halves of the repeats.
        total: The product of the two.
        weights_half_r: Mean r between the weights of two halves of the trials.
        reports_half_r: Mean r between the averages of two halves of the repeats.
        disattenuated_r: r that weights measured without noise would give: the mean r of the reports with half
            weights over the square root of the mean r between halves. It needs no Spearman-Brown, which
            corrects too much where trials are few.
        disattenuated_interval: 95 % bootstrap interval of it over the contexts of this training run.
        disattenuated_report_r: r that an average over endlessly many repeats would give.
        disattenuated_report_interval: Its interval.
        disattenuated_both_r: r with both kinds of noise taken out.
        disattenuated_both_interval: Its interval.
        n_splits: Random halvings that were averaged.
        reasons: Name of an undefined number in `Accuracy.to_dict` -> why it is undefined.
    """

    weights: float = math.nan
    reports: float = math.nan
    total: float = math.nan
    weights_half_r: float = math.nan
    reports_half_r: float = math.nan
    disattenuated_r: float = math.nan
    disattenuated_interval: Interval = field(default_factory=Interval.undefined)
    disattenuated_report_r: float = math.nan
    disattenuated_report_interval: Interval = field(default_factory=Interval.undefined)
    disattenuated_both_r: float = math.nan
    disattenuated_both_interval: Interval = field(default_factory=Interval.undefined)
    n_splits: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def low(self) -> bool:
        """Whether a known ceiling is so low that r mostly shows noise."""
        known = [value for value in (self.total, self.weights, self.reports) if math.isfinite(value)]
        return bool(known) and min(known) < LOW_CEILING


def weight_halves(pairing: Pairing, halves: Halves, predictors: Mapping[str, tuple[str, ...]]) -> list[Floats | None]:
    """Normalised weights of both halves of each context's trials, [2, S, P] in the pairing's order of predictors.

    None where a context has no halves.

    Args:
        pairing: The contexts.
        halves: Scenario id -> weights of the one and of the other half, [S, P] each.
        predictors: Scenario id -> names of those columns.

    Raises:
        MeasureError: The trials have other predictors than the learned weights.
    """
    found: list[Floats | None] = []
    for name, order in zip(pairing.ids, pairing.predictors, strict=True):
        if name not in halves:
            found.append(None)
            continue
        own = predictors[name]
        if set(own) != set(order):
            raise MeasureError(
                f"scenario {name!r}: the trials have the predictors {list(own)}, the weights {list(order)}"
            )
        both = np.stack([np.asarray(half, dtype=float) for half in halves[name]])
        both = both[:, :, [own.index(predictor) for predictor in order]]
        found.append(max_scaled(both if pairing.signed else np.abs(both)))
    return found


def ceiling_of(
    pairing: Pairing,
    halves: list[Floats | None] | None,
    reports: ReportHalves | None,
    resamples: Resamples,
    *,
    no_halves: str = "",
    no_reports: str = "",
) -> Ceiling:
    """Ceilings and disattenuated r.

    Args:
        pairing: The two sides.
        halves: Each context's half weights, by `weight_halves`; None without trials.
        reports: Halves of the repeats; None without single reports.
        resamples: Bootstrap resamples of the contexts.
        no_halves: Why there are no half weights.
        no_reports: Why there are no halves of repeats.

    Example:
        >>> from introspect.measure.pairing import pair
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.normal(size=(200, 5))
        >>> side = lambda values: {f"k{i:03d}": dict(zip("pqrst", row)) for i, row in enumerate(values)}
        >>> one, two = (truth + rng.normal(0, 0.5, truth.shape) for _ in range(2))       # of the halves
        >>> both = pair(side(truth + rng.normal(0, 0.75, truth.shape)), side((one + two) / 2))
        >>> parts = {k: (a[None], b[None]) for k, a, b in zip(both.ids, one, two)}
        >>> names = dict.fromkeys(both.ids, tuple("pqrst"))
        >>> ceiling = ceiling_of(both, weight_halves(both, parts, names), None, Resamples(None))
        >>> round(both.moments.pooled(), 2), round(ceiling.weights, 2), round(ceiling.disattenuated_r, 2)
        (0.71, 0.92, 0.77)
    """
    sums = _half_sums(pairing, halves)
    half_r, across = (float(value[0]) for value in _half_r(sums, None))
    repeat_r = float(reports.half_r(None)[0]) if reports is not None else math.nan
    root = math.sqrt(half_r) if half_r > 0 else math.nan
    report_root = math.sqrt(float(reports.reliability(None)[0])) if repeat_r > 0 and reports else math.nan
    observed = pairing.moments.pooled() if len(pairing) else math.nan
    weights = math.sqrt(2 * half_r / (1 + half_r)) if half_r > 0 else math.nan
    drawn = _draws(pairing, sums, reports, resamples.counts)

    why_weights = "" if weights == weights else no_halves or _disagree("trials", half_r)
    why_reports = "" if report_root == report_root else no_reports or _disagree("repeated reports", repeat_r)
    numbers = {
        "disattenuated_r": (across / root, why_weights),
        "disattenuated_report_r": (observed / report_root, why_reports),
        "disattenuated_both_r": (across / root / report_root, why_weights or why_reports),
    }
    reasons = {"ceiling_weights": why_weights, "ceiling_reports": why_reports, "ceiling": why_weights or why_reports}
    if math.isnan(half_r):
        reasons["weights_half_r"] = why_weights
    if math.isnan(repeat_r):
        reasons["reports_half_r"] = why_reports
    for name, (value, why) in numbers.items():
        if math.isnan(value):
            reasons[name] = why or "r itself is undefined"
        if math.isnan(drawn[name].low):
            reasons[name.removesuffix("r") + "interval"] = (
                reasons.get(name) or resamples.why or "undefined in all resamples"
            )
    return Ceiling(
        weights=weights,
        reports=report_root,
        total=weights * report_root,
        weights_half_r=half_r,
        reports_half_r=repeat_r,
        disattenuated_r=numbers["disattenuated_r"][0],
        disattenuated_interval=drawn["disattenuated_r"],
        disattenuated_report_r=numbers["disattenuated_report_r"][0],
        disattenuated_report_interval=drawn["disattenuated_report_r"],
        disattenuated_both_r=numbers["disattenuated_both_r"][0],
        disattenuated_both_interval=drawn["disattenuated_both_r"],
        n_splits=sums.shape[2],
        reasons={name: why for name, why in reasons.items() if why},
    )


def _disagree(what: str, half_r: float) -> str:
    if math.isnan(half_r):
        return f"no two halves of the {what} could be compared"
    return f"the halves of the {what} do not agree (r = {half_r:.2f} between them), so there is nothing to correct by"


def _half_sums(pairing: Pairing, halves: list[Floats | None] | None) -> Floats:
    """Six sums of (report, one half), (report, other half), (half, half), [3, C, S, 6]."""
    known = [half for half in halves or () if half is not None]
    n_splits = known[0].shape[1] if known else 0
    sums = np.zeros((3, len(pairing), n_splits, 6))
    if halves is None or not known:
        return sums
    for at, said, _ in pairing.groups():
        kept = [k for k, i in enumerate(at) if halves[i] is not None]
        if not kept:
            continue
        both = np.stack([half for i in at if (half := halves[i]) is not None], axis=1)
        rows = at[kept]
        for side in (0, 1):
            sums[side, rows] = six_sums(said[kept][:, None, :], both[side])
        sums[2, rows] = six_sums(both[0], both[1])
        # A split whose one half has no weights tells nothing, on neither side.
        dead = (sums[:, rows][..., 0] == 0).any(axis=0)
        sums[:, rows] = np.where(dead[None, :, :, None], 0.0, sums[:, rows])
    return sums


def _half_r(sums: Floats, counts: Floats | None) -> tuple[Floats, Floats]:
    """Mean over splits of r between halves, and of r between reports and halves, [B] each; [1] without counts."""
    _, n, n_splits, _ = sums.shape
    weights = np.ones((1, n)) if counts is None else counts
    if not n_splits:
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    flat = np.moveaxis(sums, 1, 0).reshape(n, -1)
    r = correlation((weights @ flat).reshape(len(weights), 3, n_splits, 6))
    return r[:, 2].mean(axis=1), r[:, :2].mean(axis=(1, 2))


def _draws(pairing: Pairing, sums: Floats, reports: ReportHalves | None, counts: Floats | None) -> dict[str, Interval]:
    names = ("disattenuated_r", "disattenuated_report_r", "disattenuated_both_r")
    found = dict.fromkeys(names, Interval.undefined())
    if counts is None:
        return found
    half_r, across = _half_r(sums, counts)
    without = across / np.sqrt(np.where(half_r > 0, half_r, np.nan))
    found["disattenuated_r"] = percentile_interval(without)
    if reports is not None:
        root = np.sqrt(reports.reliability(counts))
        found["disattenuated_report_r"] = percentile_interval(pairing.moments.resampled(counts) / root)
        found["disattenuated_both_r"] = percentile_interval(without / root)
    return found
