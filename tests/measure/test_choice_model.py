"""From choices to weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspect.decision.generator import TrialGenerator
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure import ChoiceModel, ChoiceTable, LearnedWeights
from introspect.testing.strategies import scenario_sets, trial_sets


def recovered(weights: LearnedWeights, preferences) -> list[float]:
    return [
        float(np.corrcoef(weights.coef[i], list(preferences[name].weights.values()))[0, 1])
        for i, name in enumerate(weights.scenario_ids)
    ]


def close(a: LearnedWeights, b: LearnedWeights, tolerance: float = 1e-7) -> None:
    assert a.scenario_ids == b.scenario_ids
    for name in ("coef", "intercept", "cov"):
        for x, y in zip(getattr(a, name), getattr(b, name), strict=True):
            np.testing.assert_allclose(x, y, atol=tolerance)


@pytest.mark.parametrize("n_options", [2, 4])
def test_consistent_choices_reveal_their_weights(make_world, n_options):
    _, preferences, trials = make_world(n_trials=100, n_options=n_options)
    assert np.mean(recovered(ChoiceModel().fit(trials), preferences)) > 0.98


def test_noisy_choices_reveal_them_too(make_world):
    _, preferences, trials = make_world(n_scenarios=20, n_trials=100, scale=5.0)
    assert np.mean(recovered(ChoiceModel().fit(trials), preferences)) > 0.95


def test_the_true_scale_is_found_where_noise_bounds_it(make_world):
    # At 5 logits between the ends of the heaviest attribute, the fit should say about 5, not a normalised
    # number.
    _, preferences, trials = make_world(n_scenarios=20, n_trials=400, scale=5.0)
    weights = ChoiceModel("ridge", tau=20.0).fit(trials)
    ratio = [
        weights.coef[i] @ (v := np.array(list(preferences[name].weights.values())) / 100) / (v @ v)
        for i, name in enumerate(weights.scenario_ids)
    ]
    assert np.mean(ratio) == pytest.approx(5.0, rel=0.1)


def test_a_leaning_to_the_first_option_goes_to_the_intercept_and_not_to_the_weights(make_world):
    _, preferences, trials = make_world(n_scenarios=10, n_trials=300)
    rng = np.random.default_rng(0)
    block = trials.blocks[0]
    utility = np.array([list(preferences[s.id].weights.values()) for s in block.scenarios])[block.scenario_index]
    logits = 0.05 * (trials.differences(block) * utility).sum(axis=1) + 2.0
    first = rng.random(len(trials)) < 1 / (1 + np.exp(-logits))
    weights = ChoiceModel().fit(trials.with_labels(np.where(first, 0, 1)))
    assert np.mean([b[0] for b in weights.intercept]) == pytest.approx(2.0, abs=0.3)
    assert np.mean(recovered(weights, preferences)) > 0.97
    assert sum("side_bias" in flags for flags in weights.flags) >= 8


def test_showing_every_trial_the_other_way_round_only_negates_the_intercept(make_world):
    _, _, trials = make_world(scale=5.0)
    a, b = ChoiceModel().fit(trials), ChoiceModel().fit(trials.swapped())
    for i in range(len(a)):
        np.testing.assert_allclose(a.coef[i], b.coef[i], atol=1e-8)
        np.testing.assert_allclose(a.intercept[i], -b.intercept[i], atol=1e-8)


def test_a_scenario_is_fitted_alike_alone_and_among_others_of_any_shape(make_world):
    _, _, small = make_world(n_scenarios=3, n_trials=20, n_attributes=2)
    _, _, large = make_world(n_scenarios=6, n_trials=90, n_attributes=4)
    kept = large.take(np.flatnonzero(large.scenario_ids >= "s003"))
    # At a fixed scale: the default's scale is common to all scenarios of a call, so it knows who else is there.
    together = ChoiceModel(estimator="ridge").fit(TrialSet([*small.blocks, *kept.blocks]))
    assert len(together) == 6
    for name in together.scenario_ids:
        source = small if name < "s003" else kept
        close(together.select([name]), ChoiceModel(estimator="ridge").fit(source.for_scenario(name)))


def test_ragged_scenarios_are_fitted_as_if_alone(make_world):
    _, _, trials = make_world(n_scenarios=4, n_trials=100)
    place = np.concatenate([np.arange(100)] * 4)
    sizes = dict(zip(("s000", "s001", "s002", "s003"), (3, 17, 30, 100), strict=True))
    ragged = trials.take(place < np.array([sizes[name] for name in trials.scenario_ids]))
    weights = ChoiceModel(estimator="ridge").fit(ragged)
    assert weights.n_trials.tolist() == [3, 17, 30, 100]
    for name in sizes:
        close(weights.select([name]), ChoiceModel(estimator="ridge").fit(ragged.for_scenario(name)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trial_sets(scenario_sets(max_size=3), n_options=st.just(2)))
def test_any_legal_trials_give_finite_weights_or_are_flagged(trials):
    weights = ChoiceModel().fit(trials)
    assert set(weights.scenario_ids) == {s.id for s in trials.scenarios}
    assert weights.n_trials.sum() + weights.n_missing.sum() == len(trials)
    for i, name in enumerate(weights.scenario_ids):
        assert np.isfinite(weights.coef[i]).all()
        assert len(weights.coef[i]) == len(weights.predictors[i])
        labels = trials.for_scenario(name).labels
        used = labels[labels >= 0]
        assert ("no_choices" in weights.flags[i]) == (not len(used))
        assert ("one_sided" in weights.flags[i]) == (len(used) > 0 and len(set(used.tolist())) == 1)
        assert "not_converged" not in weights.flags[i]
    assert all(isinstance(line, str) and line for line in weights.sentences())


def test_missing_choices_are_left_out_and_never_taken_for_the_first_option(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=60)
    chosen = trials.labels.astype(int)
    gone = np.arange(len(trials)) % 3 == 0
    chosen[gone] = -1
    weights = ChoiceModel().fit(ChoiceTable.from_choices(trials, chosen))
    close(weights, ChoiceModel().fit(trials.take(~gone)))
    assert weights.n_missing.tolist() == [20, 20]


def test_a_scenario_answered_on_one_side_only_is_unusable_and_counted(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=40)
    labels = np.where(trials.scenario_ids == "s001", 0, trials.labels)
    weights = ChoiceModel().fit(trials.with_labels(labels))
    assert weights.unusable() == {"s001": "all choices on one side"}
    assert any("s001" in line and "same option position" in line for line in weights.sentences())
    with pytest.raises(MeasureError, match="one side"):
        weights.preference("s001")


def test_coin_tosses_are_flagged_as_no_preference_and_real_ones_are_not(make_world):
    _, _, trials = make_world(n_scenarios=100, n_trials=60)
    tossed = trials.with_labels(np.random.default_rng(0).integers(0, 2, len(trials)))
    undetected = sum("undetected" in flags for flags in ChoiceModel().fit(tossed).flags)
    assert 85 <= undetected <= 100  # a test at 5 %
    assert not any("undetected" in flags for flags in ChoiceModel().fit(trials).flags)


def test_separation_is_noticed_where_it_is_and_only_there(make_world):
    _, _, sharp = make_world(n_scenarios=10, n_trials=50)
    assert all("separated" in flags for flags in ChoiceModel("ridge", tau=0.5).fit(sharp).flags)
    _, _, noisy = make_world(n_scenarios=10, n_trials=200, scale=2.0)
    assert not any("separated" in flags for flags in ChoiceModel("ridge", tau=20.0).fit(noisy).flags)


def test_an_attribute_that_never_differs_is_flagged(make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=40)
    block = trials.blocks[0]
    values = block.values.copy()
    values[:, 1, 2] = values[:, 0, 2]
    weights = ChoiceModel().fit(TrialSet([TrialBlock.of(block.scenarios, block.scenario_index, values, block.label)]))
    assert "no_variation" in weights.flags[0]
    assert weights.coef[0][2] == 0.0


def test_a_scenario_with_two_numbers_of_options_is_refused(make_world):
    scenarios, _, pairs = make_world(n_scenarios=1)
    triples = TrialGenerator(n_options=3).trials(scenarios, 5, rng=1)
    with pytest.raises(MeasureError, match=r"2 and 3 options"):
        ChoiceModel().fit(TrialSet.concat([pairs, triples]))


def test_nothing_to_fit_and_unusable_priors_are_refused():
    with pytest.raises(MeasureError, match="no trials"):
        ChoiceModel().fit(TrialSet())
    with pytest.raises(MeasureError, match="tau"):
        ChoiceModel(tau=0.0)
    with pytest.raises(MeasureError, match="intercept_sd"):
        ChoiceModel(intercept_sd=float("inf"))


def test_a_thousand_scenarios_are_fitted_in_seconds(make_world):
    import time

    _, preferences, trials = make_world(n_scenarios=1000, n_trials=50)
    start = time.process_time()
    weights = ChoiceModel().fit(trials)
    assert time.process_time() - start < 5.0
    assert np.mean(recovered(weights, preferences)) > 0.97
