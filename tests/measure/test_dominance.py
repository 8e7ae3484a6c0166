"""Dominated options and what taking them means."""

from __future__ import annotations

import math

import numpy as np
import pytest

from introspect.decision import Attribute, DecisionScenario, Preference, TrialBlock, TrialSet, label
from introspect.measure.by_scenario import by_scenario
from introspect.measure.dominance import lapses


@pytest.mark.parametrize("n_options", [2, 4])
@pytest.mark.parametrize("given", [True, False])
def test_the_rate_of_blind_picks_is_found(make_world, n_options, given):
    _, wishes, trials = make_world(n_scenarios=150, n_trials=60, n_options=n_options)
    blind = label(trials, wishes, "lapse", rng=1, lapse=0.2)
    pooled, single = lapses(by_scenario(blind), wishes if given else None, tau=4.0)
    assert pooled.rate == pytest.approx(0.2, abs=0.05)
    assert pooled.low < 0.2 < pooled.high
    assert sum(s.n for s in single.values()) == pooled.n


def test_a_chooser_without_lapses_never_fails(make_world):
    _, wishes, trials = make_world(n_scenarios=40, n_trials=40)
    pooled, _ = lapses(by_scenario(trials), wishes)
    assert (pooled.failures, pooled.rate, pooled.low) == (0, 0.0, 0.0)
    assert pooled.high < 0.1


def test_choice_noise_is_expected_to_fail_at_dominated_options_too(make_world):
    # 5 logits over the range: a dominated option is taken now and then by noise, which is no lapse.
    _, _, noisy = make_world(n_scenarios=100, n_trials=60, scale=5.0)
    pooled, _ = lapses(by_scenario(noisy), tau=3.0)
    assert pooled.expected == pytest.approx(pooled.failures, abs=8)
    assert pooled.failures > 3


def test_dominance_goes_by_the_signs_given():
    axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
    k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
    shown = [[[9, 1], [1, 9]], [[9, 9], [1, 1]], [[5, 5], [5, 5]], [[9, 9], [9, 1]]]
    part = by_scenario(TrialSet([TrialBlock.of((k,), [0] * 4, shown, [0, 1, 0, 0])]))
    both_good = lapses(part, {"k": Preference(scenario_id="k", weights={"p": 1, "q": 1})})[0]
    assert (both_good.n, both_good.failures, both_good.blind) == (2, 1, 0.5)
    q_bad = lapses(part, {"k": Preference(scenario_id="k", weights={"p": 1, "q": -1})})[0]
    assert (q_bad.n, q_bad.failures) == (2, 1)
    only_p = lapses(part, {"k": Preference(scenario_id="k", weights={"p": 1, "q": 0})})[0]
    assert (only_p.n, only_p.failures) == (2, 1)  # equal in p is no dominance


def test_a_pick_among_many_counts_by_how_many_would_have_failed():
    axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
    k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
    part = by_scenario(TrialSet([TrialBlock.of((k,), [0, 0], [[[9, 9], [1, 1], [0, 10], [0, 9]]] * 2, [1, 2])]))
    found = lapses(part, {"k": Preference(scenario_id="k", weights={"p": 1, "q": 1})})[0]
    assert (found.n, found.failures, found.blind) == (2, 1, 0.5)


def test_without_dominated_options_there_is_no_estimate():
    pooled, single = lapses([])
    assert pooled.n == 0
    assert single == {}
    assert math.isnan(pooled.rate)


def test_scenarios_answered_on_one_side_are_left_out(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=60)
    pooled, single = lapses(by_scenario(trials.with_labels(np.where(trials.scenario_ids == "s000", 0, trials.labels))))
    assert single["s000"].n == 0 < single["s001"].n == pooled.n
