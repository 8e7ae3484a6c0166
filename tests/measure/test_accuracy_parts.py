"""What stands beside the headline r: calibration, baselines, partial r, signs, and what a reader is shown."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from accuracy_tables import METRIC, named, noisy, table

from introspect.measure import AccuracyMetric, ChoiceModel, pair
from introspect.measure.agreement import ranks, unsure_signs
from introspect.measure.baselines import baselines_of
from introspect.measure.partial import partial_of
from introspect.measure.resampling import (
    Resamples,
)


def test_ranks_share_their_mean_where_values_tie():
    for row in np.random.default_rng(7).integers(0, 4, (20, 6)).astype(float):
        placed = np.sort(row)
        assert ranks(row).tolist() == [np.flatnonzero(placed == value).mean() for value in row]


def test_calibration_is_the_least_squares_line():
    rng = np.random.default_rng(8)
    learned = rng.uniform(-1, 1, (40, 5))
    said = learned + rng.normal(0, 0.5, learned.shape)
    accuracy = METRIC.score(named(said), named(learned), rng=0)
    x, y = (v / np.abs(v).max(axis=1, keepdims=True) * 100 for v in (said, learned))
    slope, intercept = np.polyfit(x.ravel(), y.ravel(), 1)
    assert (accuracy.calibration_slope, accuracy.calibration_intercept) == pytest.approx((slope, intercept))
    assert accuracy.calibration_slope in accuracy.calibration_slope_interval
    assert accuracy.mae == pytest.approx(np.abs(x - y).mean())


def test_reports_are_counted_by_what_became_of_them():
    truth, _, said, _ = noisy(6, n=12, repeats=3)
    statuses = [["answered"] * 3 for _ in range(12)]
    statuses[0] = ["refused"] * 3
    statuses[1] = ["answered", "unparsable", "answered"]
    weights = named(truth)
    del weights["k0005"]
    accuracy = METRIC.score(table(said, statuses), weights, rng=0)
    assert accuracy.n_reports_used == 36 - 3 - 1 - 3
    assert accuracy.n_reports_dropped == 7
    assert accuracy.reports_dropped == {"refused": 3, "unparsable": 1, "usable, context not scored": 3}
    plain = METRIC.score(named(said[:, 0]), weights, rng=0)
    assert (plain.n_reports_used, plain.n_reports_dropped) == (11, 1)


# ---- baselines


def test_a_stereotype_that_all_contexts_share_is_no_margin():
    rng = np.random.default_rng(7)
    learned = rng.uniform(-1, 1, (60, 5)) * 0.3 + np.array([-1, 0.2, 0, 0, 0.5])
    recited = METRIC.score(named(np.tile([-1, 0.2, 0, 0, 0.5], (60, 1))), named(learned), rng=0)
    known = METRIC.score(named(learned + rng.normal(0, 0.1, learned.shape)), named(learned), rng=0)
    assert recited.pooled_r > 0.8
    assert known.baselines.best == "constant"
    assert recited.baselines.scores["constant"].r > 0.8
    assert recited.baselines.margin == pytest.approx(0, abs=0.03)
    assert known.baselines.margin_interval.low > 0


def test_the_constant_baseline_never_sees_the_context_it_speaks_of():
    rng = np.random.default_rng(8)
    learned = rng.uniform(-1, 1, (6, 5))
    both = pair(named(learned), named(learned))
    found = baselines_of(both, Resamples(None), np.random.default_rng(0)).scores
    scaled = learned / np.abs(learned).max(axis=1, keepdims=True) * 100
    forecast = np.array([np.delete(scaled, i, axis=0).mean(axis=0) for i in range(6)])
    assert found["constant"].r == pytest.approx(np.corrcoef(forecast.ravel(), scaled.ravel())[0, 1])
    assert found["constant"].mae == pytest.approx(np.abs(forecast - scaled).mean())
    assert found["zero"].mae == pytest.approx(np.abs(scaled).mean())
    assert math.isnan(found["zero"].r)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    assert found["other"].mae == pytest.approx(np.mean([np.abs(scaled[i] - scaled[j]).mean() for i, j in pairs]))


def test_the_other_context_baseline_is_the_mean_of_the_shuffles():
    rng = np.random.default_rng(9)
    learned = rng.normal(size=(40, 5)) + np.array([2, 0, 0, 0, 0])
    said = learned + rng.normal(size=(40, 5))
    accuracy = AccuracyMetric(10, 2000).score(named(said), named(learned), rng=0)
    assert accuracy.baselines.scores["other"].r == pytest.approx(accuracy.shuffle_r, abs=0.03)


# ---- partial r


def test_reports_that_only_recite_the_target_have_no_partial_r():
    rng = np.random.default_rng(10)
    target = rng.normal(size=(150, 5))
    behaviour = target + rng.normal(0, 0.7, target.shape)
    for source, known in ((target, False), (behaviour, True)):
        said = source + rng.normal(0, 0.4, target.shape)
        part = METRIC.score(named(said), named(behaviour), 0, target=named(target)).partial
        assert (part.interval.low > 0.3) is known
        assert (part.p <= 0.01) is known
        assert part.r in part.interval
        assert part.learned_r == pytest.approx(0.8, abs=0.05)


def test_a_report_that_another_model_could_have_given_shows_no_privileged_access():
    rng = np.random.default_rng(11)
    learned = rng.normal(size=(150, 5))
    public = learned + rng.normal(0, 0.7, learned.shape)  # what anyone can tell
    said = public + rng.normal(0, 0.3, learned.shape)
    other = public + rng.normal(0, 0.05, learned.shape)
    accuracy = METRIC.score(named(said), named(learned), 0, others=named(other))
    assert accuracy.pooled_r > 0.6
    assert accuracy.beyond_others.r < 0.15
    numbers = accuracy.to_dict()
    assert numbers["others_r"] == accuracy.beyond_others.learned_r > 0.7


def test_the_partial_r_is_the_correlation_of_what_the_target_leaves_of_both_sides():
    rng = np.random.default_rng(20)
    target = rng.normal(size=(40, 5))
    said, learned = (target + rng.normal(0, 0.5, target.shape) for _ in range(2))
    x, y, t = (v / np.abs(v).max(axis=1, keepdims=True) for v in (said, learned, target))
    level = np.repeat(np.abs(t).mean(axis=1), 5)
    t = t.ravel()
    design = np.column_stack([np.ones(200), t, t * abs(t), t * level])
    left = [v.ravel() - design @ np.linalg.lstsq(design, v.ravel(), rcond=None)[0] for v in (x, y)]
    part = METRIC.score(named(said), named(learned), 0, target=named(target)).partial
    assert part.r == pytest.approx(np.corrcoef(*left)[0, 1])
    assert part.reported_r == pytest.approx(np.corrcoef(x.ravel(), t)[0, 1])


@pytest.mark.slow
def test_reports_that_share_only_the_target_with_behaviour_have_no_partial_r_in_a_large_sample():
    rng = np.random.default_rng(21)
    target = rng.uniform(-1, 1, (20_000, 5))
    target /= np.abs(target).max(axis=1, keepdims=True)
    said, learned = (target + rng.normal(0, 0.4, target.shape) for _ in range(2))
    part = partial_of(pair(named(said), named(learned)), named(target), Resamples(None), 1, 0, "t")
    assert abs(part.r) < 0.01


def test_a_target_that_is_the_weights_themselves_leaves_nothing_and_says_so():
    rng = np.random.default_rng(12)
    learned = rng.normal(size=(20, 5))
    part = METRIC.score(named(rng.normal(size=(20, 5))), named(learned), 0, target=named(learned)).partial
    assert math.isnan(part.r)
    assert "third vector" in part.reasons["r"]


def test_contexts_without_a_target_are_left_out_of_the_partial_r_alone():
    rng = np.random.default_rng(13)
    target = rng.normal(size=(30, 5))
    learned, said = (target + rng.normal(0, 0.5, target.shape) for _ in range(2))
    accuracy = METRIC.score(named(said), named(learned), 0, target=named(target[:25]))
    assert (accuracy.n_contexts, accuracy.partial.n_contexts) == (30, 25)
    short = pair(named(said[:25]), named(learned[:25]))
    assert accuracy.partial.r == pytest.approx(partial_of(short, named(target), Resamples(None), 9, 0, "t").r)


# ---- the choices behind the weights


def test_signs_that_choices_do_not_settle_are_not_counted(make_world):
    _, preferences, trials = make_world(n_scenarios=8, n_trials=20, scale=3.0)
    weights = ChoiceModel().fit(trials)
    unsure = unsure_signs(weights, weights.scenario_ids)
    drawn = weights.intervals(rng=0, n=20_000)
    agree = np.concatenate([unsure[k] == ((v[:, 0] <= 0) & (v[:, 1] >= 0)) for k, v in drawn.items()])
    assert agree.mean() > 0.97  # the rest is the draws' own error
    accuracy = METRIC.score(preferences, weights, rng=0)
    assert accuracy.n_signs_ignored == sum(int(mask.sum()) for mask in unsure.values()) > 0
    plain = METRIC.score(preferences, {k: weights.weights(k) for k in weights.scenario_ids}, rng=0)
    assert plain.n_signs_ignored == 0
    assert plain.sign_agreement <= accuracy.sign_agreement


def test_r_is_shown_with_and_without_contexts_of_no_preference(make_world):
    from dataclasses import replace

    _, preferences, trials = make_world(n_scenarios=12, n_trials=40, scale=6.0)
    weights = ChoiceModel().fit(trials)
    flags = tuple((*own, "undetected") if i < 3 else own for i, own in enumerate(weights.flags))
    accuracy = METRIC.score(preferences, replace(weights, flags=flags), rng=0)
    rest = weights.select(weights.scenario_ids[3:])
    assert accuracy.n_undetected == 3
    assert accuracy.n_contexts == 12
    alone = METRIC.score({k: preferences[k] for k in rest.scenario_ids}, rest, rng=0)
    assert accuracy.detected_r == pytest.approx(alone.pooled_r)


# ---- what is shown


def test_json_has_the_names_that_the_command_line_prints():
    truth, _, said, _ = noisy(14, n=12)
    numbers = METRIC.score(table(said), named(truth), rng=0, target=named(truth)).to_dict()
    wanted = [
        "n_scenarios",
        "n_reports_used",
        "n_reports_dropped",
        "coverage",
        "pooled_r",
        "ci_low",
        "ci_high",
        "mean_within_r",
        "median_within_r",
        "sign_agreement",
        "top_attribute",
        "mae",
        "ceiling",
        "disattenuated_r",
        "null_p_context",
        "null_p_attribute",
        "separated_share",
        "learned_vs_target_r",
    ]
    assert not [name for name in wanted if name not in numbers]
    json.dumps(numbers, allow_nan=False)


def test_the_frame_holds_every_number_once_with_its_interval():
    truth, _, said, _ = noisy(15, n=12)
    accuracy = METRIC.score(table(said), named(truth), rng=0)
    frame = accuracy.to_frame().set_index("name")
    assert frame.index.is_unique
    assert frame.loc["pooled_r", ["low", "high"]].tolist() == list(accuracy.pooled_interval)
    assert frame.loc["averaging_gain", "low"] == accuracy.repeats.averaging_gain_interval.low
    assert frame.loc["ceiling", "reason"].startswith("no trials")


def test_what_was_not_asked_for_is_not_spoken_of():
    truth, _, said, _ = noisy(16, n=12)
    lines = METRIC.score(named(said[:, 0]), named(truth), rng=0).sentences()
    assert not [line for line in lines if line.startswith("Undefined")]
    few = METRIC.score(named(said[:4, 0]), named(truth), rng=0)
    assert len([line for line in few.sentences() if "at least 10" in line]) == 1
    assert "at least 10" in few.summary()
    assert METRIC.score({}, {}, rng=0).summary().startswith("r is undefined: no context could be scored")
