"""Invariants 30 to 35 of the metric, on every number that it gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.measure import AccuracyMetric, ReportTable

METRIC = AccuracyMetric(n_boot=120, n_null=59, n_splits=4)
quick = settings(max_examples=12, deadline=None)
seeds = st.integers(0, 2**32 - 1)
NAMES = tuple("pqrst")

RANDOM_NULLS = ("p", "null_p", "shuffle_r", "permutation", "prior", "partial_p", "beyond_others_p")
"""Numbers from draws that go by place: reordering predictors gives other draws of the same distribution."""


def sides(seed: int, n: int = 16, repeats: int = 4):
    """Repeated reports, weights, a target and another model's reports, over contexts of the same five predictors."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(n, 5))
    learned = target + rng.normal(0, 0.4, (n, 5))
    said = learned[:, None] + rng.normal(0, 0.8, (n, repeats, 5))
    others = target + rng.normal(0, 0.8, (n, 5))
    return said, learned, target, others


def named(rows, order=range(5), prefix="k"):
    return {f"{prefix}{i:03d}": {NAMES[j]: float(row[j]) for j in order} for i, row in enumerate(rows)}


def table(said, order=range(5), shuffled=None):
    places = range(len(said)) if shuffled is None else shuffled
    rows = [
        {"scenario_id": f"k{i:03d}", "repeat": k, "status": "answered", "text": [], "problems": [], "shown": None,
         "weights": {NAMES[j]: float(said[i, k, j]) for j in order}}
        for i in places for k in range(said.shape[1])
    ]  # fmt: skip
    source = {"model": "m", "probe": "p", "seed": 0, "signed": True}
    return ReportTable.of_rows(rows, {f"k{i:03d}": tuple(NAMES[j] for j in order) for i in places}, source)


def close(a, b, but=()):
    """Whether all numbers of two results agree, those apart whose names start with one of `but`."""
    one, two = a.to_dict(), b.to_dict()
    for name, value in one.items():
        number = isinstance(value, float | int) or (name.endswith("interval") and value is not None)
        if number and not any(part in name for part in but):
            assert value == pytest.approx(two[name], abs=1e-9), name


@quick
@given(seeds)
def test_the_order_of_contexts_moves_no_number(seed):
    said, learned, target, others = sides(seed)
    order = np.random.default_rng(seed).permutation(len(said)).tolist()

    def mixed(rows):
        whole = named(rows)
        return {f"k{i:03d}": whole[f"k{i:03d}"] for i in order}

    a = METRIC.score(table(said), named(learned), 1, target=named(target), others=named(others))
    b = METRIC.score(table(said, shuffled=order), mixed(learned), 1, target=mixed(target), others=mixed(others))
    assert a.to_dict() == b.to_dict()


@quick
@given(seeds)
def test_the_order_of_predictors_on_both_sides_moves_no_number_but_those_of_random_draws(seed):
    said, learned, target, others = sides(seed)
    order = np.random.default_rng(seed).permutation(5).tolist()
    a = METRIC.score(table(said), named(learned), 1, target=named(target), others=named(others))
    b = METRIC.score(table(said, order), named(learned, order), 1, target=named(target), others=named(others))
    close(a, b, but=RANDOM_NULLS)


@quick
@given(seeds)
def test_the_length_of_either_side_moves_no_number(seed):
    said, learned, target, others = sides(seed, repeats=1)
    rng = np.random.default_rng(seed)
    size = [rng.uniform(0.01, 50, (len(learned), 1)) for _ in range(4)]
    a = METRIC.score(named(said[:, 0]), named(learned), 1, target=named(target), others=named(others))
    b = METRIC.score(
        named(said[:, 0] * size[0]),
        named(learned * size[1]),
        1,
        target=named(target * size[2]),
        others=named(others * size[3]),
    )
    close(a, b)


