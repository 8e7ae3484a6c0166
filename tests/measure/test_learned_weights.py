"""Fitted weights as a result to keep."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.errors import MeasureError
from introspect.measure import ChoiceModel, LearnedWeights


@pytest.fixture
def weights(make_world) -> LearnedWeights:
    two = make_world(n_scenarios=3, n_trials=30, scale=4.0)[2]
    three = make_world(n_scenarios=6, n_trials=40, n_attributes=3, n_options=3)[2]
    fits = [ChoiceModel().fit(two), ChoiceModel().fit(three).select(["s003", "s004"])]
    return LearnedWeights._from_rows(
        {"tau": 5.0, "intercept_sd": 5.0, "model": "m"}, [f._row(i) for f in fits for i in range(len(f))]
    )


def identical(a: LearnedWeights, b: LearnedWeights) -> None:
    for name in ("scenario_ids", "predictors", "flags", "tau", "intercept_sd", "model"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("coef", "intercept", "cov"):
        for x, y in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_array_equal(x, y)
    for name in ("n_trials", "n_missing", "log_evidence"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_files_and_frames_lose_nothing(weights, tmp_path):
    weights.to_jsonl(tmp_path / "weights.jsonl")
    identical(LearnedWeights.from_jsonl(tmp_path / "weights.jsonl"), weights)
    frame = weights.to_pandas()
    identical(LearnedWeights.from_pandas(frame), weights)
    assert len(frame) == 3 * 6 + 2 * 5


def test_a_frame_survives_csv(weights, tmp_path):
    import pandas as pd

    weights.to_pandas().to_csv(tmp_path / "w.csv", index=False)
    frame = pd.read_csv(tmp_path / "w.csv", keep_default_na=False, float_precision="round_trip")
    identical(LearnedWeights.from_pandas(frame), weights)


def test_something_else_is_refused_by_name(tmp_path, weights):
    (tmp_path / "x.jsonl").write_text('{"kind": "report_table"}\n')
    with pytest.raises(MeasureError, match=r"x\.jsonl does not hold learned weights"):
        LearnedWeights.from_jsonl(tmp_path / "x.jsonl")
    with pytest.raises(MeasureError, match="does not hold learned weights"):
        LearnedWeights.from_pandas(weights.to_pandas().drop(columns="covariance"))


def test_the_heaviest_weight_becomes_100_and_doing_it_twice_is_doing_it_once(weights):
    once = weights.normalised()
    assert [np.abs(w).max() for w in once.coef] == pytest.approx([100.0] * 5)
    for a, b in zip(once.normalised().coef, once.coef, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    before, after = weights.standard_errors("s000"), once.standard_errors("s000")
    factor = 100 / max(map(abs, weights.weights("s000").values()))
    assert after == pytest.approx({name: value * factor for name, value in before.items()})


def test_weights_that_are_all_zero_have_no_scale(weights):
    flat = replace(weights, coef=tuple(np.zeros_like(w) for w in weights.coef))
    assert all(np.isnan(w).all() for w in flat.normalised().coef)
    with pytest.raises(MeasureError, match="all weights are 0"):
        flat.preference("s000")


def test_a_preference_carries_the_scenario_and_its_predictors(weights):
    preference = weights.preference("s001")
    assert preference.scenario_id == "s001"
    assert list(preference.weights) == list(weights.predictors[1])
    assert max(map(abs, preference.weights.values())) == pytest.approx(100.0)


def test_draws_of_a_scenario_do_not_depend_on_the_others(weights):
    everyone, alone = weights.draws(50, rng=3), weights.select(["s004"]).draws(50, rng=3)
    np.testing.assert_array_equal(everyone["s004"], alone["s004"])
    assert np.abs(everyone["s000"]).max(axis=1) == pytest.approx(np.full(50, 100.0))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000))
def test_raw_draws_have_the_posterior_mean_and_covariance(seed):
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    weights = LearnedWeights(
        scenario_ids=("k",), predictors=(("p", "q"),), coef=(np.array([1.0, -2.0]),),
        intercept=(np.zeros(0),), cov=(cov,), n_trials=np.array([9]), n_missing=np.array([0]), flags=((),),
        log_evidence=np.zeros(1), tau=5.0, intercept_sd=5.0,
    )  # fmt: skip
    drawn = weights.draws(20000, rng=seed, normalise=False)["k"]
    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, -2.0], atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), cov, atol=0.1)


def test_narrow_posteriors_are_drawn_as_narrow_as_they_are(weights):
    narrow = replace(weights, cov=tuple(1e-6 * c for c in weights.cov))
    for name, drawn in narrow.draws(4000, rng=0, normalise=False).items():
        size = np.diagonal(narrow.cov[narrow.index(name)])[: drawn.shape[1]]
        np.testing.assert_allclose(drawn.var(axis=0), size, rtol=0.2)  # over 8 standard errors


def test_intervals_cover_the_truth_about_as_often_as_they_say(make_world):
    _, preferences, trials = make_world(n_scenarios=120, n_trials=60, scale=5.0)
    weights = ChoiceModel().fit(trials)
    hits = []
    for name, ends in weights.intervals(rng=0, n=400).items():
        truth = np.array(list(preferences[name].weights.values()))
        hits += ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).tolist()
    assert 0.91 < np.mean(hits) < 0.99


def test_an_unknown_scenario_is_refused_by_name(weights):
    assert "s000" in weights
    assert "nobody" not in weights
    with pytest.raises(MeasureError, match="nobody"):
        weights.weights("nobody")


def test_sentences_name_counts_and_problems(weights):
    lines = weights.sentences()
    assert "Fitted 170 choices in 5 scenarios" in lines[0]
    assert any("position" in line for line in lines)
    assert math.isfinite(weights.log_evidence.sum())
