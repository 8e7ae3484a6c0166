"""What a straight line misses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from introspect.decision import Attribute, DecisionScenario, TrialBlock, TrialGenerator, TrialSet
from introspect.measure.by_scenario import by_scenario
from introspect.measure.linearity import linearity


def bent(trials: TrialSet, seed: int = 0, bend: float = 6.0) -> TrialSet:
    """Labels of a chooser for whom the middle of the first attribute is best."""
    rng = np.random.default_rng(seed)
    encoded = trials.blocks[0].encoded()
    utility = 3.0 * encoded[..., 1] - 2.0 * encoded[..., 2] - bend * (encoded[..., 0] - 0.5) ** 2 * 2
    return trials.with_labels((utility - np.log(-np.log(rng.random(utility.shape)))).argmax(axis=1))


def test_its_level_is_right_with_the_prior_s_fit_as_nuisance(make_world):
    _, _, trials = make_world(n_scenarios=300, n_trials=60, scale=4.0)
    _, single = linearity(by_scenario(trials), rng=0, tau=2.5, n_boot=0)
    p = np.array([s.p for s in single.values()])
    assert 0.01 < (p < 0.05).mean() < 0.09  # 300 draws at 5 % have a standard error of 1.3 points
    assert p.mean() == pytest.approx(0.5, abs=0.05)


def test_consistent_choosers_are_not_accused(make_world):
    _, _, trials = make_world(n_scenarios=40, n_trials=60)
    pooled, single = linearity(by_scenario(trials), rng=0, n_boot=19)
    assert np.mean([s.p < 0.05 for s in single.values()]) < 0.05
    assert pooled.p > 0.05


@pytest.mark.parametrize("n_options", [2, 3])
def test_a_bent_attribute_is_found_and_named(make_world, n_options):
    _, _, trials = make_world(n_scenarios=30, n_trials=60, n_options=n_options)
    pooled, single = linearity(by_scenario(bent(trials)), rng=0, n_boot=19)
    assert pooled.p == 0.05
    directions = [s.by_predictor["a0"] for s in single.values()]
    assert np.mean([p for _, p in directions]) < 0.2
    assert np.mean([sign for sign, _ in directions]) < -0.8
    others = [s.by_predictor["a3"][1] for s in single.values()]
    assert 0.3 < np.mean(others) < 0.7


def test_what_is_weak_in_every_scenario_shows_in_all_together(make_world):
    _, _, trials = make_world(n_scenarios=40, n_trials=40)
    pooled, single = linearity(by_scenario(bent(trials, bend=3.0)), rng=0, tau=2.0, n_boot=19)
    assert np.mean([s.p < 0.05 for s in single.values()]) < 0.5
    assert pooled.p == 0.05


def test_a_scenario_s_result_does_not_depend_on_the_others(make_world):
    _, _, trials = make_world(n_scenarios=3, n_trials=40, scale=5.0)
    together = linearity(by_scenario(trials), rng=2, n_boot=5)[1]["s002"]
    assert linearity(by_scenario(trials.for_scenario("s002")), rng=2, n_boot=5)[1]["s002"] == together


def test_values_at_range_ends_alone_cannot_tell(make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=40)
    block = trials.blocks[0]
    ends = np.where(block.encoded() > 0.5, [[1, 10, 100, 1000, 10000]], 0)
    corners = TrialSet([TrialBlock.of(block.scenarios, block.scenario_index, ends, block.label)])
    pooled, single = linearity(by_scenario(corners), rng=0)
    assert (pooled.df, single["s000"].df) == (0, 0)
    assert math.isnan(pooled.p)


def test_categories_have_no_curvature():
    axes = [
        Attribute(name="view", levels=("yard", "park", "sea"), ordered=False),
        Attribute(name="rent", low=0, high=9),
    ]
    flat = DecisionScenario(id="f", chooser="Ines", item="flat", question="Which?", attributes=axes)
    trials = TrialGenerator().trials([flat], 60, rng=0)
    labels = np.random.default_rng(0).integers(0, 2, 60)
    assert list(linearity(by_scenario(trials.with_labels(labels)), rng=0)[1]["f"].by_predictor) == ["rent"]
