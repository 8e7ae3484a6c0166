import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import (
    Attribute,
    DecisionScenario,
    Preference,
    PreferenceSampler,
    TrialGenerator,
    TrialSet,
)
from introspect.decision.generator import has_dominant_option
from introspect.errors import ScenarioError
from introspect.testing.strategies import attributes, preference_sets, scenario_sets, scenarios

# Fine enough that a handful of trials always fits.
FINE = scenarios(attributes=attributes(kinds=("numeric", "categorical")), min_attributes=3, max_attributes=5)
GENERATORS = st.builds(
    TrialGenerator,
    n_options=st.integers(2, 4),
    counterbalance=st.booleans(),
    shuffle_attributes=st.booleans(),
)
SEEDS = st.integers(0, 2**40)
FEW = settings(max_examples=25)


def contexts(n: int, n_attributes: int = 5, high: float = 100) -> list[DecisionScenario]:
    axes = [Attribute(name=f"a{i}", low=0, high=high) for i in range(n_attributes)]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    ]


def option_sets(trials: TrialSet) -> list[frozenset]:
    return [frozenset(trial.values) for _, trial in trials]


@FEW
@given(FINE, SEEDS, GENERATORS)
def test_every_value_lies_in_its_range_and_on_its_grid(scenario, seed, generator):
    (block,) = generator.trials([scenario], n=7, rng=seed).blocks
    block.check_values()
    for k, attribute in enumerate(scenario.attributes):
        values = block.values[..., k]
        assert (attribute.grid.at(attribute.grid.nearest(values)) == values).all()


@FEW
@given(scenario_sets(FINE), SEEDS, GENERATORS, st.randoms())
def test_trials_do_not_depend_on_other_contexts_or_their_order(scenarios, seed, generator, random):
    together = generator.trials(scenarios, n=6, rng=seed)
    shuffled = random.sample(list(scenarios), len(scenarios))
    again = generator.trials(shuffled, n=6, rng=seed)
    for scenario in scenarios:
        alone = generator.trials([scenario], n=6, rng=seed)
        assert together.for_scenario(scenario.id) == alone
        assert again.for_scenario(scenario.id) == alone


@FEW
@given(FINE, SEEDS, GENERATORS, st.integers(1, 12), st.integers(0, 12))
def test_the_first_n_of_more_trials_are_the_n_trial_draw(scenario, seed, generator, n, more):
    long = generator.trials([scenario], n=n + more, rng=seed)
    assert generator.trials([scenario], n=n, rng=seed) == long.take(slice(n))


@given(SEEDS, st.integers(1, 15), st.integers(2, 3), st.sampled_from([None, 0.5]))
def test_prefixes_agree_on_small_grids_too_where_many_draws_are_thrown_away(seed, n, n_options, cap):
    scenario = contexts(1, 2, high=3)[0].model_copy(
        update={"attributes": tuple(Attribute(name=c, levels=("x", "y", "z")) for c in "pq")}
    )
    generator = TrialGenerator(n_options=n_options, max_dominated=cap)
    wishes = {scenario.id: Preference(scenario_id=scenario.id, weights={"p": 3, "q": -2})}
    long = generator.trials([scenario], n=15, rng=seed, preferences=wishes)
    assert generator.trials([scenario], n=n, rng=seed, preferences=wishes) == long.take(slice(n))
    assert len(set(option_sets(long))) == 15


@FEW
@given(FINE, SEEDS, GENERATORS)
def test_no_trial_shows_an_option_twice_and_no_two_trials_the_same_options(scenario, seed, generator):
    sets = option_sets(generator.trials([scenario], n=9, rng=seed))
    assert all(len(options) == generator.n_options for options in sets)
    assert len(set(sets)) == len(sets)


