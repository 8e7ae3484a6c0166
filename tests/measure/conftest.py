"""Small worlds with a known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from introspect.decision.attribute import Attribute
from introspect.decision.generator import TrialGenerator
from introspect.decision.labels import label
from introspect.decision.preference_set import PreferenceSet
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial_set import TrialSet

World = tuple[list[DecisionScenario], PreferenceSet, TrialSet]


def scenario(number: int, n_attributes: int = 5) -> DecisionScenario:
    axes = tuple(Attribute(name=f"a{k}", low=0, high=10**k, step=10**k / 100) for k in range(n_attributes))
    return DecisionScenario(
        id=f"s{number:03d}", chooser=f"person {number}", item="lot", question="Which?", attributes=axes
    )


def world(
    n_scenarios: int = 12,
    n_trials: int = 100,
    seed: int = 0,
    n_attributes: int = 5,
    n_options: int = 2,
    scale: float | None = None,
) -> World:
    """Scenarios, their true preferences and trials labelled by these; `scale` makes the labels logistic."""
    scenarios = [scenario(i, n_attributes) for i in range(n_scenarios)]
    preferences = PreferenceSampler().sample(scenarios, rng=seed)
    trials = TrialGenerator(n_options=n_options).trials(scenarios, n_trials, rng=seed)
    if scale is None:
        return scenarios, preferences, label(trials, preferences, rng=seed)
    return scenarios, preferences, label(trials, preferences, "logistic", rng=seed, scale=scale)


@pytest.fixture
def make_world() -> Callable[..., World]:
    return world


@pytest.fixture
def noise() -> Callable[[int], dict[str, dict[str, float]]]:
    """Made-up weights of so many contexts."""

    def make(n: int, seed: int = 0, width: int = 5) -> dict[str, dict[str, float]]:
        rng = np.random.default_rng(seed)
        return {f"k{i:03d}": {f"w{j}": float(rng.normal()) for j in range(width)} for i in range(n)}

    return make
