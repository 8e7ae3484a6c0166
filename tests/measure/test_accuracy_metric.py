"""What a score of reports against weights must keep."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.errors import MeasureError
from introspect.measure import AccuracyMetric, ReportTable, pair

METRIC = AccuracyMetric(n_boot=400, n_null=199)
quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def made(seed: int, n: int = 30, quality: float = 1.0, width: int = 5):
    """Weights, and reports that follow them with some error."""
    rng = np.random.default_rng(seed)
    learned = rng.normal(size=(n, width))
    said = quality * learned + rng.normal(size=(n, width))
    names = [f"w{j}" for j in range(width)]

    def table(side):
        return {f"k{i:03d}": dict(zip(names, row.tolist(), strict=True)) for i, row in enumerate(side)}

    return table(said), table(learned)


@quick
@given(seeds)
def test_the_order_of_contexts_does_not_move_a_single_number(seed):
    said, learned = made(seed)
    order = np.random.default_rng(seed).permutation(list(said)).tolist()
    a = METRIC.score(said, learned, rng=1)
    b = METRIC.score({k: said[k] for k in order}, {k: learned[k] for k in reversed(order)}, rng=1)
    assert a.to_dict() == b.to_dict()


@quick
@given(seeds)
def test_reordering_the_attributes_of_both_sides_keeps_r(seed):
    said, learned = made(seed)
    order = np.random.default_rng(seed).permutation(5)

    def mixed(side):
        return {k: dict([list(w.items())[j] for j in order]) for k, w in side.items()}

    a, b = METRIC.score(said, learned, rng=1), METRIC.score(mixed(said), mixed(learned), rng=1)
    for name in ("pooled_r", "mean_within_r", "median_within_r", "sign_agreement", "top_agreement"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-12)
    assert a.pooled_interval == pytest.approx(b.pooled_interval, abs=1e-12)


@quick
@given(seeds)
def test_the_length_of_either_side_does_not_matter(seed):
    said, learned = made(seed)
    rng = np.random.default_rng(seed)

    def stretched(side):
        return {k: {n: v * f for n, v in w.items()} for k, w in side.items() if (f := rng.uniform(0.01, 50))}

    a, b = METRIC.score(said, learned, rng=1), METRIC.score(stretched(said), stretched(learned), rng=1)
    for name in ("pooled_r", "mean_within_r", "mean_cosine", "p", "sign_agreement", "top_agreement"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-9)


@quick
@given(seeds)
def test_weights_match_themselves_perfectly_and_their_opposite_perfectly_badly(seed):
    _, learned = made(seed)
    opposite = {k: {n: -v for n, v in w.items()} for k, w in learned.items()}
    same, turned = METRIC.score(learned, learned, rng=1), METRIC.score(opposite, learned, rng=1)
    assert same.pooled_r == pytest.approx(1.0)
    assert turned.pooled_r == pytest.approx(-1.0)
    assert (same.sign_agreement, turned.sign_agreement) == (1.0, 0.0)
    assert (same.top_agreement, turned.top_agreement) == (1.0, 1.0)
    assert same.p == pytest.approx(1 / 200)
    assert turned.p == 1.0


@quick
@given(seeds, st.sampled_from([0.0, 0.3, 3.0]), st.integers(2, 40))
def test_p_is_never_0_and_never_above_1(seed, quality, n):
    accuracy = METRIC.score(*made(seed, n=n, quality=quality), rng=seed)
    for p in (accuracy.p, accuracy.p_shuffle, accuracy.p_permutation):
        assert 0 < p <= 1


def test_every_context_twice_leaves_r_and_shrinks_the_interval_by_root_two():
    said, learned = made(5, n=60)
    twice = [{**side, **{f"{k}-again": w for k, w in side.items()}} for side in (said, learned)]
    metric = AccuracyMetric(n_boot=4000, n_null=1)
    a, b = metric.score(said, learned, rng=1), metric.score(*twice, rng=1)
    assert a.pooled_r == pytest.approx(b.pooled_r)
    ratio = (a.pooled_interval.high - a.pooled_interval.low) / (b.pooled_interval.high - b.pooled_interval.low)
    assert ratio == pytest.approx(math.sqrt(2), rel=0.12)


def test_a_constant_report_is_undefined_with_a_reason():
    said, learned = made(6, n=12)
    constant = {k: dict.fromkeys(w, 50.0) for k, w in said.items()}
    accuracy = METRIC.score(constant, learned, rng=1)
    assert math.isnan(accuracy.pooled_r)
    assert math.isnan(accuracy.mean_within_r)
    assert math.isnan(accuracy.p)
    assert {"pooled_r", "mean_within_r", "pooled_interval", "p_shuffle"} <= set(accuracy.reasons)
    one = METRIC.score({**said, "k000": constant["k000"]}, learned, rng=1)
    assert math.isnan(one.within_r["k000"])
    assert one.n_within == 11
    assert "1 contexts" in one.reasons["within_r"]
    assert math.isfinite(one.pooled_r)


def test_every_undefined_number_has_a_reason():
    for said, learned in (
        made(7, n=3),
        ({}, {}),
        ({"k1": {"p": 1}}, {"k1": {"p": 2}}),
        ({"k1": {"p": 1, "q": 2}}, {"k1": {"p": 1, "q": 3}}),
    ):
        accuracy = METRIC.score(said, learned, rng=0)
        for name, value in accuracy.to_dict().items():
            undefined = value is None or (name.endswith("interval") and value == [None, None])
            if undefined:
                assert accuracy.reason(name), name


def test_fewer_than_ten_contexts_have_no_interval():
    nine, ten = (METRIC.score(*made(8, n=n), rng=0) for n in (9, 10))
    assert math.isnan(nine.pooled_interval.low)
    assert "9 contexts" in nine.reasons["pooled_interval"]
    assert ten.pooled_r in ten.pooled_interval


def test_the_result_is_plain_json_with_null_for_undefined():
    accuracy = METRIC.score(*made(9, n=3), rng=0)
    text = json.dumps(accuracy.to_dict(), allow_nan=False)
    assert json.loads(text)["pooled_interval"] == [None, None]
    assert all(isinstance(line, str) for line in accuracy.sentences())


def test_r_is_the_correlation_of_all_scaled_weights():
    said, learned = made(10, n=8)
    scaled = [
        np.concatenate([np.array(list(w.values())) / np.abs(list(w.values())).max() for w in side.values()])
        for side in (said, learned)
    ]
    assert METRIC.score(said, learned, rng=0).pooled_r == pytest.approx(np.corrcoef(*scaled)[0, 1])


def test_what_all_contexts_share_is_no_introspection():
    # The first predictor is heavy everywhere on both sides; nothing else agrees.
    rng = np.random.default_rng(11)
    pull = np.array([3.0, 0, 0, 0, 0])
    said, learned = ({f"k{i}": dict(zip("abcde", rng.normal(size=5) + pull, strict=True)) for i in range(80)}
                     for _ in range(2))  # fmt: skip
    accuracy = METRIC.score(said, learned, rng=0)
    assert accuracy.pooled_r > 0.3
    assert accuracy.p_permutation < 0.05
    assert accuracy.p_shuffle > 0.05
    assert accuracy.p == accuracy.p_shuffle
    assert accuracy.shuffle_quantiles[1] == pytest.approx(accuracy.pooled_r, abs=0.1)


def test_a_level_that_contexts_share_is_no_introspection():
    rng = np.random.default_rng(12)
    level = rng.normal(size=(80, 1)) * 3
    said, learned = ({f"k{i:02d}": dict(zip("abcde", row, strict=True)) for i, row in
                      enumerate(rng.normal(size=(80, 5)) + level)} for _ in range(2))  # fmt: skip
    accuracy = METRIC.score(said, learned, rng=0)
    assert accuracy.p_shuffle < 0.05
    assert accuracy.p == accuracy.p_permutation > 0.05


def test_without_introspection_small_p_are_as_rare_as_they_say():
    ps = [AccuracyMetric(1, 99).score(*made(seed, n=25, quality=0.0), rng=seed).p for seed in range(150)]
    assert np.mean(np.array(ps) <= 0.05) < 0.1
    assert 0.4 < np.mean(ps) < 0.8  # the larger of two


def test_the_interval_covers_the_true_r_about_as_often_as_it_says():
    truth = pair(*made(999, n=5000)).moments.pooled()
    metric = AccuracyMetric(n_boot=300, n_null=1)
    hits = [truth in metric.score(*made(seed, n=50), rng=seed).pooled_interval for seed in range(120)]
    assert np.mean(hits) > 0.88


def test_contexts_of_different_widths_are_pooled():
    said, learned = made(13, n=12)
    wide_said, wide_learned = made(14, n=1, width=3)
    said["z"], learned["z"] = wide_said["k000"], wide_learned["k000"]
    accuracy = METRIC.score(said, learned, rng=0)
    assert (accuracy.n_contexts, accuracy.n_points) == (13, 63)
    assert 0 < accuracy.p <= 1


def test_coverage_and_response_rate_count_what_was_asked():
    said, learned = made(15, n=12)
    del learned["k003"]
    accuracy = METRIC.score(said, learned, rng=0)
    assert accuracy.coverage == pytest.approx(11 / 12)
    assert "response_rate" in accuracy.reasons
    table = ReportTable.from_weights(said)
    assert METRIC.score(table, learned, rng=0).response_rate == 1.0
    assert METRIC.score(table, learned, rng=0).pooled_r == accuracy.pooled_r


def test_the_seed_decides_everything():
    said, learned = made(16, n=15)
    assert METRIC.score(said, learned, rng=3).to_dict() == METRIC.score(said, learned, rng=3).to_dict()
    other = METRIC.score(said, learned, rng=4)
    assert other.pooled_interval != METRIC.score(said, learned, rng=3).pooled_interval


def test_a_metric_without_resamples_is_refused():
    with pytest.raises(MeasureError, match="at least 1"):
        AccuracyMetric(n_boot=0)


def test_without_choices_the_ceiling_of_the_weights_says_what_to_give(noise):
    accuracy = AccuracyMetric(n_boot=50, n_null=19).score(noise(12, seed=1), noise(12, seed=2), rng=0)
    assert math.isnan(accuracy.ceiling.weights)
    assert "choices=" in accuracy.reason("ceiling_weights")
