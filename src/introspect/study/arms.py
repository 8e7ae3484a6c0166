"""Arms: which model's reports are held against which model's choices, on which contexts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from introspect._notebook import frame_of, html_lines, short_repr
from introspect.measure import (
    Accuracy,
    AccuracyMetric,
    ChoiceTable,
    Interval,
    LearnedWeights,
    ReportTable,
    Rise,
    WeightsLike,
    pair,
)
from introspect.study.seed_data import SeedData

_Choices = Sequence[tuple[ChoiceTable, Sequence[str] | None]]

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ARMS", "Arm", "arms_of", "drift_of", "rises_of"]

ARMS = ("untuned", "instilled", "report-trained", "native-before", "native-after")
"""The arms of the published study; the others are the controls that it lacks."""

_TOLD = frozenset({
    "pooled_r", "pooled_interval", "mean_within_r", "mean_within_interval", "within_r", "p_shuffle", "p_permutation",
    "sign_agreement", "top_agreement", "mean_cosine", "coverage", "response_rate", "margin",
})  # fmt: skip
"""Numbers whose reasons a study's table repeats; those of all others are in `Accuracy`."""


@dataclass(frozen=True)
class Arm:
    """One comparison of reports with weights, in one seed.

    Attributes:
        name: What it is called.
        reports_from: The model that reported.
        weights_from: The model whose choices the weights were measured from.
        accuracy: How well the two agree.
        choice_accuracy: Share of that model's choices that follow the target (NaN without target).
        learned_vs_target_r: Pooled r of its weights with the target (NaN without target).
        said: Normalised reported weights by context, for figures.
        learned: Normalised measured weights by context, in the same order of predictors.
    """

    name: str
    reports_from: str
    weights_from: str
    accuracy: Accuracy
    choice_accuracy: float
    learned_vs_target_r: float
    said: Mapping[str, tuple[float, ...]]
    learned: Mapping[str, tuple[float, ...]]

    def __repr__(self) -> str:
        return short_repr(self, f"{self.name!r}: {self.accuracy!r}")

    def _repr_html_(self) -> str:
        return html_lines(f"{self.name}: reports of {self.reports_from}, weights of {self.weights_from}", ()) + (
            self.accuracy._repr_html_()
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per weight: its context, what was said, what was measured; both with their largest at 100."""
        return frame_of(
            {"scenario_id": name, "predictor": k, "said": said, "learned": learned}
            for name, row in self.said.items()
            for k, (said, learned) in enumerate(zip(row, self.learned[name], strict=True))
        )

    def to_dict(self) -> dict[str, JsonValue]:
        """The row that tables and JSON show; undefined numbers are null."""
        a = self.accuracy
        row: dict[str, float | int | str] = _bounds(a) | {
            "name": self.name,
            "reports_from": self.reports_from,
            "weights_from": self.weights_from,
            "n_scenarios": a.n_contexts,
            "n_asked": a.n_asked,
            "coverage": a.coverage,
            "response_rate": a.response_rate,
            "choice_accuracy": self.choice_accuracy,
            "learned_vs_target_r": self.learned_vs_target_r,
            "pooled_r": a.pooled_r,
            "ci_low": a.pooled_interval.low,
            "ci_high": a.pooled_interval.high,
            "null_p_context": a.p_shuffle,
            "null_p_attribute": a.p_permutation,
            "mean_within_r": a.mean_within_r,
            "median_within_r": a.median_within_r,
            "sign_agreement": a.sign_agreement,
            "top_agreement": a.top_agreement,
        }
        plain: dict[str, JsonValue] = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
        }
        plain["reasons"] = {name: why for name, why in a.doubts.items() if name in _TOLD}
        return plain


def _bounds(a: Accuracy) -> dict[str, float | int | str]:
    """What bounds r from above, what it must beat, and what is left of it given what else could explain it."""

    def ends(name: str, interval: Interval) -> dict[str, float | int | str]:
        return {f"{name}_low": interval.low, f"{name}_high": interval.high}

    best = a.baselines.best
    return {
        "ceiling": a.ceiling.total,
        "ceiling_weights": a.ceiling.weights,
        "ceiling_reports": a.ceiling.reports,
        "disattenuated_r": a.ceiling.disattenuated_r,
        **ends("disattenuated", a.ceiling.disattenuated_interval),
        "best_baseline": best,
        "best_baseline_r": a.baselines.scores[best].r if best else math.nan,
        "margin": a.baselines.margin,
        **ends("margin", a.baselines.margin_interval),
        "partial_r": a.partial.r,
        **ends("partial", a.partial.interval),
        "partial_p": a.partial.p,
        "beyond_untuned_r": a.beyond_others.r,
        **ends("beyond_untuned", a.beyond_others.interval),
        "beyond_untuned_p": a.beyond_others.p,
    }


def arms_of(data: SeedData, metric: AccuracyMetric) -> dict[str, Arm]:
    """All arms of one seed that its steps suffice for, by name."""
    target = {k: dict(v.weights) for k, v in data.draw.preferences.items()}
    arms = {}
    for name, reports_from, weights_from, reports, weights, taught, fitted_to in _rows(data):
        pairing = pair(reports, weights)
        said_untuned = data.native_reports if name.startswith("native") else data.reports
        arms[name] = Arm(
            name=name,
            reports_from=reports_from,
            weights_from=weights_from,
            accuracy=metric.score(
                reports,
                weights,
                rng=data.seed,
                choices=_behind(fitted_to),
                target=target if taught else None,
                # What could be said before anything was taught: the common sense of names and attributes.
                others=None if reports_from == "untuned" else said_untuned.get("untuned"),
                model=data.estimator,
            ),
            choice_accuracy=_choice_accuracy(taught),
            learned_vs_target_r=_pooled_r(target, weights) if taught else math.nan,
            said=_by_context(pairing.ids, pairing.said),
            learned=_by_context(pairing.ids, pairing.learned),
        )
    return arms


_Row = tuple[str, str, str, ReportTable, WeightsLike, _Choices, _Choices]


def _rows(data: SeedData) -> Iterator[_Row]:
    """Name, whose reports, whose weights, the two, choices that have a target, choices behind the weights."""
    folds = [(f"fold{k}", train, test) for k, (train, test) in enumerate(data.draw.folds, 1)]
    names = [name for name, _, _ in folds]
    r, choices, none = data.reports, data.choices, ()
    if "instilled" in choices:
        before = data.weights["instilled"]
        instilled: _Choices = [(choices["instilled"], None)]
        for name in ("untuned", "instilled"):
            if name in r:
                yield (name, name, "instilled", r[name], before, instilled, instilled)
        if all(name in r for name in names):
            held_out = _joined(r[name].select(test) for name, _, test in folds)
            yield ("report-trained", "report-trained", "instilled", held_out, before, instilled, instilled)
            if all(name in choices for name in names):
                weights = {k: w for name, _, test in folds for k, w in _usable(data.weights[name], test).items()}
                after: _Choices = [(choices[name], test) for name, _, test in folds]
                yield ("report-trained, weights after", *("report-trained",) * 2, held_out, weights, after, after)
            # Each context once, by a model that was trained on it: the one after the model that it was kept from.
            parts = [
                r[name].select([i for i in folds[k - 1][2] if i in set(train)])
                for k, (name, train, _) in enumerate(folds)
            ]
            parts = [part for part in parts if len(part)]
            if parts:  # splits of one's own may hold out what no other one trains on
                row = ("report-trained, trained half", "report-trained", "instilled")
                yield (*row, _joined(parts), before, instilled, instilled)
    if "instilled" in data.native_weights:
        native, nr = data.native_weights["instilled"], data.native_reports
        chosen: _Choices = [(data.native_choices["instilled"], None)]
        for name, model, label in (
            ("native-untuned", "untuned", "untuned"),
            ("native-before", "instilled", "instilled"),
            ("native-after", "all", "report-trained"),
        ):
            if model in nr:
                yield (name, label, "instilled", nr[model], native, none, chosen)
        if "all" in nr and "all" in data.native_weights:
            last: _Choices = [(data.native_choices["all"], None)]
            both = ("report-trained",) * 2
            yield ("native-after, weights after", *both, nr["all"], data.native_weights["all"], none, last)


def rises_of(data: SeedData, metric: AccuracyMetric) -> dict[str, Rise]:
    """Paired before/after comparisons of one seed: held-out contexts and native ones, each against the weights
    measured before report training.
    """
    rises = {}
    names = [f"fold{k}" for k in range(1, len(data.draw.folds) + 1)]
    if "instilled" in data.weights and all(name in data.reports for name in (*names, "instilled")):
        held_out = _joined(
            data.reports[name].select(test) for name, (_, test) in zip(names, data.draw.folds, strict=True)
        )
        before = data.reports["instilled"]
        rises["held-out"] = metric.compare(before, held_out, data.weights["instilled"], rng=data.seed)
    if "instilled" in data.native_weights and {"instilled", "all"} <= set(data.native_reports):
        rises["native"] = metric.compare(
            data.native_reports["instilled"],
            data.native_reports["all"],
            data.native_weights["instilled"],
            rng=data.seed,
        )
    return rises


def drift_of(data: SeedData) -> dict[str, float]:
    """r between the weights measured before and after report training: a low one says that behaviour moved."""
    drift = {}
    folds = [(f"fold{n}", test) for n, (_, test) in enumerate(data.draw.folds, 1)]
    if all(name in data.weights for name in ("instilled", *(name for name, _ in folds))):
        after = {k: w for name, test in folds for k, w in _usable(data.weights[name], test).items()}
        drift["held-out"] = _pooled_r(after, data.weights["instilled"])
    if {"all", "instilled"} <= set(data.native_weights):
        drift["native"] = _pooled_r(data.native_weights["all"], data.native_weights["instilled"])
    return drift


def _joined(tables: Iterable[ReportTable]) -> ReportTable:
    return ReportTable.concat(list(tables))


def _behind(parts: _Choices) -> ChoiceTable:
    """The choices that weights were fitted to, as one table, also where each fold has a model of its own."""
    kept = [table if ids is None else table.take(np.isin(table.trials.scenario_ids, list(ids))) for table, ids in parts]
    return kept[0] if len(kept) == 1 else ChoiceTable.concat([replace(table, model="folds") for table in kept])


def _usable(weights: LearnedWeights, ids: Iterable[str]) -> dict[str, dict[str, float]]:
    dead = weights.unusable()
    return {i: weights.weights(i) for i in ids if i in weights and i not in dead}


def _pooled_r(a: WeightsLike, b: WeightsLike) -> float:
    moments = pair(a, b).moments
    return moments.pooled() if len(moments) else math.nan


def _choice_accuracy(parts: _Choices) -> float:
    """Missing answers count as wrong: a model that refuses does not follow the target."""
    right = total = 0
    for table, ids in parts:
        trials = table.trials
        mask = np.ones(len(trials), bool) if ids is None else np.isin(trials.scenario_ids, list(ids))
        right += int((table.chosen == trials.labels)[mask].sum())
        total += int(mask.sum())
    return right / total if total else math.nan


def _by_context(ids: Sequence[str], vectors: Sequence[np.ndarray]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(map(float, vector)) for name, vector in zip(ids, vectors, strict=True)}
