"""The same options in another order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from introspect.decision import TrialSet, label
from introspect.measure.by_scenario import by_scenario
from introspect.measure.order_audit import order_audit


def audited(trials: TrialSet, every: int = 4) -> TrialSet:
    return TrialSet.concat([trials, trials.take(np.arange(0, len(trials), every)).swapped()])


@pytest.mark.parametrize("n_options", [2, 3])
def test_a_chooser_who_looks_at_the_options_is_consistent(make_world, n_options):
    _, wishes, trials = make_world(n_scenarios=5, n_trials=40, n_options=n_options)
    pooled, single = order_audit(by_scenario(label(audited(trials), wishes, rng=0)))
    assert (pooled.n, pooled.inconsistent, pooled.first, pooled.last) == (50, 0.0, 0, 0)
    assert sum(s.n for s in single.values()) == 50
    assert math.isnan(pooled.p)


def test_a_chooser_who_looks_at_the_side_is_told_from_one_who_is_noisy(make_world):
    _, wishes, trials = make_world(n_scenarios=20, n_trials=50)
    both = audited(trials, 2)
    noisy = order_audit(by_scenario(label(both, wishes, "logistic", rng=0, scale=2.0)), tau=2.0)[0]
    block = both.blocks[0]
    weights = np.array([list(wishes[s.id].weights.values()) for s in block.scenarios])[block.scenario_index]
    logits = 0.05 * (both.differences(block) * weights).sum(axis=1) + 3.0
    leaning = both.with_labels((np.random.default_rng(0).random(len(both)) > 1 / (1 + np.exp(-logits))).astype(int))
    pulled = order_audit(by_scenario(leaning))[0]
    assert noisy.p > 0.01
    assert pulled.p < 1e-6
    assert pulled.first > 10 * max(pulled.last, 1)
    # The fit foresees both, and says which part the side plays.
    assert noisy.inconsistent == pytest.approx(noisy.expected, abs=0.06)
    assert pulled.inconsistent == pytest.approx(pulled.expected, abs=0.06)
    assert pulled.noise < 0.6 * pulled.inconsistent
    assert noisy.noise == pytest.approx(noisy.expected, abs=0.03)


def test_options_are_matched_wherever_they_stand(make_world):
    _, wishes, trials = make_world(n_scenarios=1, n_trials=4, n_options=3)
    block = trials.blocks[0]
    turned = TrialSet([type(block).of(block.scenarios, block.scenario_index, block.values[:, [1, 2, 0]])])
    pooled, _ = order_audit(by_scenario(label(TrialSet.concat([trials, turned]), wishes, rng=0)))
    assert (pooled.n, pooled.inconsistent) == (4, 0.0)


def test_repeats_in_the_same_order_are_no_audit(make_world):
    _, _, trials = make_world(n_scenarios=2, n_trials=10)
    pooled, single = order_audit(by_scenario(TrialSet.concat([trials, trials])))
    assert (pooled.n, single) == (0, {})
    assert math.isnan(pooled.inconsistent)
