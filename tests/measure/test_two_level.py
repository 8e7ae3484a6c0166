"""Intervals over training runs and contexts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from introspect.errors import MeasureError
from introspect.measure import AccuracyMetric, Moments, two_level, two_level_rise


def run(seed: int, r: float, n: int = 40) -> Moments:
    """One training run's contexts, whose reports follow the weights at about r."""
    rng = np.random.default_rng(seed)
    learned = rng.normal(size=(n, 5))
    said = r * learned + math.sqrt(1 - r * r) * rng.normal(size=(n, 5))
    return Moments.of([f"k{i:03d}" for i in range(n)], list(said), list(learned))


def width(result) -> float:
    return result.interval.high - result.interval.low


def test_the_estimate_is_the_mean_over_seeds():
    runs = [run(s, 0.6) for s in range(5)]
    result = two_level(runs, rng=0)
    assert result.per_seed == pytest.approx([m.pooled() for m in runs])
    assert result.estimate == pytest.approx(np.mean([m.pooled() for m in runs]))
    assert result.estimate in result.interval
    assert not result.reasons


def test_runs_that_differ_widen_the_interval_and_more_runs_narrow_it():
    alike = [run(s, 0.5) for s in range(6)]
    apart = [run(s, r) for s, r in enumerate((0.1, 0.3, 0.5, 0.5, 0.7, 0.9))]
    assert width(two_level(apart, rng=0)) > 2 * width(two_level(alike, rng=0))
    many = [run(s, r) for s, r in enumerate((0.1, 0.3, 0.5, 0.5, 0.7, 0.9) * 4)]
    assert width(two_level(many, rng=0)) < 0.7 * width(two_level(apart, rng=0))


def test_contexts_alone_do_not_make_the_interval():
    # A huge number of contexts leaves the differences between runs, which a bootstrap over contexts would not
    # show.
    runs = [run(s, r, n=600) for s, r in enumerate((0.2, 0.4, 0.6, 0.8, 0.5, 0.5))]
    assert width(two_level(runs, rng=0)) > 0.15


def test_the_rise_is_paired_within_each_run():
    pairs = []
    for seed in range(5):
        before = run(seed, 0.5)
        # The same contexts' reports, each a little better: the sums move together.
        sums = before.sums.copy()
        sums[:, 5] *= 1.1
        pairs.append((before, Moments(before.ids, sums)))
    paired = two_level_rise(pairs, rng=0)
    assert paired.estimate == pytest.approx(np.mean([b.pooled() - a.pooled() for a, b in pairs]))
    assert paired.interval.low > 0
    assert width(paired) < 0.5 * width(two_level([b for _, b in pairs], rng=0))


def test_no_change_in_any_run_is_exactly_no_change():
    result = two_level_rise([(m, m) for m in (run(s, 0.5) for s in range(5))], rng=0)
    assert (result.estimate, result.interval) == (0.0, (0.0, 0.0))


def test_scores_and_rises_are_taken_as_they_come(noise):
    metric = AccuracyMetric(n_boot=10, n_null=9)
    learned = noise(12)
    said = {k: {n: v + 1.0 for n, v in w.items()} for k, w in learned.items()}
    scores = [metric.score(said, learned, rng=s) for s in range(5)]
    rises = [metric.compare(said, learned, learned, rng=s) for s in range(5)]
    assert two_level(scores, rng=0).estimate == pytest.approx(scores[0].pooled_r)
    assert two_level_rise(rises, rng=0).estimate == pytest.approx(rises[0].rise)


def test_one_run_has_no_interval_and_few_runs_are_called_rough():
    one = two_level([run(0, 0.5)], rng=0)
    assert math.isnan(one.interval.low)
    assert math.isnan(one.seed_interval.low)
    assert "one seed" in one.reasons["interval"]
    few = two_level([run(s, 0.5) for s in range(3)], rng=0)
    assert math.isfinite(few.interval.low)
    assert "rough" in few.reasons["interval"]


def test_runs_without_a_defined_r_are_left_out_with_a_reason():
    nothing = Moments((), np.empty((0, 6)))
    some = two_level([run(0, 0.5), nothing, run(1, 0.5)], rng=0)
    assert some.n_seeds == 2
    assert "1 of 3" in some.reasons["per_seed"]
    none = two_level([nothing], rng=0)
    assert math.isnan(none.estimate)
    assert json.dumps(none.to_dict(), allow_nan=False)
    assert "undefined" in none.sentences()[0]
    with pytest.raises(MeasureError, match="at least one seed"):
        two_level([], rng=0)


def test_the_interval_covers_the_mean_run_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits, student = [], []
    for trial in range(60):
        means = np.clip(rng.normal(0.5, 0.12, size=8), -0.95, 0.95)
        result = two_level([run(1000 * trial + s, float(r), n=25) for s, r in enumerate(means)], rng=trial, n_boot=300)
        hits.append(0.5 in result.interval)
        student.append(0.5 in result.seed_interval)
    assert np.mean(hits) > 0.83
    assert np.mean(student) > 0.87
