"""Estimators of plain choices, and fits to resampled trials."""

from __future__ import annotations

import numpy as np
import pytest

from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure import ChoiceModel, ChoiceTable
from introspect.measure.evidence import _best
from introspect.measure.newton import fit_map
from introspect.measure.stacks import stack_choices

ESTIMATORS = ("eb", "ridge", "ml", "firth")


def test_the_default_chooses_one_scale_for_all_contexts_and_says_which(make_world):
    _, _, noisy = make_world(n_scenarios=60, n_trials=60, scale=2.0)
    _, _, sharp = make_world(n_scenarios=60, n_trials=60)
    low, high = ChoiceModel().fit(noisy), ChoiceModel().fit(sharp)
    assert low.estimator == "eb"
    assert 0.5 <= low.tau < 3.0
    assert high.tau == 20.0  # without noise the evidence grows without bound


def test_the_chosen_scale_is_where_the_pooled_evidence_is_largest(make_world):
    _, _, trials = make_world(n_scenarios=30, n_trials=50, scale=5.0)
    chosen = ChoiceModel().fit(trials)
    [stack] = stack_choices(trials, trials.labels)

    def evidence(tau, side=chosen.intercept_sd):
        return fit_map(stack.design, stack.outcome, np.array([tau] * 5 + [side]), stack.case).log_evidence.sum()

    best = max(np.geomspace(0.5, 20, 200), key=evidence)
    assert chosen.tau == pytest.approx(best, rel=0.02)
    assert chosen.log_evidence.sum() == pytest.approx(evidence(chosen.tau), abs=1e-6)
    sides = np.geomspace(0.5, 5, 100)
    assert chosen.intercept_sd == pytest.approx(max(sides, key=lambda s: evidence(chosen.tau, s)), rel=0.05)


def test_a_liking_for_a_side_widens_the_prior_of_the_intercept(make_world):
    _, _, trials = make_world(n_scenarios=40, n_trials=60, scale=4.0)
    assert ChoiceModel().fit(trials).intercept_sd == 0.5
    block = trials.blocks[0]
    rng = np.random.default_rng(0)
    leaning = np.where(rng.random(len(trials)) < 0.4, np.where(block.scenario_index % 2, 0, 1), trials.labels)
    assert 0.8 < ChoiceModel().fit(trials.with_labels(leaning)).intercept_sd < 5.0
    assert ChoiceModel(intercept_sd=0.3).fit(trials).intercept_sd == 0.3


def test_without_a_context_that_chose_both_sides_the_scale_is_the_fallback(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=20)
    weights = ChoiceModel(tau=3.0).fit(trials.with_labels(np.zeros(len(trials), dtype=int)))
    assert weights.tau == 3.0
    assert set(weights.unusable()) == set(weights.scenario_ids)


def test_maximum_likelihood_says_that_separated_choices_have_no_optimum(make_world):
    _, _, sharp = make_world(n_scenarios=4, n_trials=40)
    _, _, noisy = make_world(n_scenarios=8, n_trials=200, scale=2.0)
    mixed = TrialSet([*sharp.blocks, *noisy.take(noisy.scenario_ids >= "s004").blocks])
    weights = ChoiceModel(estimator="ml").fit(mixed)
    assert weights.separated.tolist() == [True] * 4 + [False] * 4
    assert weights.converged.tolist() == [False] * 4 + [True] * 4
    assert all(np.isnan(w).all() for w in weights.coef[:4])
    assert all(np.abs(w).max() < 20 for w in weights.coef[4:])
    assert set(weights.unusable()) == {"s000", "s001", "s002", "s003"}
    assert "no finite optimum" in weights.unusable()["s000"]
    with pytest.raises(MeasureError, match="no finite optimum"):
        weights.preference("s000")
    assert any("no finite optimum" in line for line in weights.sentences())


@pytest.mark.parametrize("estimator", ["eb", "ridge", "firth"])
def test_other_estimators_stay_finite_on_separated_choices_and_flag_them(make_world, estimator):
    _, _, sharp = make_world(n_scenarios=10, n_trials=50)
    weights = ChoiceModel(estimator=estimator).fit(sharp)
    assert weights.separated.all()
    assert weights.converged.all()
    assert max(np.abs(w).max() for w in weights.coef) < 60