def test_a_small_grid_can_be_emptied_but_not_overdrawn():
    axes = tuple(Attribute(name=c, levels=("x", "y")) for c in "pq")
    scenario = contexts(1)[0].model_copy(update={"attributes": axes})
    assert len(set(option_sets(TrialGenerator().trials([scenario], n=6, rng=0)))) == 6
    with pytest.raises(ScenarioError, match="scenario 'k0': its 4 possible options give only 6 distinct trials, 7"):
        TrialGenerator().trials([scenario], n=7, rng=0)


@FEW
@given(FINE, SEEDS, st.integers(1, 12), st.integers(2, 4))
def test_sides_are_balanced_within_one_for_every_prefix(scenario, seed, n, n_options):
    (block,) = TrialGenerator(n_options=n_options).trials([scenario], n=n, rng=seed).blocks
    balance = np.cumsum(np.where(block.flipped, 1, -1))
    assert np.abs(balance).max() <= 1


@FEW
@given(FINE, SEEDS, st.integers(2, 4))
def test_flipped_trials_show_the_drawn_options_in_reverse_and_nothing_else_changes(scenario, seed, n_options):
    (balanced,) = TrialGenerator(n_options=n_options).trials([scenario], n=8, rng=seed).blocks
    (drawn,) = TrialGenerator(n_options=n_options, counterbalance=False).trials([scenario], n=8, rng=seed).blocks
    assert not drawn.flipped.any()
    unflipped = np.where(balanced.flipped[:, None, None], balanced.values[:, ::-1], balanced.values)
    assert (unflipped == drawn.values).all()


@FEW
@given(FINE, SEEDS)
def test_swapping_the_options_negates_the_predictors_exactly(scenario, seed):
    trials = TrialGenerator().trials([scenario], n=8, rng=seed)
    (block,) = trials.blocks
    (swapped,) = trials.swapped().blocks
    assert (trials.differences(block) == -trials.swapped().differences(swapped)).all()
    assert trials.swapped().swapped() == trials


@given(SEEDS, st.integers(2, 6), st.integers(0, 6))
def test_the_design_has_full_rank_once_there_are_as_many_trials_as_predictors(seed, n_attributes, more):
    trials = TrialGenerator().trials(contexts(1, n_attributes), n=n_attributes + more, rng=seed)
    x = trials.differences(trials.blocks[0])
    assert np.linalg.matrix_rank(x.T @ x) == n_attributes


@FEW
@given(st.data(), SEEDS, st.sampled_from([0.0, 0.1, 0.34, 0.5, 1.0]), st.integers(2, 3))
def test_the_dominated_share_keeps_its_cap_under_any_signs_and_for_every_prefix(data, seed, cap, n_options):
    scenario = contexts(1, data.draw(st.integers(2, 5)))[0]
    wishes = data.draw(preference_sets([scenario]))
    signs = np.sign(wishes[scenario.id].vector(scenario))
    if cap < 1 and np.count_nonzero(signs) < 2:
        return  # with one weight (nearly) every trial is dominated
    generator = TrialGenerator(max_dominated=cap, n_options=n_options)
    trials = generator.trials([scenario], n=20, rng=seed, preferences=wishes)
    dominated = has_dominant_option(trials.encoded(trials.blocks[0]) * signs)
    assert (np.cumsum(dominated) <= cap * np.arange(1, 21) + 1e-12).all()


def test_dominance_means_at_least_as_good_on_everything_that_counts():
    goodness = np.array([[[1, 1], [0, 1]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]], dtype=float)
    assert has_dominant_option(goodness).tolist() == [True, False, True]


def test_a_cap_that_cannot_be_kept_is_an_error_that_names_the_scenario():
    scenario = contexts(1, 2)[0]
    wishes = {"k0": Preference(scenario_id="k0", weights={"a0": 1, "a1": 0})}
    with pytest.raises(ScenarioError, match="scenario 'k0': found only 0 of 1 distinct trials with at most 0 of"):
        TrialGenerator(max_dominated=0).trials([scenario], n=1, rng=0, preferences=wishes)
    with pytest.raises(ScenarioError, match="max_dominated needs preferences"):
        TrialGenerator(max_dominated=0.1).trials([scenario], n=1, rng=0)
    with pytest.raises(ScenarioError, match="'k0' has no preference"):
        TrialGenerator(max_dominated=0.1).trials([scenario], n=1, rng=0, preferences={})


