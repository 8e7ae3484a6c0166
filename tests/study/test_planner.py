"""A plan says what a study of that size will show, and the cheapest one is the cheapest."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect import Assumptions, cheapest_plan, plan
from introspect.errors import ConfigError, ScenarioError
from introspect.measure import AccuracyMetric
from introspect.measure.moments import correlation, six_sums
from introspect.study.imagined import imagine

NAMES = "pqrst"


def side(rows: np.ndarray, which: np.ndarray) -> dict[str, dict[str, float]]:
    return {f"k{i:04d}": dict(zip(NAMES, rows[c], strict=True)) for i, c in enumerate(which)}


def test_the_planned_width_and_r_are_those_that_the_metric_gives() -> None:
    world = imagine(Assumptions(), [30], [3], seed=1, n=100)
    rng = np.random.default_rng(0)
    metric = AccuracyMetric(n_boot=400, n_null=9, n_splits=1)
    widths, values = [], []
    for _ in range(40):
        which = rng.integers(0, len(world.true), 60)
        accuracy = metric.score(side(world.reports[3][0], which), side(world.learned[30], which), rng=0)
        widths.append(accuracy.pooled_interval.high - accuracy.pooled_interval.low)
        values.append(accuracy.pooled_r)
    (row,) = plan(60, 30, 3, rng=1, n_pool=100).rows
    assert row.width == pytest.approx(np.mean(widths), rel=0.12)
    assert row.r == pytest.approx(np.mean(values), abs=0.02)


def test_the_planned_power_is_that_of_the_paired_comparison() -> None:
    world = imagine(Assumptions(gain=0.1), [30], [3], seed=1, n=100)
    rng = np.random.default_rng(0)
    metric = AccuracyMetric(n_boot=10, n_null=199)
    found = []
    for _ in range(120):
        which = rng.integers(0, len(world.true), 60)
        before, after = (side(world.reports[3][k], which) for k in (0, 1))
        found.append(metric.compare(before, after, side(world.learned[30], which), rng=0).p <= 0.05)
    (row,) = plan(60, 30, 3, Assumptions(gain=0.1), rng=1, n_pool=100).rows
    assert 0.3 < row.power < 0.95
    assert row.power == pytest.approx(np.mean(found), abs=0.15)


def test_without_a_gain_the_power_is_the_level() -> None:
    (row,) = plan(60, 20, 2, Assumptions(gain=0.0), n_sims=1500, n_pool=100).rows
    assert 0.03 <= row.power <= 0.075


@pytest.mark.parametrize("goal", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_assumed_r_is_the_r_of_endless_reports_with_true_weights(goal: float, spread: float) -> None:
    world = imagine(Assumptions(r=goal, gain=0.05, spread=spread), [5], [1], seed=0, n=100)
    for latent, wanted in zip(world.latent, (goal, goal + 0.05), strict=True):
        assert float(correlation(six_sums(latent, world.true).sum(axis=0))) == pytest.approx(wanted, abs=0.03)


def test_more_of_anything_never_makes_the_plan_worse() -> None:
    rows = {(r.contexts, r.trials, r.reports): r for r in plan([20, 100], [10, 50], [1, 5], n_pool=100).rows}
    assert len(rows) == 8
    for (c, t, k), row in rows.items():
        assert row.width < rows[20, t, k].width + 1e-9 or c == 20
        assert row.ceiling >= rows[c, 10, k].ceiling - 1e-9
        assert row.ceiling >= rows[c, t, 1].ceiling - 1e-9
        assert row.queries == c * (t + k)
        assert row.queries_gain == c * (t + 2 * k)
        assert row.r <= 0.6 + 0.02


def test_noise_lowers_the_ceiling_and_graded_answers_raise_it() -> None:
    def ceiling(**changes: object) -> float:
        return plan(20, 20, 1, Assumptions(**changes), n_sims=20, n_pool=60).rows[0].ceiling_weights

    plain = ceiling(scale=5.0)
    assert ceiling(scale=2.0) < plain < ceiling(scale=None)
    assert ceiling(scale=5.0, lapse=0.2) < plain
    assert ceiling(scale=5.0, item_sd=4.0) < plain
    assert ceiling(scale=5.0, item_sd=1.0, graded=True) > plain


def test_the_cheapest_plan_reaches_what_was_wished_and_a_cheaper_neighbour_does_not() -> None:
    found = cheapest_plan(width=0.2, trials=[15, 30, 60], reports=[1, 3], n_sims=200, n_pool=100)
    assert found.cheapest == found.rows[0]
    assert all(row.width <= 0.2 and row.ceiling >= 0.8 for row in found.rows)
    assert all(a.queries <= b.queries for a, b in pairwise(found.rows))
    best = found.cheapest
    (smaller,) = plan(int(best.contexts * 0.75), best.trials, best.reports, n_sims=200, n_pool=100).rows
    assert smaller.width > 0.2
    powered = cheapest_plan(power=0.8, trials=[20], reports=[3], n_sims=200, n_pool=100).cheapest
    assert powered.power >= 0.8


def test_what_no_size_reaches_is_said_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"no study of up to 1,000 contexts reaches .* the nearest is 1000"):
        cheapest_plan(width=0.001, trials=[20], reports=[3], n_sims=20, n_pool=60)
    with pytest.raises(ConfigError, match=r"ceiling of 0\.99"):
        cheapest_plan(width=0.5, ceiling=0.99, trials=[5], reports=[1], n_sims=20, n_pool=60)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plan(5), "contexts must be whole numbers from 10"),
        (lambda: plan(20, 1), "trials must be"),
        (lambda: plan(20, 20, 0), "reports must be"),
        (lambda: plan([]), "contexts: at least one"),
        (lambda: plan(20, 20, 1, n_sims=1), "n_sims"),
        (lambda: plan(20, 20, 1, n_pool=1), "n_pool"),
        (cheapest_plan, "say what to reach"),
        (lambda: cheapest_plan(width=3), "width must lie"),
        (lambda: cheapest_plan(power=1.0), "power must lie"),
        (lambda: cheapest_plan(power=0.5, assumptions=Assumptions(gain=0)), "gain is 0"),
    ],
)
def test_impossible_wishes_are_one_clear_line(call, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        call()


@pytest.mark.parametrize("wrong", [{"r": 1.0}, {"r": 0.9, "gain": 0.2}, {"scale": 0}, {"graded": True, "scale": None}])
def test_assumptions_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ScenarioError):
        Assumptions(**wrong)


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_plan_and_plain_json(seed: int) -> None:
    first, again = (plan(12, 6, 2, rng=seed, n_sims=20, n_pool=20) for _ in range(2))
    assert first == again
    assert json.loads(json.dumps(first.to_dict(), allow_nan=False))["plans"][0]["contexts"] == 12
    assert len(first.to_frame()) == 1
    assert "95 % width" in str(first)
