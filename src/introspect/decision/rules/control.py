"""The linear preference that comes closest to a rule's choices: what a study compares the rule with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.decision.preference import Preference
from introspect.decision.rules.base import ChoiceRule, draw_options
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["linear_control"]

N_PAIRS = 4000
PRIOR_SD = 20.0
"""In logits. It only bounds the length where the rule is linear after all; the direction is what counts."""


def linear_control(rule: ChoiceRule, scenario: DecisionScenario, rng: RNG, n: int = N_PAIRS) -> Preference:
    """The linear preference whose choices match a rule's best, its largest magnitude at 100.

    A logit is fitted to the rule's noiseless choices between random pairs over the whole grid; ties are left
    out. Depends on the seed, the rule and the scenario alone.

    Args:
        rule: Any rule of that scenario.
        scenario: Its scenario.
        rng: Seed of the pairs.
        n: How many.

    Raises:
        ScenarioError: The rule does not fit the scenario, or finds every pair equal.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pqr"]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> wish = Preference(scenario_id="k", weights={"p": 100, "q": -50, "r": 0})
        >>> control = linear_control(wish, k, rng=0).weights
        >>> round(control["p"]), -52 < control["q"] < -48
        (100, True)
    """
    values = draw_options(scenario, n, 2, stream(root_seed(rng), "linear control", scenario.id))
    utility = np.nan_to_num(rule.utility(scenario, values), neginf=-1e300)
    lead = utility[:, 0] - utility[:, 1]
    clear = np.abs(lead) > 1e-9 * rule.magnitude
    if not clear.any():
        raise ScenarioError(f"scenario {scenario.id!r}: the rule finds all pairs equal, so no weights match it")
    encoded = scenario.encode(values[clear])
    return Preference.of(scenario, _logit(encoded[:, 0] - encoded[:, 1], np.sign(lead[clear]))).normalised()


def _logit(differences: NDArray[np.float64], side: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posterior mode of a logit without intercept (the pairs have no order), [n, P] and [n] of +-1 -> [P]."""
    rows = differences * side[:, None]
    coef = np.zeros(rows.shape[1])
    eye = np.eye(len(coef)) / PRIOR_SD**2
    for _ in range(100):
        miss = 0.5 - 0.5 * np.tanh(rows @ coef / 2)  # probability of the option that was not taken
        gradient = rows.T @ miss - coef / PRIOR_SD**2
        step = np.linalg.solve((rows * (miss * (1 - miss))[:, None]).T @ rows + eye, gradient)
        coef = coef + step * min(1.0, 8.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-9:
            break
    return coef
