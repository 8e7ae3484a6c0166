"""What stands beside the headline r: ceilings, baselines, partial r, repeats, and what a reader is shown."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from introspect.errors import MeasureError
from introspect.measure import AccuracyMetric, ChoiceModel, ReportTable, pair
from introspect.measure.agreement import ranks, unsure_signs
from introspect.measure.baselines import baselines_of
from introspect.measure.ceiling import ceiling_of, weight_halves
from introspect.measure.intervals import _ratio
from introspect.measure.moments import Moments, calibration, correlation, correlation_gradient, fisher
from introspect.measure.partial import partial_of
from introspect.measure.resampling import (
    Resamples,
    bootstrap_counts,
    jackknife_interval,
    permuted_cross_products,
    shuffled_cross_products,
    studentised_interval,
)

METRIC = AccuracyMetric(n_boot=200, n_null=99, n_splits=6)
NAMES = tuple("pqrst")


def named(rows):
    return {f"k{i:04d}": dict(zip(NAMES, map(float, row), strict=True)) for i, row in enumerate(rows)}


def table(said, statuses=None):
    rows = [
        {"scenario_id": f"k{i:04d}", "repeat": k, "text": [], "problems": [], "shown": None,
         "status": "answered" if statuses is None else statuses[i][k],
         "weights": dict(zip(NAMES, map(float, said[i, k]), strict=True))}
        for i in range(said.shape[0]) for k in range(said.shape[1])
    ]  # fmt: skip
    source = {"model": "m", "probe": "p", "seed": 0, "signed": True}
    return ReportTable.of_rows(rows, {f"k{i:04d}": NAMES for i in range(said.shape[0])}, source)


@pytest.mark.parametrize("scored", [fisher, lambda s: calibration(s)[0], lambda s: calibration(s)[1]])
def test_gradients_are_those_of_finite_differences(scored):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 5))
    sums = Moments.of([str(i) for i in range(30)], x, 0.5 * x + rng.normal(size=x.shape)).sums.sum(axis=0)
    _, gradient = scored(sums)
    for column in range(6):
        step = np.zeros(6)
        step[column] = 1e-5
        slope = (scored(sums + step)[0] - scored(sums - step)[0]) / 2e-5
        assert gradient[column] == pytest.approx(slope, rel=1e-4, abs=1e-8)
    assert gradient @ sums == pytest.approx(0.0, abs=1e-9)  # the scale of the totals does not matter


def test_the_gradient_of_a_mean_is_that_of_finite_differences():
    sums = np.array([7.0, 3.0])
    value, gradient = _ratio(sums)
    assert value == pytest.approx(3 / 7)
    slopes = [(_ratio(sums + step)[0] - _ratio(sums - step)[0]) / 2e-6 for step in 1e-6 * np.eye(2)]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6)


def test_the_studentised_interval_is_the_one_that_resampling_the_data_gives():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(15, 5))
    y = x + rng.normal(size=x.shape)
    rows = Moments.of([f"{i:02d}" for i in range(15)], x, y).sums
    counts = bootstrap_counts(15, 200, rng)

    def z_and_error(xs, ys):
        r = np.corrcoef(xs.ravel(), ys.ravel())[0, 1]
        zx, zy = ((v - v.mean()) / v.std() for v in (xs, ys))
        influence = (zx * zy - r / 2 * (zx**2 + zy**2)).sum(axis=1) / xs.size / (1 - r * r)
        return math.atanh(r), math.sqrt((influence**2).sum())

    z, error = z_and_error(x, y)
    ratios = []
    for own in counts:
        at = np.repeat(np.arange(15), own)
        drawn, its_error = z_and_error(x[at], y[at])
        ratios.append((drawn - z) / its_error)
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert studentised_interval(rows, counts, fisher) == pytest.approx((z - high * error, z - low * error))


def test_the_jackknife_interval_of_a_mean_is_students():
    values = np.random.default_rng(3).normal(size=12)
    low, high = jackknife_interval(values.mean(), (values.sum() - values) / 11)
    assert (high - low) / 2 == pytest.approx(2.200985 * values.std(ddof=1) / math.sqrt(12), rel=1e-6)


@pytest.mark.parametrize("method", ["z-t", "percentile", "jackknife"])
def test_each_kind_of_interval_holds_r_and_stays_within_a_correlations_bounds(method):
    rng = np.random.default_rng(4)
    learned = rng.normal(size=(12, 5))
    accuracy = AccuracyMetric(200, 9, interval=method).score(
        named(learned + rng.normal(0, 0.2, learned.shape)), named(learned), rng=0
    )
    low, high = accuracy.pooled_interval
    assert -1 < low < accuracy.pooled_r < high < 1
    assert accuracy.interval_method == method


def test_an_unknown_kind_of_interval_is_refused():
    with pytest.raises(MeasureError, match="z-t, percentile, jackknife"):
        AccuracyMetric(interval="bca")
    with pytest.raises(MeasureError, match="n_splits"):
        AccuracyMetric(n_splits=0)


@pytest.mark.parametrize("width", [3, 5, 6])
def test_permuted_and_shuffled_cross_products_are_those_of_rearranged_reports(width):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 4, width))
    permuted = permuted_cross_products(x, y, 4000, np.random.default_rng(0))
    shuffled = shuffled_cross_products(x, y, 4000, np.random.default_rng(0))
    level = (x.mean(axis=1) * y.mean(axis=1) * width).sum()
    deviation = (x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True))
    spread = math.sqrt(((deviation[0] ** 2).sum(axis=1) * (deviation[1] ** 2).sum(axis=1)).sum() / (width - 1))
    assert permuted.mean() == pytest.approx(level, abs=4 * spread / math.sqrt(4000))
    assert permuted.std() == pytest.approx(spread, rel=0.1)
    assert len(np.unique(np.round(shuffled, 9))) == 24  # the orders of four contexts
    assert np.isclose(shuffled, (x * y).sum()).any()


def test_contexts_alone_in_their_width_are_counted():
    rng = np.random.default_rng(6)
    learned = named(rng.normal(size=(12, 5))) | {"z1": {"p": 1.0, "q": 2.0, "r": -1.0}, "z2": {"p": 1.0, "q": 2.0}}
    accuracy = METRIC.score(learned, learned, rng=0)
    assert accuracy.n_lone == 2
    assert "2 contexts alone" in " ".join(accuracy.sentences())


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


# ---- noise ceilings


def noisy(seed: int, n: int = 300, report_noise: float = 0.6, trial_noise: float = 0.5, repeats: int = 6):
    """Truth, repeated reports, and the weights that two halves of the trials reveal."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 5))
    belief = truth + rng.normal(0, 0.4, truth.shape)  # what the model thinks of itself, apart from noise
    said = belief[:, None] + rng.normal(0, report_noise, (n, repeats, 5))
    halves = truth[:, None, None] + rng.normal(0, trial_noise, (n, 2, 8, 5))
    return truth, belief, said, halves


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


def test_correlation_gradient_is_undefined_where_r_is():
    flat = np.array([2.0, 2.0, 0.0, 2.0, 2.0, 0.0])
    assert np.isnan(correlation(flat))
    assert np.isnan(correlation_gradient(flat)).all()
