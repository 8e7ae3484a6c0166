"""Where answers say how probable each choice was, the diagnoses and the comparison of rules look at that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from introspect.measure import ChoiceModel, ChoiceTable, compare_rules, diagnose
from introspect.measure.by_scenario import by_scenario
from introspect.measure.detection import likelihood_ratio
from introspect.measure.linearity import linearity


def answered(trials, utility_of, noise=0.5, seed=0, lean=0.0) -> ChoiceTable:
    """Log-odds are the difference of a utility of the encoded values, plus an error."""
    encoded = trials.blocks[0].encoded()
    rng = np.random.default_rng(seed)
    log_odds = utility_of(encoded[:, 0]) - utility_of(encoded[:, 1]) + lean + noise * rng.normal(size=len(trials))
    both = -np.logaddexp(0.0, np.stack([-log_odds, log_odds], axis=1))
    return replace(ChoiceTable.from_choices(trials, np.where(log_odds > 0, 0, 1)), logprob=both)


def straight(x):
    return x @ np.array([1.5, -1.0, 0.5, 0.0, 0.8])


def bent(x):
    return straight(x) - 2.0 * (x[..., 3] - 0.5) ** 2


def test_a_bend_too_small_for_choices_shows_in_their_log_odds(make_world):
    _, _, trials = make_world(n_scenarios=8, n_trials=40)
    table = answered(trials, bent, noise=0.2)
    pooled, single = linearity(by_scenario(table), rng=0, n_boot=99)
    assert pooled.p == 0.01
    assert np.mean([s.p < 0.05 for s in single.values()]) == 1.0
    assert all(s.by_predictor["a3"][0] == -1 and s.by_predictor["a3"][1] < 0.01 for s in single.values())
    _, letters = linearity(by_scenario(table, graded=False), rng=0, n_boot=0)
    assert np.mean([s.p < 0.05 for s in letters.values()]) < 0.5


def test_straight_log_odds_are_called_bent_as_often_as_the_level_says(make_world):
    _, _, trials = make_world(n_scenarios=300, n_trials=30)
    pooled, single = linearity(by_scenario(answered(trials, straight)), rng=0, n_boot=19)
    p = np.array([s.p for s in single.values()])
    assert 0.0 < (p < 0.05).mean() < 0.13  # a standard error of 1.3 points
    assert p.mean() == pytest.approx(0.5, abs=0.1)
    assert pooled.df == 5 * 300


def test_log_odds_without_preference_are_tested_by_permutation_at_their_level(make_world):
    _, _, trials = make_world(n_scenarios=200, n_trials=15)
    parts = by_scenario(answered(trials, lambda x: 0.0 * x[..., 0], noise=1.0))
    p = np.array([likelihood_ratio(part, rng=0, n_permutations=39).p for part in parts])
    assert (p <= 0.05).mean() < 0.15
    assert p.mean() == pytest.approx(0.5, abs=0.15)


def test_a_preference_that_every_choice_hides_behind_one_side_is_still_seen(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=30)
    table = answered(trials, straight, noise=0.1, lean=9.0)
    assert (table.chosen == 0).all()
    weights = ChoiceModel().fit(table)
    assert not weights.unusable()
    found = diagnose(table, weights, n_permutations=39, n_boot=9)
    assert not found.with_code("one_sided") + found.with_code("undetected")
    assert all(ratio.p == 0.025 for ratio in found.detection.values())
    assert all(p < 0.001 for p in found.detection_p.values())
    letters = diagnose(table, ChoiceModel(graded="off").fit(table), n_permutations=9, n_boot=0)
    assert letters.with_code("one_sided") == ("s000", "s001")
    fits = compare_rules(table, kinds=["linear"])
    assert not fits.skipped
    assert compare_rules(table, kinds=["linear"], graded=False).skipped


def test_rules_are_scored_by_the_probabilities_given(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=60)
    table = answered(trials, straight, noise=0.0)
    fits = compare_rules(table, kinds=["linear"]).fits
    for scenario, part in zip(trials.scenarios, by_scenario(table), strict=True):
        share = part.share[:, 0]
        best = float((share * np.log(share) + (1 - share) * np.log(1 - share)).mean())
        fit = fits[scenario.id]["linear"]
        assert (fit.n, fit.scores.shape) == (60, (60,))
        assert best - 0.05 < fit.held_out <= best + 1e-9  # nobody forecasts a probability better than itself
        assert np.corrcoef(fit.rule.vector(scenario), straight(np.eye(5)))[0, 1] > 0.98


def test_answers_that_miss_a_label_leave_the_choice_in_its_place(make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=20)
    table = answered(trials, straight)
    logprob = table.logprob.copy()
    logprob[3, 1] = np.nan
    (part,) = by_scenario(replace(table, logprob=logprob))
    assert not part.graded
    assert part.share[3, 0] == part.outcome[3, 0]
    assert 0 < part.share[4, 0] < 1
    assert np.isfinite(diagnose(replace(table, logprob=logprob), n_permutations=9, n_boot=3).linearity.statistic)
