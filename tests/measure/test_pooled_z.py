"""The published analysis, against an independent computation of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import linregress, t

from introspect.measure import ChoiceTable, ReportTable
from introspect.measure.pooled_z import NAIVE, pooled_z


def published(trials, chosen, reports, used) -> tuple[float, float, float, dict]:
    """Weights by a general optimiser, z-scores and regression by hand."""
    weights = {}
    start = 0
    for block in trials.blocks:
        x, y = block.differences(), chosen[start : start + block.n] == 0
        valid = chosen[start : start + block.n] >= 0
        start += block.n
        for c, scenario in enumerate(block.scenarios):
            rows = (block.scenario_index == c) & valid
            if y[rows].all() or not y[rows].any():
                continue
            z, hit = x[rows], y[rows]

            def loss(b, z=z, hit=hit):
                eta = b[0] + z @ b[1:]
                return np.logaddexp(0, np.where(hit, -eta, eta)).sum() + 0.5 * (b[1:] ** 2).sum()

            b = minimize(loss, np.zeros(z.shape[1] + 1), method="BFGS", options={"gtol": 1e-8}).x[1:]
            weights[scenario.id] = dict(zip(scenario.predictors, np.round(100 * b / np.abs(b).max()), strict=True))
    said = [np.mean([r[key] for r in reports[k]]) for k in used if k in weights for key in weights[k]]
    learned = [weights[k][key] for k in used if k in weights for key in weights[k]]
    zx = (np.array(said) - np.mean(said)) / np.std(said, ddof=1)
    zy = (np.array(learned) - np.mean(learned)) / np.std(learned, ddof=1)
    fit = linregress(zx, zy)
    half = t.ppf(0.975, len(zx) - 2) * fit.stderr
    return fit.slope, fit.slope - half, fit.slope + half, weights


def made(make_world, noise: float = 60.0, n_scenarios: int = 15, seed: int = 0):
    _, preferences, trials = make_world(n_scenarios=n_scenarios, n_trials=50, seed=seed, scale=6)
    rng = np.random.default_rng(seed)
    given = {
        name: [{key: w + noise * rng.normal() for key, w in own.weights.items()} for _ in range(4)]
        for name, own in preferences.items()
    }
    rows = [
        {"scenario_id": k, "repeat": i, "status": "answered", "weights": r, "text": [], "problems": [], "shown": None}
        for k, own in given.items()
        for i, r in enumerate(own)
    ]
    names = {k: list(own[0]) for k, own in given.items()}
    return trials, given, rows, names


def table(rows, names) -> ReportTable:
    return ReportTable.of_rows(rows, names, {"model": "", "probe": "", "seed": 0, "signed": True})


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_what_an_independent_computation_gives(make_world, seed) -> None:
    trials, given, rows, names = made(make_world, seed=seed)
    chosen = trials.labels.copy()
    chosen[::17] = -1
    found = pooled_z(ChoiceTable.from_choices(trials, chosen), table(rows, names))
    slope, low, high, weights = published(trials, chosen, given, list(given))
    assert {k: dict(own) for k, own in found.weights.items()} == weights
    assert found.r == pytest.approx(slope, abs=1e-10)
    assert found.slope == pytest.approx(slope, abs=1e-10)
    assert found.interval == pytest.approx((low, high), abs=1e-10)
    assert (found.n_contexts, found.n_points) == (15, 75)


def test_reports_beyond_a_hundred_are_kept_and_averaged_as_given(make_world) -> None:
    trials, given, rows, names = made(make_world)
    given["s003"][0] = rows[12]["weights"] = dict.fromkeys(names["s003"], 900.0)
    assert (rows[12]["scenario_id"], rows[12]["repeat"]) == ("s003", 0)
    slope, *_ = published(trials, trials.labels, given, list(given))
    assert pooled_z(trials, table(rows, names)).r == pytest.approx(slope, abs=1e-10)


def test_a_context_that_always_gives_one_letter_is_left_out(make_world) -> None:
    trials, given, rows, names = made(make_world)
    chosen = np.where(trials.scenario_ids == "s002", 0, trials.labels)
    found = pooled_z(ChoiceTable.from_choices(trials, chosen), table(rows, names))
    slope, *_ = published(trials, chosen, given, list(given))
    assert found.dropped == {"all choices on one side": ("s002",)}
    assert found.r == pytest.approx(slope, abs=1e-10)
    assert "s002" not in found.weights


def test_each_side_is_scored_over_all_that_it_holds(make_world) -> None:
    """As in the published script, learned weights of contexts without a usable report move the scale, not r."""
    trials, _, rows, names = made(make_world)
    some = [dict(row, status="refused") if row["scenario_id"] < "s005" else row for row in rows]
    found = pooled_z(trials, table(some, names))
    alone = pooled_z(
        trials.take(trials.scenario_ids >= "s005"), table(rows[20:], {k: n for k, n in names.items() if k >= "s005"})
    )
    assert found.dropped == {"no valid report": tuple(f"s{i:03d}" for i in range(5))}
    assert found.r == pytest.approx(alone.r, abs=1e-12)
    assert alone.slope == pytest.approx(alone.r, abs=1e-12)
    assert found.slope != pytest.approx(found.r, abs=1e-4)


def test_its_interval_is_labelled_for_what_it_is(make_world) -> None:
    trials, _, rows, names = made(make_world)
    found = pooled_z(trials, table(rows, names))
    assert "exchangeable" in NAIVE
    assert NAIVE in found.sentence()
    assert found.to_dict()["naive_ci"] == NAIVE


def test_what_cannot_be_computed_is_null_with_a_reason(make_world) -> None:
    trials, _, rows, names = made(make_world, n_scenarios=2)
    flat = [dict(row, weights=dict.fromkeys(row["weights"], 5.0)) for row in rows]
    found = pooled_z(trials, table(flat, names))
    assert math.isnan(found.r)
    assert found.to_dict()["r"] is None
    assert found.reasons == {"r": "one side does not vary at all"}
    assert "does not vary" in found.sentence()
    none = pooled_z(trials, table([dict(row, status="refused") for row in rows], names))
    assert none.reasons == {"r": "fewer than three points"}
