"""Several reports on one context: how well they agree, and what averaging them is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from introspect.measure.intervals import difference_interval
from introspect.measure.moments import Moments, correlation, six_sums
from introspect.measure.pairing import Pairing, max_scaled
from introspect.measure.report_table import ReportTable
from introspect.measure.resampling import Interval, Resamples

__all__ = ["Repeats", "ReportHalves", "repeats_of", "report_halves", "usable_reports"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReportHalves:
    """Random halves of each context's repeats, averaged, scaled and correlated.

    Attributes:
        sums: Six sums of the two halves of each context in each split, [C, S, 6]; all 0 where a context has one
            report.
        k: Mean number of usable reports in a scored context.
        half: Mean number of reports in a half.
    """

    sums: Floats
    k: float
    half: float

    def half_r(self, counts: Floats | None) -> Floats:
        """Mean over splits of r between halves, [B]; of all contexts once without counts, [1]."""
        n, n_splits, _ = self.sums.shape
        weights = np.ones((1, n)) if counts is None else counts
        total = (weights @ self.sums.reshape(n, -1)).reshape(len(weights), n_splits, 6)
        means: Floats = correlation(total).mean(axis=1)
        return means

    def reliability(self, counts: Floats | None) -> Floats:
        """Squared correlation of the averaged reports with an average of endlessly many, [B] (Spearman-Brown).

        NaN where halves do not agree at all.
        """
        r = self.half_r(counts)
        factor = self.k / self.half
        stepped: Floats = np.where(r > 0, factor * r / (1 + (factor - 1) * r), np.nan)
        return stepped


@dataclass(frozen=True)
class Repeats:
    """A single report against the average of several.

    Attributes:
        n_repeats: Mean number of usable reports in a scored context.
        single_r: Pooled r of single reports, every context with equal weight.
        averaged_r: Pooled r of the averaged reports.
        averaging_gain: averaged_r minus single_r.
        averaging_gain_interval: 95 % paired bootstrap interval of it over the contexts of this training run.
        predicted_averaged_r: What Spearman and Brown expect of the average, given single_r and how far reports agree.
        reasons: Name of an undefined number -> why it is undefined.
    """

    n_repeats: float = math.nan
    single_r: float = math.nan
    averaged_r: float = math.nan
    averaging_gain: float = math.nan
    averaging_gain_interval: Interval = field(default_factory=Interval.undefined)
    predicted_averaged_r: float = math.nan
    reasons: dict[str, str] = field(default_factory=dict)


def usable_reports(table: ReportTable, pairing: Pairing) -> list[Floats]:
    """The usable reports of each scored context, [K, P] in the pairing's order of predictors, as they were given."""
    place = {name: c for c, name in enumerate(table.scenario_ids)}
    valid = np.flatnonzero(table.valid)
    order = valid[np.argsort(table.scenario_index[valid], kind="stable")]
    starts = np.searchsorted(table.scenario_index[order], np.arange(len(table.scenario_ids) + 1))
    found = []
    for name, wanted in zip(pairing.ids, pairing.predictors, strict=True):
        c = place[name]
        own = table.predictors[c]
        columns = [own.index(predictor) for predictor in wanted]
        found.append(table.weights[order[starts[c] : starts[c + 1]]][:, columns])
    return found


def report_halves(
    reports: list[Floats], n_splits: int, rng: np.random.Generator, signed: bool = True
) -> ReportHalves | None:
    """Random halves of the repeats, of an odd number all but one; None where no context has two reports.

    Args:
        reports: Usable reports of each context, [K, P] each.
        n_splits: Random halvings.
        rng: Generator.
        signed: Whether reports say signs.
    """
    sums = np.zeros((len(reports), n_splits, 6))
    sizes = []
    for (k, _), members in _alike(reports).items():
        half = k // 2
        if not half:
            continue
        sizes += [half] * len(members)
        rows = np.stack([reports[i] for i in members])
        order = rng.permuted(np.broadcast_to(np.arange(k), (len(members), n_splits, k)), axis=2)
        drawn = rows[np.arange(len(members))[:, None, None], order]
        halves = [drawn[:, :, :half].mean(axis=2), drawn[:, :, half : 2 * half].mean(axis=2)]
        one, two = (max_scaled(part if signed else np.abs(part)) for part in halves)
        sums[members] = six_sums(one, two)
    if not sizes:
        return None
    return ReportHalves(sums, float(np.mean([len(own) for own in reports])), float(np.mean(sizes)))


def repeats_of(pairing: Pairing, reports: list[Floats], halves: ReportHalves | None, resamples: Resamples) -> Repeats:
    """Single reports against their average.

    Args:
        pairing: The two sides; its reports are the averaged ones.
        reports: Usable reports of each context, [K, P] each.
        halves: Their halves; None where no context has two.
        resamples: Bootstrap resamples of the contexts.
    """
    names = ("single_r", "averaged_r", "averaging_gain", "averaging_gain_interval", "predicted_averaged_r")
    k = float(np.mean([len(own) for own in reports])) if reports else math.nan
    if halves is None:
        return Repeats(n_repeats=k, reasons=dict.fromkeys(names, "no context has two usable reports"))
    single = _single_moments(pairing, reports)
    averaged_r, single_r = pairing.moments.pooled(), single.pooled()
    reasons: dict[str, str] = {}
    for name, value in zip(names, (single_r, averaged_r, averaged_r - single_r), strict=False):
        if math.isnan(value):
            reasons[name] = "one side does not vary at all"
    interval = Interval.undefined()
    if "averaging_gain" in reasons or resamples.counts is None:
        reasons["averaging_gain_interval"] = reasons.get("averaging_gain") or resamples.why
    else:
        interval = difference_interval(single, pairing.moments, resamples)
        if math.isnan(interval.low):
            reasons["averaging_gain_interval"] = "undefined in every resample"
    reliability = float(halves.reliability(None)[0])
    one = reliability / (k - (k - 1) * reliability)  # of a single report, by the same formula backwards
    predicted = single_r * math.sqrt(reliability / one) if one > 0 else math.nan
    if math.isnan(predicted):
        reasons["predicted_averaged_r"] = reasons.get("single_r") or "reports on the same context do not agree at all"
    return Repeats(k, single_r, averaged_r, averaged_r - single_r, interval, predicted, reasons)


def _single_moments(pairing: Pairing, reports: list[Floats]) -> Moments:
    """What a context adds if one of its reports, taken at random, stands for it."""
    rows = np.zeros((len(reports), 6))
    for members in _alike(reports).values():
        own = np.stack([reports[i] for i in members])
        learned = np.stack([pairing.learned[i] for i in members])
        sums = six_sums(max_scaled(own if pairing.signed else np.abs(own)), learned[:, None])
        defined = (sums[..., 0] > 0).sum(axis=1, keepdims=True)  # a report of zeros adds nothing
        rows[members] = sums.sum(axis=1) / np.maximum(defined, 1)
    return Moments(pairing.ids, rows)


def _alike(reports: list[Floats]) -> dict[tuple[int, ...], list[int]]:
    """Places of the contexts with equally many reports and predictors."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, own in enumerate(reports):
        groups.setdefault(own.shape, []).append(i)
    return groups
