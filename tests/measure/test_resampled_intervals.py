"""Intervals of r and of means: gradients, bootstrap, jackknife, and what is shuffled under them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from accuracy_tables import METRIC, named

from introspect.errors import MeasureError
from introspect.measure import AccuracyMetric
from introspect.measure.intervals import _ratio
from introspect.measure.moments import Moments, calibration, correlation, correlation_gradient, fisher
from introspect.measure.resampling import (
    bootstrap_counts,
    jackknife_interval,
    permuted_cross_products,
    shuffled_cross_products,
    studentised_interval,
)


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


def test_correlation_gradient_is_undefined_where_r_is():
    flat = np.array([2.0, 2.0, 0.0, 2.0, 2.0, 0.0])
    assert np.isnan(correlation(flat))
    assert np.isnan(correlation_gradient(flat)).all()