@FEW
@given(scenario_sets(FINE), SEEDS)
def test_listing_orders_are_recorded_permutations_and_leave_the_design_alone(scenarios, seed):
    shuffled = TrialGenerator(shuffle_attributes=True).trials(scenarios, n=4, rng=seed)
    plain = TrialGenerator().trials(scenarios, n=4, rng=seed)
    for a, b in zip(shuffled.blocks, plain.blocks, strict=True):
        assert (np.sort(a.order, axis=1) == np.arange(a.n_attributes)).all()
        assert (b.order == np.arange(a.n_attributes)).all()
        assert (a.values == b.values).all()
        assert (a.flipped == b.flipped).all()


def test_the_same_seed_gives_the_same_trials_in_another_process():
    code = (
        "from introspect.decision import *\n"
        "axes = [Attribute(name=f'a{i}', low=0, high=100) for i in range(5)]\n"
        "ks = [DecisionScenario(id=f'k{i}', chooser=f'K{i}', item='lot', question='Which?', attributes=axes)"
        " for i in range(3)]\n"
        "t = TrialGenerator(shuffle_attributes=True).trials(ks, 20, rng=11)\n"
        "p = PreferenceSampler().sample(ks, rng=11)\n"
        "print(label(t, p, 'logistic', rng=11).hash)"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    trials = TrialGenerator(shuffle_attributes=True).trials(contexts(3), 20, rng=11)
    wishes = PreferenceSampler().sample(contexts(3), rng=11)
    assert TrialGenerator().label(trials, wishes, "logistic", rng=11).hash == there


def test_values_are_uniform_over_the_grid_and_independent():
    axes = [Attribute(name="p", low=0, high=9), Attribute(name="q", levels=("x", "y", "z"))]
    scenario = contexts(1)[0].model_copy(update={"attributes": tuple(axes)})
    big = scenario.model_copy(update={"attributes": (*axes, Attribute(name="r", low=0, high=9999))})
    values = TrialGenerator().trials([big], n=6000, rng=3).blocks[0].values.reshape(-1, 3)
    for column, size in ((values[:, 0], 10), (values[:, 1], 3)):
        counts = np.bincount(column.astype(int), minlength=size)
        expected = len(values) / size
        assert (counts - expected).__abs__().max() < 5 * np.sqrt(expected)
    assert np.abs(np.corrcoef(values.T) - np.eye(3)).max() < 0.05


def test_a_log_scale_is_drawn_evenly_per_decade():
    axes = (Attribute(name="p", low=1, high=10_000, scale="log"), Attribute(name="q", low=0, high=9))
    scenario = contexts(1)[0].model_copy(update={"attributes": axes})
    values = TrialGenerator().trials([scenario], n=4000, rng=0).blocks[0].values[..., 0].ravel()
    shares = np.histogram(np.log10(values), bins=[0, 1, 2, 3, 4.01])[0] / len(values)
    assert np.abs(shares - 0.25).max() < 0.03


def test_settings_that_make_no_sense_are_refused():
    for bad in ({"n_options": 1}, {"n_options": 27}, {"max_dominated": 1.5}, {"shuffle": True}):
        with pytest.raises(ScenarioError, match=r"^trial generator: "):
            TrialGenerator(**bad)
    for n in (0, -1, True):
        with pytest.raises(ScenarioError, match="n must be a whole number"):
            TrialGenerator().trials(contexts(1), n=n, rng=0)
    with pytest.raises(ScenarioError, match="distinct ids"):
        TrialGenerator().trials(contexts(1) * 2, n=1, rng=0)
