"""The rise from one set of reports to another."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.measure import AccuracyMetric

METRIC = AccuracyMetric(n_boot=400, n_null=199)


def reports(seed: int, learned: dict[str, dict[str, float]], error: float) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    return {k: {n: v + error * rng.normal() for n, v in w.items()} for k, w in learned.items()}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30))
def test_no_change_is_exactly_no_change(seed, n):
    rng = np.random.default_rng(seed)
    learned = {f"k{i}": {f"w{j}": rng.normal() for j in range(4)} for i in range(n)}
    said = reports(seed, learned, 1.0)
    rise = METRIC.compare(said, dict(said), learned, rng=seed)
    assert rise.rise == 0.0
    assert rise.p == 1.0
    if n >= 10:
        assert rise.interval == (0.0, 0.0)


def test_a_real_rise_is_found_and_its_fall_is_its_mirror(noise):
    learned = noise(60)
    before, after = reports(1, learned, 1.5), reports(2, learned, 0.3)
    rise = METRIC.compare(before, after, learned, rng=0)
    fall = METRIC.compare(after, before, learned, rng=0)
    assert rise.rise > 0.2
    assert rise.p == pytest.approx(1 / 200)
    assert rise.interval.low > 0
    assert fall.rise == pytest.approx(-rise.rise)
    assert fall.interval == pytest.approx((-rise.interval.high, -rise.interval.low))
    assert rise.rise == pytest.approx(
        METRIC.score(after, learned, rng=0).pooled_r - METRIC.score(before, learned, rng=0).pooled_r
    )


def test_only_contexts_with_both_reports_count(noise):
    learned = noise(20)
    before, after = reports(1, learned, 1.0), reports(2, learned, 1.0)
    del before["k003"], after["k007"]
    rise = METRIC.compare(before, after, learned, rng=0)
    assert (rise.n_contexts, rise.n_unpaired) == (18, 2)
    for side in (before, after, learned):
        for name in ("k003", "k007"):
            side.pop(name, None)
    alone = METRIC.compare(before, after, learned, rng=0)
    assert (rise.rise, rise.interval, rise.p) == (alone.rise, alone.interval, alone.p)


def test_the_reports_after_can_be_scored_against_the_weights_after(noise):
    learned, moved = noise(30, seed=0), noise(30, seed=1)
    rise = METRIC.compare(learned, moved, learned, rng=0, after_weights=moved)
    assert (rise.before, rise.after) == pytest.approx((1.0, 1.0))
    assert METRIC.compare(learned, moved, learned, rng=0).after < 0.5


def test_few_or_no_common_contexts_are_undefined_with_a_reason(noise):
    learned = noise(5)
    few = METRIC.compare(reports(1, learned, 1.0), reports(2, learned, 1.0), learned, rng=0)
    assert math.isnan(few.interval.low)
    assert "5 contexts" in few.reasons["interval"]
    none = METRIC.compare({}, learned, learned, rng=0)
    assert math.isnan(none.rise)
    assert set(none.reasons) == {"rise", "interval", "p"}
    assert json.dumps(none.to_dict(), allow_nan=False)
    assert any("undefined" in line for line in none.sentences())


def test_without_a_rise_small_p_are_as_rare_as_they_say(noise):
    learned = noise(25)
    ps = [
        AccuracyMetric(1, 99).compare(reports(2 * s, learned, 1.0), reports(2 * s + 1, learned, 1.0), learned, rng=s).p
        for s in range(150)
    ]
    assert np.mean(np.array(ps) <= 0.05) < 0.11
