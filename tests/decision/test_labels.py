import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import (
    Attribute,
    DecisionScenario,
    Preference,
    PreferenceSampler,
    TrialBlock,
    TrialGenerator,
    TrialSet,
    label,
)
from introspect.errors import ScenarioError
from introspect.testing.strategies import preference_sets, scenario_sets, trial_sets

SEEDS = st.integers(0, 2**40)
FEW = settings(max_examples=25)


def contexts(n: int) -> list[DecisionScenario]:
    axes = [Attribute(name=f"a{i}", low=0, high=100) for i in range(5)]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    ]


def drawn(n_scenarios: int, n: int, n_options: int = 2, seed: int = 0):
    scenarios = contexts(n_scenarios)
    trials = TrialGenerator(n_options=n_options).trials(scenarios, n, rng=seed)
    return trials, PreferenceSampler().sample(scenarios, rng=seed)


@FEW
@given(st.data(), SEEDS)
def test_labels_without_noise_choose_the_highest_utility(data, seed):
    trials = data.draw(trial_sets(scenario_sets(max_size=3)))
    wishes = data.draw(preference_sets(trials.scenarios))
    for scenario, trial in label(trials, wishes, rng=seed):
        utility = wishes[scenario.id].utility(scenario, trial.values)
        assert utility[trial.label] >= utility.max() - 1e-9


@FEW
@given(st.integers(2, 4), SEEDS)
def test_labels_follow_their_option_when_options_are_swapped(n_options, seed):
    trials, wishes = drawn(2, 20, n_options)
    # No exact ties here, so the coins do not come into it.
    assert label(trials.swapped(), wishes, rng=seed) == label(trials, wishes, rng=seed).swapped()


@FEW
@given(SEEDS, st.sampled_from(["deterministic", "logistic", "lapse"]), st.integers(1, 20))
def test_labels_depend_neither_on_other_contexts_nor_on_later_trials(seed, rule, n):
    trials, wishes = drawn(3, 20)
    labelled = label(trials, wishes, rule, rng=seed)
    for k in range(3):
        alone = trials.for_scenario(f"k{k}").take(slice(n))
        assert label(alone, wishes, rule, rng=seed) == labelled.for_scenario(f"k{k}").take(slice(n))


@FEW
@given(SEEDS, SEEDS)
def test_labelling_leaves_the_design_alone_and_the_design_seed_is_not_the_label_seed(seed, other):
    trials, wishes = drawn(2, 10)
    labelled = label(trials, wishes, "logistic", rng=seed)
    assert labelled.with_labels(None) == trials
    assert label(labelled, wishes, "logistic", rng=seed) == labelled
    rng = np.random.default_rng(3)
    TrialGenerator().label(trials, wishes, rng=np.random.default_rng(other))
    assert TrialGenerator().trials(contexts(1), 5, rng=rng) == TrialGenerator().trials(
        contexts(1), 5, rng=np.random.default_rng(3)
    )


def test_blind_picks_are_independent_of_utility_at_lapse_one():
    trials, wishes = drawn(20, 500, n_options=3)
    truth = label(trials, wishes, rng=0).labels
    blind = label(trials, wishes, "lapse", lapse=1.0, rng=1).labels
    assert (truth == blind).mean() == pytest.approx(1 / 3, abs=0.025)
    assert np.bincount(blind) / len(blind) == pytest.approx([1 / 3] * 3, abs=0.025)


def test_lapses_happen_as_often_as_asked():
    trials, wishes = drawn(20, 500)
    truth = label(trials, wishes, rng=0).labels
    noisy = label(trials, wishes, "lapse", lapse=0.3, rng=1).labels
    assert (truth != noisy).mean() == pytest.approx(0.15, abs=0.015)
    assert (label(trials, wishes, "lapse", lapse=0.0, rng=1).labels == truth).all()


@pytest.mark.parametrize("n_options", [2, 3])
def test_logistic_choices_have_the_probabilities_of_the_logit(n_options):
    trials, wishes = drawn(20, 1000, n_options)
    labelled = label(trials, wishes, "logistic", scale=4, rng=1)
    (block,) = labelled.blocks
    weights = wishes.matrix(block.scenarios)[block.scenario_index]
    eta = 4 * np.einsum("nop,np->no", block.encoded(), weights) / 100
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (p[:, 0] >= low) & (p[:, 0] < low + 0.2)
        assert (block.label[inside] == 0).mean() == pytest.approx(p[inside, 0].mean(), abs=0.04)
    assert np.unique(label(trials, wishes, "logistic", scale=0, rng=1).labels).tolist() == list(range(n_options))
    truth = label(trials, wishes, rng=0).labels
    assert (label(trials, wishes, "logistic", scale=1e4, rng=1).labels == truth).mean() > 0.99


@pytest.mark.parametrize("options", [[[30, 70], [70, 30]], [[10, 90], [90, 10], [50, 50]]])
def test_exact_ties_are_broken_by_a_coin_and_not_by_the_side(options):
    axes = [Attribute(name=c, low=0, high=100) for c in "pq"]
    k = DecisionScenario(id="k", chooser="K", item="lot", question="Which?", attributes=axes)
    trials = TrialSet([TrialBlock.of((k,), np.zeros(900), [options] * 900)])
    wish = {"k": Preference(scenario_id="k", weights={"p": 33, "q": 33})}
    shares = np.bincount(label(trials, wish, rng=0).labels) / 900
    assert shares == pytest.approx([1 / len(options)] * len(options), abs=0.08)
    assert label(trials, wish, rng=0) == label(trials, wish, rng=0)
    assert label(trials, wish, rng=0) != label(trials, wish, rng=1)


def test_ties_are_ties_whatever_rounding_makes_of_them():
    axes = [Attribute(name=c, low=0.1, high=0.7, step=0.1) for c in "pqr"]
    k = DecisionScenario(id="k", chooser="K", item="lot", question="Which?", attributes=axes)
    pair = [[0.1, 0.3, 0.7], [0.7, 0.1, 0.3]]
    trials = TrialSet([TrialBlock.of((k,), np.zeros(200), [pair] * 200)])
    labels = label(trials, {"k": Preference(scenario_id="k", weights=dict.fromkeys("pqr", 37))}, rng=0).labels
    assert 60 < labels.sum() < 140


def test_what_cannot_be_labelled_is_refused():
    trials, wishes = drawn(2, 3)
    with pytest.raises(ScenarioError, match="'k1' has no preference"):
        label(trials, {"k0": wishes["k0"]}, rng=0)
    for rule, settings_ in (
        ("greedy", {}),
        ("deterministic", {"scale": 1}),
        ("logistic", {"lapse": 0.1}),
        ("logistic", {"scale": -1}),
        ("logistic", {"scale": float("nan")}),
        ("lapse", {"lapse": 1.1}),
    ):
        with pytest.raises(ScenarioError):
            label(trials, wishes, rule, rng=0, **settings_)
    with pytest.raises(ScenarioError, match="must be given for a0"):
        label(trials, {s.id: Preference(scenario_id=s.id, weights={"z": 1}) for s in trials.scenarios}, rng=0)
    assert len(label(TrialSet(), {}, rng=0)) == 0
