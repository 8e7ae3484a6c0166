"""What noise leaves of r: ceilings by halves of choices and by repeats of reports."""

from __future__ import annotations

import math

import numpy as np
import pytest
from accuracy_tables import METRIC, NAMES, named, noisy, table

from introspect.errors import MeasureError
from introspect.measure import ChoiceModel, ReportTable, pair
from introspect.measure.ceiling import ceiling_of, weight_halves
from introspect.measure.resampling import (
    Resamples,
)


class Halving:
    """A stand-in for the engine: hands out halves made before."""

    def __init__(self, halves):
        self.halves = halves

    def split_halves(self, choices, n_splits, rng):
        return {f"k{i:04d}": (own[0][:n_splits], own[1][:n_splits]) for i, own in enumerate(self.halves)}


def test_disattenuated_r_is_what_noiseless_measures_would_give(make_world):
    truth, belief, said, halves = noisy(0)
    weights = halves.mean(axis=(1, 2))

    def r(x, y):
        return pair(named(x), named(y)).moments.pooled()

    both = pair(table(said), named(weights))
    names = dict.fromkeys(both.ids, NAMES)
    parts = {name: (own[0], own[1]) for name, own in zip(both.ids, halves, strict=True)}
    ceiling = ceiling_of(both, weight_halves(both, parts, names), None, Resamples(None))
    assert ceiling.disattenuated_r == pytest.approx(r(said.mean(axis=1), truth), abs=0.02)
    assert ceiling.weights_half_r == pytest.approx(r(halves[:, 0, 0], halves[:, 1, 0]), abs=0.04)
    assert math.isnan(ceiling.total)
    scored = METRIC.score(table(said), named(weights), rng=0)
    assert scored.ceiling.reports == pytest.approx(r(said.mean(axis=1), belief), abs=0.02)
    assert scored.ceiling.disattenuated_report_r == pytest.approx(r(belief, weights), abs=0.03)
    assert scored.reason("ceiling").startswith("no trials were given")


def test_the_half_based_r_is_the_mean_over_splits_over_the_root_of_the_halves_own_r():
    _, _, said, halves = noisy(1, n=20)
    both = pair(named(said[:, 0]), named(halves.mean(axis=(1, 2))))
    parts = {name: (own[0], own[1]) for name, own in zip(both.ids, halves, strict=True)}
    found = ceiling_of(both, weight_halves(both, parts, dict.fromkeys(both.ids, NAMES)), None, Resamples(None))

    def scaled(v):
        return (v / np.abs(v).max(axis=-1, keepdims=True)).ravel()

    own = [np.corrcoef(scaled(halves[:, 0, s]), scaled(halves[:, 1, s]))[0, 1] for s in range(8)]
    across = [np.corrcoef(scaled(said[:, 0]), scaled(halves[:, h, s]))[0, 1] for s in range(8) for h in (0, 1)]
    assert found.disattenuated_r == pytest.approx(np.mean(across) / math.sqrt(np.mean(own)))
    assert found.weights == pytest.approx(math.sqrt(2 * np.mean(own) / (1 + np.mean(own))))


def test_choices_give_the_ceiling_of_both_sides(make_world):
    scenarios, preferences, trials = make_world(n_scenarios=12, n_trials=24, scale=5.0)
    weights = ChoiceModel().fit(trials)
    rng = np.random.default_rng(0)
    rows = [
        {"scenario_id": s.id, "repeat": k, "status": "answered", "text": [], "problems": [], "shown": None,
         "weights": {n: w + rng.normal(0, 30) for n, w in preferences[s.id].weights.items()}}
        for s in scenarios for k in range(4)
    ]  # fmt: skip
    source = {"model": "m", "probe": "p", "seed": 0, "signed": True}
    reports = ReportTable.of_rows(rows, {s.id: s.predictors for s in scenarios}, source)
    accuracy = METRIC.score(reports, weights, rng=0, choices=trials, target=preferences)
    ceiling = accuracy.ceiling
    assert 0.5 < ceiling.weights < 1
    assert 0.5 < ceiling.reports < 1
    assert ceiling.total == pytest.approx(ceiling.weights * ceiling.reports)
    assert ceiling.disattenuated_r > accuracy.pooled_r
    assert ceiling.disattenuated_r in ceiling.disattenuated_interval
    assert accuracy.to_dict()["ceiling"] == ceiling.total
    assert accuracy.learned_vs_target_r == accuracy.partial.learned_r
    assert accuracy.tau == weights.tau
    assert accuracy.n_signs + accuracy.n_signs_ignored == accuracy.n_points
    text = accuracy.summary()
    for word in ("ceiling", "coverage", "nulls", "baselines", "repeats", "given target"):
        assert word in text
    assert max(map(len, text.splitlines())) < 140


