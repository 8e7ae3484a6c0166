"""Tests that choices depend on anything: their level, and what they notice."""

from __future__ import annotations

import numpy as np
import pytest

from introspect.measure import ChoiceModel, LearnedWeights
from introspect.measure.by_scenario import by_scenario
from introspect.measure.detection import likelihood_ratio, score_statistic, score_test


def tossed(n_contexts: int, n_trials: int, n_options: int = 2, n_weights: int = 5, lean: float = 0.0, seed: int = 0):
    """Designs and choices that have nothing to do with them."""
    rng = np.random.default_rng(seed)
    options = rng.random((n_contexts, n_trials, n_options, n_weights))
    sides = np.broadcast_to(np.eye(n_options - 1), (n_contexts, n_trials, n_options - 1, n_options - 1))
    design = np.concatenate([options[:, :, :-1] - options[:, :, -1:], sides], axis=3)
    utility = np.zeros(n_options)
    utility[0] = lean
    chosen = (utility - np.log(-np.log(rng.random((n_contexts, n_trials, n_options))))).argmax(axis=2)
    return design, (chosen[..., None] == np.arange(n_options - 1)).astype(float), np.ones((n_contexts, n_trials))


@pytest.mark.parametrize(("n_trials", "n_options", "lean"), [(20, 2, 0.0), (50, 2, 0.0), (20, 2, 1.5), (20, 3, 0.0)])
def test_the_score_test_holds_its_level_from_twenty_choices_on(n_trials, n_options, lean):
    design, outcome, case = tossed(1500, n_trials, n_options, lean=lean)
    p = score_test(design, outcome, case, 5).p
    p = p[np.isfinite(p)]
    assert 0.03 < (p < 0.05).mean() < 0.07
    assert p.mean() == pytest.approx(0.5, abs=0.03)


def test_the_permuted_likelihood_ratio_holds_it_where_the_chi_square_does_not(make_world):
    from scipy.special import chdtrc

    _, _, trials = make_world(n_scenarios=100, n_trials=15)
    parts = by_scenario(trials.with_labels(np.random.default_rng(1).integers(0, 2, len(trials))))
    tests = [likelihood_ratio(part, rng=0, n_permutations=39) for part in parts]
    assert np.mean([t.p <= 0.05 for t in tests]) <= 0.1  # 5 of 100 expected, 11 are beyond 1 %
    assert np.mean([chdtrc(5, t.statistic) < 0.05 for t in tests]) > 0.15


def test_a_likelihood_ratio_is_the_same_alone_and_among_others(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=20, scale=2.0)
    among = likelihood_ratio(by_scenario(trials)[1], rng=3)
    assert likelihood_ratio(by_scenario(trials.for_scenario("s001"))[0], rng=3) == among


def test_fractions_are_judged_by_their_own_spread():
    # Answers of 0.49 and 0.51 that follow the design exactly are as good evidence as 0 and 1.
    design, _, case = tossed(50, 20, n_weights=2)
    follows = 0.5 + 0.01 * design[..., 0]
    assert (score_test(design, follows, case, 2).p < 1e-6).all()
    assert (score_test(design, np.full_like(follows, 0.5), case, 2).p != 0).all()


def test_what_cannot_be_tested_has_no_p_and_counts_as_undetected(make_world):
    design, outcome, case = tossed(1, 20)
    assert np.isnan(score_test(design, np.ones_like(outcome), case, 5).p).all()
    assert np.isnan(score_test(design * (np.arange(6) > 4), outcome, case, 5).p).all()
    assert np.isnan(score_test(design[:, :6], outcome[:, :6], case[:, :6], 5).p).all()
    _, _, trials = make_world(n_scenarios=2, n_trials=20)
    flat = by_scenario(trials.with_labels(np.zeros(40, dtype=int)))[0]
    assert np.isnan(likelihood_ratio(flat, rng=0).p)


def test_a_predictor_that_never_varies_costs_nothing():
    design, outcome, case = tossed(30, 40)
    extra = np.insert(design, 2, 0.0, axis=3)
    with_it, without = score_test(extra, outcome, case, 6), score_test(design, outcome, case, 5)
    np.testing.assert_allclose(with_it.p, without.p, rtol=1e-8)
    assert (with_it.df == 5).all()


def test_a_lean_to_one_side_is_no_preference_though_the_fit_had_no_intercept():
    design, outcome, case = tossed(300, 40, lean=1.5)
    p = score_test(design[..., :5], outcome, case, 5).p
    np.testing.assert_allclose(p, score_test(design, outcome, case, 5).p)


def test_padding_changes_nothing():
    design, outcome, case = tossed(10, 30)
    padded = [np.concatenate([a, np.zeros_like(a[:, :7])], axis=1) for a in (design, outcome, case)]
    np.testing.assert_allclose(score_test(*padded, 5).p, score_test(design, outcome, case, 5).p, rtol=1e-9)
    chance = outcome.mean(axis=1)
    np.testing.assert_allclose(
        score_statistic(design, outcome, case, chance, 5), score_test(design, outcome, case, 5).statistic, rtol=1e-9
    )


def test_undetected_scenarios_are_listed_by_name(make_world):
    _, _, trials = make_world(n_scenarios=20, n_trials=40)
    coin = np.random.default_rng(0).integers(0, 2, len(trials))
    half = np.where(trials.scenario_ids < "s010", coin, trials.labels)
    weights: LearnedWeights = ChoiceModel().fit(trials.with_labels(half))
    named = weights.undetected()
    assert 7 <= len(named) <= 10
    assert all(name < "s010" for name in named)
    assert any("with and without" in line for line in weights.sentences())