def test_firth_is_for_two_options_and_says_so(make_world):
    _, _, trials = make_world(n_scenarios=2, n_options=3)
    with pytest.raises(MeasureError, match=r"two options, these have 3.*eb"):
        ChoiceModel(estimator="firth").fit(trials)


def test_without_an_intercept_there_is_none(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=60, scale=4.0)
    weights = ChoiceModel(intercept=False).fit(trials)
    assert all(len(b) == 0 for b in weights.intercept)
    assert [v.shape for v in weights.cov] == [(5, 5)] * 3
    assert len(weights.sentences()) >= 1


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(MeasureError, match="estimator must be one of eb, ridge"):
        ChoiceModel(estimator="lasso")
    with pytest.raises(MeasureError, match="graded must be one of auto"):
        ChoiceModel(graded="on")


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n_options", [2, 3])
def test_bootstrap_replicates_are_fits_to_resampled_trials(make_world, estimator, n_options):
    if estimator == "firth" and n_options == 3:
        pytest.skip("two options only")
    _, _, trials = make_world(n_scenarios=3, n_trials=60, scale=3.0, n_options=n_options)
    model = ChoiceModel(estimator=estimator)
    found = model.bootstrap(trials, 40, rng=1)
    fitted = model.fit(trials)
    for i, name in enumerate(fitted.scenario_ids):
        assert found[name].shape == (40, 5)
        good = np.isfinite(found[name]).all(axis=1)
        assert good.mean() > 0.5
        spread = np.median(np.abs(found[name][good] - fitted.coef[i]), axis=0)
        assert (spread < 4 * np.sqrt(np.diagonal(fitted.cov[i])[:5])).all()
    again = model.bootstrap(trials, 40, rng=1)
    np.testing.assert_array_equal(found["s001"], again["s001"])


@pytest.mark.parametrize("estimator", ["ridge", "firth"])
def test_halves_are_fits_to_complementary_halves(make_world, estimator):
    _, _, trials = make_world(n_scenarios=2, n_trials=31, scale=4.0)
    chosen = trials.labels.astype(int)
    chosen[3] = -1  # a missing answer is in neither half
    model = ChoiceModel(estimator=estimator)
    halves = model.split_halves(ChoiceTable.from_choices(trials, chosen), 6, rng=2)
    first, second = halves["s000"]
    assert first.shape == second.shape == (6, 5)
    # The same split, fitted by leaving trials out.
    from introspect._random import stream
    from introspect.measure.bootstrap import half_weights

    split = half_weights(6)(30, stream(2, "halves", "s000"))
    usable = np.delete(np.arange(31), 3)
    for half, column in ((first, 0), (second, 6)):
        kept = usable[split[:, column] > 0]
        np.testing.assert_allclose(half[0], model.fit(trials.take(kept)).coef[0], atol=1e-6)
    np.testing.assert_array_equal(split[:, 0] + split[:, 6], 1.0)


def test_resamples_of_a_scenario_do_not_depend_on_the_others(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=30, scale=4.0)
    model = ChoiceModel(estimator="ridge")
    alone = model.bootstrap(trials.for_scenario("s002"), 10, rng=5)["s002"]
    np.testing.assert_allclose(model.bootstrap(trials, 10, rng=5)["s002"], alone, atol=1e-6)


def test_a_scenario_without_answers_has_no_resampled_weights(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=30, scale=4.0)
    labels = np.where(trials.scenario_ids == "s001", -1, trials.labels)
    model = ChoiceModel()
    assert np.isnan(model.bootstrap(trials.with_labels(labels), 5, rng=0)["s001"]).all()
    assert np.isnan(model.split_halves(trials.with_labels(labels), 5, rng=0)["s001"][0]).all()
    with pytest.raises(MeasureError, match="n_boot"):
        model.bootstrap(trials, 0, rng=0)
    with pytest.raises(MeasureError, match="n_splits"):
        model.split_halves(trials, 0, rng=0)


@pytest.mark.parametrize("top", [1.6, 2.2, 5.0, 11.0])
def test_the_best_scale_lies_between_the_points_of_the_grid(top):
    grid = np.geomspace(1.0, 16.0, 5)
    assert _best(grid, list(-(np.log(grid / top) ** 2))) == pytest.approx(top, rel=1e-9)
    assert _best(grid, list(np.log(grid))) == pytest.approx(16.0)
    assert _best(grid, list(-np.log(grid))) == 1.0