@quick
@given(seeds)
def test_weights_match_themselves_perfectly_and_their_opposite_perfectly_badly(seed):
    _, learned, _, _ = sides(seed)
    same = METRIC.score(named(learned), named(learned), rng=seed)
    turned = METRIC.score(named(-learned), named(learned), rng=seed)
    assert (same.pooled_r, turned.pooled_r) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert (same.mean_spearman, turned.mean_spearman) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert (same.mae, same.calibration_slope, same.calibration_intercept) == pytest.approx((0.0, 1.0, 0.0), abs=1e-9)
    assert turned.calibration_slope == pytest.approx(-1.0)
    assert same.pooled_interval == pytest.approx((1.0, 1.0))
    assert same.baselines.margin > 0 > turned.baselines.margin


@quick
@given(seeds, st.integers(2, 25))
def test_before_equal_to_after_gives_no_change_and_p_1(seed, n):
    said, learned, _, _ = sides(seed, n)
    rise = METRIC.compare(table(said), table(said), named(learned), rng=seed)
    assert (rise.rise, rise.p) == (0.0, 1.0)


@quick
@given(seeds, st.sampled_from([0.0, 0.3, 3.0]), st.integers(2, 25))
def test_every_p_is_above_0_and_at_most_1(seed, quality, n):
    said, learned, target, others = sides(seed, n)
    rng = np.random.default_rng([seed, 1])
    reports = named(quality * said[:, 0] + rng.normal(size=learned.shape))
    accuracy = METRIC.score(reports, named(learned), seed, target=named(target), others=named(others))
    for part in (accuracy, accuracy.partial, accuracy.beyond_others):
        assert 0 < part.p_shuffle <= 1
        assert 0 < part.p_permutation <= 1
        assert part.p == max(part.p_shuffle, part.p_permutation)


@settings(max_examples=4, deadline=None)
@given(seeds)
def test_every_context_twice_leaves_r_and_shrinks_the_interval_by_root_two(seed):
    said, learned, target, _ = sides(seed, n=60, repeats=2)
    metric = AccuracyMetric(n_boot=1500, n_null=1, n_splits=2)
    double = [named(np.concatenate([rows, rows])) for rows in (said[:, 0], learned, target)]
    a = metric.score(named(said[:, 0]), named(learned), 1, target=named(target))
    b = metric.score(double[0], double[1], 1, target=double[2])
    for name in ("pooled_r", "mean_within_r", "median_within_r", "mean_spearman", "mae", "calibration_slope"):
        assert getattr(a, name) == pytest.approx(getattr(b, name)), name
    assert a.partial.r == pytest.approx(b.partial.r)
    for one, two in (
        (a.pooled_interval, b.pooled_interval),
        (a.calibration_slope_interval, b.calibration_slope_interval),
        (a.partial.interval, b.partial.interval),
    ):
        assert (one.high - one.low) / (two.high - two.low) == pytest.approx(math.sqrt(2), rel=0.2)


@quick
@given(seeds)
def test_a_constant_report_is_undefined_with_a_reason(seed):
    _, learned, target, _ = sides(seed)
    accuracy = METRIC.score(named(np.full(learned.shape, 50.0)), named(learned), seed, target=named(target))
    numbers = accuracy.to_dict()
    for name in ("pooled_r", "mean_within_r", "mean_spearman", "p", "calibration_slope", "margin", "partial_r"):
        assert numbers[name] is None, name
        assert accuracy.reason(name), name
    assert accuracy.mae > 0  # what can be said is said


@quick
@given(seeds, st.integers(0, 12), st.booleans())
def test_every_undefined_number_has_a_reason_and_no_defined_one_does(seed, n, whole):
    said, learned, target, others = sides(seed, max(n, 1))
    extra = {"target": named(target), "others": named(others)} if whole else {}
    accuracy = METRIC.score(table(said[:n]), named(learned), seed, **extra)
    frame = accuracy.to_frame()
    assert (frame["value"].isna() == (frame["reason"] != "")).all()
    numbers = accuracy.to_dict()
    for name, value in numbers.items():
        if value is None or value == [None, None]:
            assert accuracy.reason(name), name
        elif name != "within_r":
            assert not accuracy.reasons.get(name), name