def test_a_low_ceiling_is_said(make_world):
    _, preferences, trials = make_world(n_scenarios=10, n_trials=10, scale=1.0)
    accuracy = METRIC.score(preferences, ChoiceModel().fit(trials), rng=0, choices=trials)
    assert accuracy.ceiling.low
    assert "low" in accuracy.summary()
    assert any("measure more" in line for line in accuracy.sentences())


def test_halves_that_do_not_agree_give_no_ceiling_and_say_so():
    rng = np.random.default_rng(2)
    learned = rng.normal(size=(20, 5))
    both = pair(named(learned), named(learned))
    parts = {name: (row[None], -row[None]) for name, row in zip(both.ids, learned, strict=True)}
    found = ceiling_of(both, weight_halves(both, parts, dict.fromkeys(both.ids, NAMES)), None, Resamples(None))
    assert math.isnan(found.weights)
    assert math.isnan(found.disattenuated_r)
    assert "do not agree" in found.reasons["ceiling_weights"]


def test_contexts_without_halves_are_left_out_of_the_ceiling():
    _, _, said, halves = noisy(3, n=30)
    weights = halves.mean(axis=(1, 2))
    some = pair(named(said[:20, 0]), named(weights[:20]))
    all_ = pair(named(said[:, 0]), named(weights))
    parts = {name: (own[0], own[1]) for name, own in zip(some.ids, halves, strict=False)}
    broken = parts | {name: (np.full((8, 5), np.nan), np.zeros((8, 5))) for name in all_.ids[20:25]}
    names = dict.fromkeys(all_.ids, NAMES)
    a = ceiling_of(some, weight_halves(some, parts, names), None, Resamples(None))
    b = ceiling_of(all_, weight_halves(all_, broken, names), None, Resamples(None))
    assert a.disattenuated_r == pytest.approx(b.disattenuated_r)


def test_trials_of_other_predictors_are_refused():
    both = pair({"k": {"p": 1, "q": 2}}, {"k": {"p": 1, "q": 2}})
    with pytest.raises(MeasureError, match="predictors"):
        weight_halves(both, {"k": (np.ones((1, 2)), np.ones((1, 2)))}, {"k": ("p", "x")})


# ---- repeats


def test_the_average_of_reports_beats_a_single_one_by_about_what_theory_says():
    truth, _, said, _ = noisy(4, report_noise=1.0)
    repeats = METRIC.score(table(said), named(truth), rng=0).repeats
    assert repeats.n_repeats == 6
    assert repeats.averaging_gain == repeats.averaged_r - repeats.single_r > 0.1
    assert repeats.averaging_gain in repeats.averaging_gain_interval
    assert repeats.predicted_averaged_r == pytest.approx(repeats.averaged_r, abs=0.03)


def test_one_report_per_context_has_no_ceiling_of_its_own():
    truth, _, said, _ = noisy(5, n=12)
    accuracy = METRIC.score(table(said[:, :1]), named(truth), rng=0)
    assert math.isnan(accuracy.ceiling.reports)
    assert accuracy.reason("ceiling_reports") == "no context has two usable reports"
    assert math.isnan(accuracy.repeats.averaging_gain)
