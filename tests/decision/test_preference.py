import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import Attribute, DecisionScenario, Preference, PreferenceSampler, PreferenceSet
from introspect.errors import ScenarioError
from introspect.testing.strategies import preferences, scenario_sets, scenarios

KINDS = [
    PreferenceSampler(),
    PreferenceSampler(kind="sparse", n_nonzero=1),
    PreferenceSampler(kind="sphere"),
    PreferenceSampler(kind="correlated", rho=0.5),
]


def contexts(n: int, n_attributes: int = 5) -> list[DecisionScenario]:
    axes = [Attribute(name=f"a{i}", low=0, high=100) for i in range(n_attributes)]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    ]


@given(st.data())
def test_normalised_weights_peak_at_exactly_100_and_normalising_twice_is_once(data):
    scenario = data.draw(scenarios())
    preference = data.draw(preferences(scenario, whole=False))
    once = preference.normalised()
    assert max(map(abs, once.weights.values())) == 100
    assert once.normalised() == once
    assert np.sign(once.vector(scenario)).tolist() == np.sign(preference.vector(scenario)).tolist()


@given(st.data())
def test_utility_is_the_weighted_sum_of_predictors(data):
    scenario = data.draw(scenarios())
    preference = data.draw(preferences(scenario))
    low = [a.grid.at(np.array(0)) for a in scenario.attributes]
    high = [a.grid.at(np.array(a.grid.n - 1)) for a in scenario.attributes]
    by_hand = sum(
        preference.weights[name] * x for name, x in zip(scenario.predictors, scenario.encode(high), strict=True)
    )
    assert preference.utility(scenario, [low, high])[1] == pytest.approx(by_hand)


@settings(max_examples=30)
@given(scenario_sets(), st.integers(0, 1000), st.sampled_from(KINDS[:3]))
def test_sampled_preferences_peak_at_100_are_whole_and_do_not_depend_on_other_contexts(scenarios, seed, sampler):
    drawn = sampler.sample(scenarios, rng=seed)
    for scenario in scenarios:
        weights = drawn[scenario.id].vector(scenario)
        assert np.abs(weights).max() == 100
        assert (weights == np.rint(weights)).all()
        assert sampler.sample([scenario], rng=seed)[scenario.id] == drawn[scenario.id]


@pytest.mark.parametrize("sampler", KINDS, ids=lambda s: s.kind)
def test_another_seed_gives_other_preferences(sampler):
    assert sampler.sample(contexts(5), rng=1) == sampler.sample(contexts(5), rng=1)
    assert sampler.sample(contexts(5), rng=1) != sampler.sample(contexts(5), rng=2)


@given(st.integers(1, 5), st.integers(0, 100))
def test_sparse_preferences_have_the_promised_number_of_weights(k, seed):
    drawn = PreferenceSampler(kind="sparse", n_nonzero=k).sample(contexts(3), rng=seed)
    assert all(sum(w != 0 for w in p.weights.values()) == k for p in drawn.values())


def test_uniform_weights_have_no_favourite_sign_or_place():
    matrix = PreferenceSampler().sample(contexts(2000), rng=0).matrix(contexts(2000))
    assert np.abs(matrix.mean(axis=0)).max() < 6  # standard error about 1.4
    tops = np.bincount(np.abs(matrix).argmax(axis=1), minlength=5)
    assert tops.min() > 320
    assert tops.max() < 480


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_correlated_preferences_correlate_between_contexts_as_promised(rho):
    # Between two contexts, over many independent worlds: predictors and worlds are the sample.
    pairs = [
        PreferenceSampler(kind="correlated", rho=rho, decimals=None).sample(contexts(2, 10), rng=s) for s in range(150)
    ]
    left, right = (np.concatenate([p[f"k{i}"].vector(contexts(2, 10)[i]) for p in pairs]) for i in (0, 1))
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(rho, abs=0.09)


def test_settings_that_do_not_fit_are_refused():
    for settings_ in (
        {"kind": "sparse"},
        {"n_nonzero": 2},
        {"kind": "correlated"},
        {"kind": "correlated", "rho": 1.5},
        {"kind": "gaussian"},
        {"kind": "sparse", "n_nonzero": 0},
    ):
        with pytest.raises(ScenarioError, match=r"^preference sampler: "):
            PreferenceSampler(**settings_)
    with pytest.raises(ScenarioError, match="cannot weigh 6"):
        PreferenceSampler(kind="sparse", n_nonzero=6).sample(contexts(1), rng=0)
    mixed = [contexts(1)[0], contexts(2, 3)[1]]
    with pytest.raises(ScenarioError, match=r"same number of predictors, got \[3, 5\]"):
        KINDS[3].sample(mixed, rng=0)


def test_bad_preferences_are_refused():
    scenario = contexts(1, 2)[0]
    with pytest.raises(ScenarioError, match="scenario 'k0': weight of 'a' must be finite"):
        Preference(scenario_id="k0", weights={"a": math.nan})
    with pytest.raises(ScenarioError, match="weights"):
        Preference(scenario_id="k0", weights={})
    with pytest.raises(ScenarioError, match="all weights are 0"):
        Preference(scenario_id="k0", weights={"a0": 0, "a1": 0}).normalised()
    with pytest.raises(ScenarioError, match="must be given for a0, a1; got a0"):
        Preference(scenario_id="k0", weights={"a0": 1}).vector(scenario)
    with pytest.raises(ScenarioError, match="is for scenario 'z', not 'k0'"):
        Preference(scenario_id="z", weights={"a0": 1, "a1": 1}).vector(scenario)
    with pytest.raises(ScenarioError, match="2 predictors"):
        Preference.of(scenario, [1, 2, 3])
    one = Preference.of(scenario, [1, 2])
    with pytest.raises(ScenarioError, match="two preferences"):
        PreferenceSet([one, one])
    with pytest.raises(ScenarioError, match="'k1' has no preference"):
        PreferenceSet([one]).matrix(contexts(2, 2))
    for text in ("[", "3", '[{"scenario_id": "a"}]'):
        with pytest.raises(ScenarioError):
            PreferenceSet.from_json(text)
