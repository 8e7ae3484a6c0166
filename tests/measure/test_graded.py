"""Graded answers say more than choices, and how sure they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from introspect.measure import ChoiceModel, ChoiceTable, LearnedWeights
from introspect.measure.graded import fit_ols
from introspect.measure.stacks import stack_choices


def graded_table(trials, preferences, scale=6.0, item=0.0, seed=0, bias=0.0):
    """Answers whose log-odds are the utility difference, times a scale, plus an error of the pair."""
    rng = np.random.default_rng(seed)
    block = trials.blocks[0]
    true = np.array([list(preferences[s.id].weights.values()) for s in block.scenarios]) / 100
    log_odds = scale * (trials.differences(block) * true[block.scenario_index]).sum(axis=1) + bias
    log_odds = log_odds + item * rng.normal(size=len(trials))
    both = -np.logaddexp(0.0, np.stack([-log_odds, log_odds], axis=1)) - 0.01  # a little mass lies outside
    chosen = np.where(log_odds > 0, 0, 1)
    return replace(ChoiceTable.from_choices(trials, chosen), logprob=both), scale * true


def recovery(weights: LearnedWeights, true) -> float:
    return float(np.mean([np.corrcoef(w, t)[0, 1] for w, t in zip(weights.coef, true, strict=True)]))


def test_log_odds_that_are_linear_give_the_weights_exactly(make_world):
    _, preferences, trials = make_world(n_scenarios=4, n_trials=12)
    table, true = graded_table(trials, preferences, bias=1.5)
    weights = ChoiceModel().fit(table)
    assert weights.graded == ("ols",) * 4
    np.testing.assert_allclose(np.array(weights.coef), true, atol=1e-8)
    np.testing.assert_allclose(np.array(weights.intercept), 1.5, atol=1e-8)
    assert all(np.isfinite(d).all() for d in weights.draws(10, rng=0).values())
    assert not weights.separated.any()


def test_graded_answers_need_fewer_trials_than_choices(make_world):
    _, preferences, trials = make_world(n_scenarios=40, n_trials=14)
    table, true = graded_table(trials, preferences, item=1.0)
    plain = recovery(ChoiceModel(graded="off").fit(table), true)
    fractional = recovery(ChoiceModel(graded="fractional").fit(table), true)
    assert plain + 0.05 < fractional
    assert fractional < recovery(ChoiceModel().fit(table), true) + 0.01


def test_each_scenario_is_fitted_by_what_its_answers_allow(make_world):
    _, preferences, trials = make_world(n_scenarios=4, n_trials=40)
    table, _ = graded_table(trials, preferences)
    logprob, floor = table.logprob.copy(), table.logprob_floor.copy()
    first = np.arange(len(trials)) % 40
    ids = trials.scenario_ids
    logprob[(ids == "s001") & (first < 8), 1] = np.nan  # a label that the list did not show
    floor[ids == "s002"] = -2.0  # a list that was cut off there
    logprob[ids == "s003"] = np.nan
    weights = ChoiceModel().fit(replace(table, logprob=logprob, logprob_floor=floor))
    assert weights.graded == ("ols", "fractional", "fractional", "")
    assert np.isnan(weights.log_evidence).tolist() == [True, True, True, False]
    assert ChoiceModel(graded="off").fit(table).graded == ("",) * 4


def test_one_label_missing_in_a_hundred_does_not_change_the_method(make_world):
    _, preferences, trials = make_world(n_scenarios=1, n_trials=100)
    table, _ = graded_table(trials, preferences)
    logprob = table.logprob.copy()
    logprob[3] = np.nan
    weights = ChoiceModel().fit(replace(table, logprob=logprob))
    assert weights.graded == ("ols",)
    assert weights.n_trials[0] == 99
    assert weights.n_missing[0] == 1


def test_too_few_graded_answers_fall_back_to_choices_and_say_so(make_world):
    _, preferences, trials = make_world(n_scenarios=2, n_trials=6)
    table, _ = graded_table(trials, preferences)
    weights = ChoiceModel().fit(table)
    assert weights.graded == ("", "")
    assert all("graded_short" in flags for flags in weights.flags)
    assert any("log-probabilities" in line for line in weights.sentences())


def test_a_label_below_the_floor_counts_as_improbable_and_not_as_unknown(make_world):
    _, preferences, trials = make_world(n_scenarios=6, n_trials=60)
    table, true = graded_table(trials, preferences, scale=10.0)
    cut = np.where(table.logprob < -3.0, np.nan, table.logprob)
    weights = ChoiceModel().fit(replace(table, logprob=cut, logprob_floor=np.full(len(trials), -3.0)))
    assert set(weights.graded) == {"fractional"}
    assert recovery(weights, true) > 0.98


def test_refusals_are_left_out_even_where_their_labels_have_probabilities(make_world):
    _, preferences, trials = make_world(n_scenarios=1, n_trials=40)
    table, _ = graded_table(trials, preferences, item=2.0)
    refused = np.arange(40) < 5
    chosen = np.where(refused, -1, table.chosen).astype(np.int8)
    status = np.where(refused, "refused", table.status)
    weights = ChoiceModel().fit(replace(table, chosen=chosen, status=status))
    np.testing.assert_allclose(weights.coef[0], ChoiceModel().fit(table.take(~refused)).coef[0], atol=1e-9)
    assert weights.n_missing[0] == 5


def test_log_odds_reveal_weights_even_where_every_choice_falls_on_one_side(make_world):
    _, preferences, trials = make_world(n_scenarios=2, n_trials=40)
    table, true = graded_table(trials, preferences, scale=3.0, item=0.3, bias=20.0)
    assert set(table.chosen.tolist()) == {0}
    weights = ChoiceModel().fit(table)
    assert not weights.unusable()
    assert recovery(weights, true) > 0.98
    assert set(ChoiceModel(graded="off").fit(table).unusable()) == {"s000", "s001"}


def test_log_odds_of_pure_noise_are_flagged_as_no_preference(make_world):
    _, preferences, trials = make_world(n_scenarios=60, n_trials=40)
    table, _ = graded_table(trials, preferences, scale=0.0, item=2.0)
    undetected = sum("undetected" in flags for flags in ChoiceModel().fit(table).flags)
    assert undetected >= 50


@pytest.mark.parametrize("n_trials", [10, 20, 50])
def test_standard_errors_of_least_squares_cover_the_truth(make_world, n_trials):
    _, preferences, trials = make_world(n_scenarios=200, n_trials=n_trials)
    table, true = graded_table(trials, preferences, scale=5.0, item=2.0)
    weights = ChoiceModel().fit(table)
    errors = np.array([list(weights.standard_errors(name).values()) for name in weights.scenario_ids])
    covered = np.abs(np.array(weights.coef) - true) < 1.96 * errors
    assert 0.92 < covered.mean() < 0.99


def test_errors_of_fractions_come_from_their_own_spread(make_world):
    # Fractions carry far less noise than coin tosses of the same probability would.
    _, preferences, trials = make_world(n_scenarios=30, n_trials=60)
    table, _ = graded_table(trials, preferences, scale=4.0, item=0.1)
    weights = ChoiceModel(graded="fractional").fit(table)
    coins = ChoiceModel("ridge", tau=10.0, graded="off").fit(table)
    assert np.median([c[0, 0] for c in weights.cov]) < 0.05 * np.median([c[0, 0] for c in coins.cov])


def test_least_squares_agrees_with_statsmodels_and_its_robust_errors(make_world):
    sm = pytest.importorskip("statsmodels.api")
    _, preferences, trials = make_world(n_scenarios=1, n_trials=30)
    table, _ = graded_table(trials, preferences, item=2.0)
    weights = ChoiceModel().fit(table)
    x = np.column_stack([trials.differences(trials.blocks[0]), np.ones(30)])
    theirs = sm.OLS(table.logprob[:, 0] - table.logprob[:, 1], x).fit(cov_type="HC3")
    np.testing.assert_allclose(np.append(weights.coef[0], weights.intercept[0]), theirs.params, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(weights.cov[0])), theirs.bse, atol=1e-9)
    assert weights.log_likelihood[0] == pytest.approx(theirs.llf)


@pytest.mark.parametrize("mode", ["auto", "fractional"])
def test_halves_and_resamples_use_the_grades_too(make_world, mode):
    _, preferences, trials = make_world(n_scenarios=2, n_trials=30)
    table, _ = graded_table(trials, preferences, item=0.5)
    model = ChoiceModel(graded=mode)
    first, second = model.split_halves(table, 5, rng=0)["s000"]
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]) > 0.9
    boot = model.bootstrap(table, 200, rng=0)["s001"]
    fitted = model.fit(table)
    spread = boot.std(axis=0) / np.array(list(fitted.standard_errors("s001").values()))
    assert ((spread > 0.5) & (spread < 2.0)).all()


def test_what_was_graded_survives_files_and_frames(make_world, tmp_path):
    _, preferences, trials = make_world(n_scenarios=3, n_trials=20)
    table, _ = graded_table(trials, preferences, item=1.0)
    weights = ChoiceModel().fit(table)
    weights.to_jsonl(tmp_path / "w.jsonl")
    for back in (LearnedWeights.from_jsonl(tmp_path / "w.jsonl"), LearnedWeights.from_pandas(weights.to_pandas())):
        assert back.graded == weights.graded
        assert back.estimator == "eb"
        np.testing.assert_array_equal(back.log_likelihood, weights.log_likelihood)
        np.testing.assert_array_equal(back.n_effective, weights.n_effective)
        np.testing.assert_array_equal(back.log_evidence, weights.log_evidence)


def test_stacks_know_which_trial_is_where(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=7)
    [stack] = stack_choices(trials, trials.labels)
    for c, name in enumerate(stack.scenario_ids):
        assert (trials.scenario_ids[stack.rows[c]] == name).all()
    assert fit_ols(stack.select(np.array([0]), log_odds=stack.outcome[:1, :, 0], graded="ols")).coef.shape == (1, 6)
