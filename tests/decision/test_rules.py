"""Ways of choosing that are not one weight per attribute."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import (
    Attribute,
    ChoiceRule,
    Criterion,
    Cutoff,
    DecisionScenario,
    InteractionRule,
    LexicographicRule,
    Preference,
    PreferenceSampler,
    RuleSampler,
    RuleSet,
    ScreeningRule,
    TrialBlock,
    TrialGenerator,
    TrialSet,
    label,
    linear_control,
)
from introspect.decision.rules import agreement
from introspect.errors import ScenarioError
from introspect.training.checks import contradictions

KINDS = ("linear", "interaction", "screening", "lexicographic")
SEEDS = st.integers(0, 2**40)
FEW = settings(max_examples=15, deadline=None)


def contexts(n: int) -> list[DecisionScenario]:
    axes = [
        *(Attribute(name=f"a{i}", low=0, high=100) for i in range(3)),
        Attribute(name="weight", low=1, high=1000, scale="log"),
        Attribute(name="view", levels=("yard", "park", "sea"), ordered=False),
    ]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    ]


AT_MOST_1 = Cutoff(attribute="p", keep="at_most", value=1)
INDIFFERENT = Preference(scenario_id="k", weights={"p": 0, "q": 0, "r": 0})
AXES = [Attribute(name=n, low=0, high=10) for n in "pqr"]
LOT = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=AXES)


@FEW
@given(st.sampled_from(KINDS), SEEDS)
def test_a_rule_is_drawn_from_the_seed_and_its_scenario_alone(kind, seed):
    sampler = RuleSampler(kind=kind)
    many, one = sampler.sample(contexts(4), rng=seed), sampler.sample([contexts(4)[2]], rng=seed)
    assert many["k2"] == one["k2"]
    assert many == sampler.sample(contexts(4), rng=seed)
    assert isinstance(one["k2"], ChoiceRule)


@FEW
@given(st.sampled_from(KINDS), SEEDS)
def test_rules_survive_json(kind, seed):
    rules = RuleSampler(kind=kind).sample(contexts(3), rng=seed)
    assert RuleSet.from_json(rules.to_json()) == rules
    mixed = RuleSet([*rules.values(), Preference(scenario_id="other", weights={"p": 1.0})])
    assert RuleSet.from_json(mixed.to_json()) == mixed


@FEW
@given(st.sampled_from(KINDS), st.integers(2, 4), SEEDS)
def test_some_option_can_always_be_taken_and_the_best_one_is(kind, n_options, seed):
    scenarios = contexts(2)
    rules = RuleSampler(kind=kind).sample(scenarios, rng=seed)
    trials = TrialGenerator(n_options=n_options).trials(scenarios, 20, rng=seed)
    for scenario, trial in label(trials, rules, rng=seed):
        utility = rules[scenario.id].utility(scenario, np.array(trial.values))
        assert utility.shape == (n_options,)
        assert np.isfinite(utility.max())
        assert utility[trial.label] >= utility.max() - 1e-9
    assert not contradictions(label(trials, rules, rng=seed), rules).any()


@FEW
@given(st.sampled_from(KINDS), st.sampled_from(["deterministic", "lapse"]), SEEDS)
def test_labels_depend_neither_on_other_contexts_nor_on_the_kinds_of_their_rules(kind, noise, seed):
    scenarios = contexts(3)
    trials = TrialGenerator().trials(scenarios, 15, rng=1)
    kinds = zip(scenarios, (kind, "linear", "screening"), strict=True)
    mixed = RuleSet(RuleSampler(kind=k).sample([s], rng=seed)[s.id] for s, k in kinds)
    among = label(trials, mixed, noise, rng=seed)
    for name in ("k0", "k1", "k2"):
        assert label(trials.for_scenario(name), mixed, noise, rng=seed) == among.for_scenario(name)


def test_a_preference_among_rules_is_labelled_as_ever():
    scenarios = contexts(2)
    wishes = PreferenceSampler().sample(scenarios, rng=0)
    trials = TrialGenerator().trials(scenarios, 200, rng=0)
    for noise in ("deterministic", "logistic", "lapse"):
        alone = label(trials, wishes, noise, rng=5).for_scenario("k0")
        other = RuleSampler(kind="screening").sample(scenarios, rng=0)["k1"]
        assert label(trials, {"k0": wishes["k0"], "k1": other}, noise, rng=5).for_scenario("k0") == alone


def test_logistic_noise_keeps_to_what_screening_leaves_and_is_refused_where_it_has_no_scale():
    rule = ScreeningRule(
        scenario_id="k", weights={"p": 1.0, "q": 0, "r": 0}, cutoffs=(Cutoff(attribute="q", keep="at_least", value=5),)
    )
    trials = TrialGenerator().trials([LOT], 300, rng=0)
    picked = TrialGenerator().label(trials, {"k": rule}, "logistic", rng=0)
    block = picked.blocks[0]
    passes = rule.passes(LOT, block.values)
    one = passes.sum(axis=1) == 1
    assert passes[one, block.label[one]].all()
    assert 0.4 < (block.label[~one] == 0).mean() < 0.6
    turns = RuleSampler(kind="lexicographic").sample([LOT], rng=0)
    with pytest.raises(ScenarioError, match=r"'k': a LexicographicRule .* use rule='lapse' or 'deterministic'"):
        label(trials, turns, "logistic", rng=0)


def test_an_interaction_moves_no_average():
    rule = InteractionRule(scenario_id="k", weights={"p": 0, "q": 0, "r": 0}, interactions=(("p", "q", 100.0),))
    corners = np.array([[p, q, 5] for p in (0, 10) for q in (0, 10)])
    assert rule.utility(LOT, corners).tolist() == [50, -50, -50, 50]
    assert rule.main_effects == Preference(scenario_id="k", weights={"p": 0, "q": 0, "r": 0})
    assert rule.magnitude == 100


def test_screening_says_nothing_where_all_or_none_pass():
    cut = Cutoff(attribute="q", keep="at_most", value=5)
    rule = ScreeningRule(scenario_id="k", weights={"p": 100, "q": 0, "r": 0}, cutoffs=(cut,))
    linear = Preference(scenario_id="k", weights=rule.weights)
    for q in ([6, 7], [5, 0]):
        values = [[1, q[0], 0], [9, q[1], 0]]
        np.testing.assert_array_equal(rule.utility(LOT, values), linear.utility(LOT, values))
    assert np.isneginf(rule.utility(LOT, [[1, 5, 0], [9, 6, 0]])).tolist() == [False, True]


def test_turns_keep_what_lies_within_the_threshold_exactly():
    rule = LexicographicRule(
        scenario_id="k",
        order=(Criterion(attribute="p", better="low", threshold=0.3), Criterion(attribute="q", better="high")),
    )
    left = np.isfinite(rule.utility(LOT, [[[1, 0, 0], [4, 9, 0], [5, 9, 0]], [[1, 0, 0], [1, 0, 9], [9, 9, 9]]]))
    assert left.tolist() == [[False, True, False], [True, True, False]]


@FEW
@given(st.sampled_from(KINDS), SEEDS)
def test_a_linear_control_repeats_and_agrees_more_than_other_preferences(kind, seed):
    (scenario,) = contexts(1)
    rule = RuleSampler(kind=kind).sample([scenario], rng=seed)["k0"]
    control = linear_control(rule, scenario, rng=seed)
    assert control == linear_control(rule, scenario, rng=seed)
    assert max(map(abs, control.weights.values())) == 100
    stranger = PreferenceSampler().sample([scenario], rng=seed + 1)["k0"]
    share = agreement(rule, control, scenario, rng=1)
    assert share > 0.5
    assert share >= agreement(rule, stranger, scenario, rng=1) - 0.03


def test_the_control_of_a_linear_rule_is_that_rule():
    rules = RuleSampler(kind="linear").sample(contexts(5), rng=0)
    for scenario, control in zip(contexts(5), rules.linear_controls(contexts(5), rng=0).values(), strict=True):
        a, b = control.vector(scenario), rules[scenario.id].vector(scenario)
        assert np.corrcoef(a, b)[0, 1] > 0.999


def test_the_control_of_an_interaction_has_its_main_effects():
    axes = [Attribute(name=n, low=0, high=100) for n in "pqrst"]
    scenarios = [
        DecisionScenario(id=f"k{i}", chooser="Ada", item="lot", question="Q?", attributes=axes) for i in range(10)
    ]
    rules = RuleSampler(kind="interaction", strength=1).sample(scenarios, rng=0)
    controls = rules.linear_controls(scenarios, rng=0)
    rs = [np.corrcoef(controls[s.id].vector(s), rules[s.id].main_effects.vector(s))[0, 1] for s in scenarios]
    assert min(rs) > 0.98


def test_each_kind_differs_from_its_control_enough_to_tell():
    scenarios = contexts(10)
    for kind, bound in (("interaction", 0.95), ("screening", 0.95), ("lexicographic", 0.96)):
        rules = RuleSampler(kind=kind).sample(scenarios, rng=0)
        controls = rules.linear_controls(scenarios, rng=0)
        shares = [agreement(rules[s.id], controls[s.id], s, rng=2) for s in scenarios]
        assert 0.6 < np.mean(shares) < bound


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InteractionRule(scenario_id="k", weights={"p": 1}, interactions=(("p", "q", 1.0),)), "'p' with 'q'"),
        (lambda: InteractionRule(scenario_id="k", weights={"p": 1}, interactions=(("p", "p", 1.0),)), "two predictors"),
        (lambda: InteractionRule(scenario_id="k", weights={"p": float("nan")}), "finite"),
        (lambda: ScreeningRule(scenario_id="k", weights={"p": float("inf")}), "finite"),
        (lambda: ScreeningRule(scenario_id="k", weights={"p": 1}, cutoffs=(AT_MOST_1, AT_MOST_1)), "each direction"),
        (lambda: LexicographicRule(scenario_id="k", order=(Criterion(attribute="p", better="low"),) * 2), "one turn"),
        (lambda: Criterion(attribute="p", better="low", threshold=1), "threshold"),
        (lambda: RuleSet([Preference(scenario_id="k", weights={"p": 1})] * 2), "two rules"),
        (lambda: RuleSet.from_json("{}"), "list of rules"),
        (lambda: RuleSet.from_json("nonsense"), "JSON"),
        (lambda: RuleSet.from_json(json.dumps([{"rule": "magic"}])), "'magic'"),
        (lambda: RuleSet().linear_controls([LOT], rng=0), "'k' has no rule"),
        (lambda: RuleSampler(kind="screening", n_cutoffs=9).sample([LOT], rng=0), "needs 9"),
        (lambda: RuleSampler(kind="interaction", n_interactions=9).sample([LOT], rng=0), "cannot weigh 9"),
        (lambda: linear_control(INDIFFERENT, LOT, rng=0), "all pairs equal"),
    ],
)  # fmt: skip
def test_unusable_rules_are_refused_with_a_reason(make, message):
    with pytest.raises(ScenarioError, match=message):
        make()


def test_rules_that_do_not_fit_their_scenario_are_refused():
    flat = contexts(1)[0]
    cut = ScreeningRule(scenario_id="k0", weights=dict.fromkeys(flat.predictors, 1.0), cutoffs=(
        Cutoff(attribute="view", keep="at_least", value=1),))  # fmt: skip
    with pytest.raises(ScenarioError, match="without an order"):
        cut.utility(flat, np.ones((2, 5)))
    turn = LexicographicRule(scenario_id="k0", order=(Criterion(attribute="view", better="low"),))
    with pytest.raises(ScenarioError, match="without an order"):
        turn.utility(flat, np.ones((2, 5)))
    with pytest.raises(ScenarioError, match="for scenario 'k0'"):
        turn.utility(LOT, np.zeros((2, 3)))
    with pytest.raises(ScenarioError, match="compares the options"):
        turn.utility(flat, np.zeros(5))
    trials = TrialSet([TrialBlock.of((flat,), [0], np.ones((1, 2, 5)))])
    with pytest.raises(ScenarioError, match="no preference"):
        label(trials, {}, rng=0)
