"""What any way of choosing must be able to say."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from introspect._random import RNG, root_seed, stream
from introspect.decision.preference import Preference
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["ChoiceRule", "LinearRule", "agreement", "draw_options"]

LinearRule = Preference
"""The rule that everything else is compared with: a weight for every predictor."""


@runtime_checkable
class ChoiceRule(Protocol):
    """How one scenario's options are chosen between. `Preference` is one; so is anything with these parts.

    Attributes:
        scenario_id: The scenario.
        ordinal: Whether utilities say only which option is taken, so that choice noise cannot be scaled by
            them.
        magnitude: Utility differences far below this are rounding.
    """

    @property
    def scenario_id(self) -> str: ...

    @property
    def ordinal(self) -> bool: ...

    @property
    def magnitude(self) -> float: ...

    def utility(self, scenario: DecisionScenario, values: ArrayLike) -> NDArray[np.float64]:
        """Utility of every option of trials, values [..., J, n_attributes] -> [..., J].

        The options of a trial are judged together. An option that cannot be taken has utility -inf, and at
        least one can be. The usual scale puts the largest weight at 100.
        """
        ...

    def model_dump(self, *, mode: str = ...) -> dict[str, Any]: ...


def draw_options(scenario: DecisionScenario, n: int, n_options: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Options with every attribute uniform over its grid (in ratios on a log scale), [n, n_options, A]."""
    out = np.empty((n, n_options, scenario.n_attributes))
    for k, attribute in enumerate(scenario.attributes):
        grid = attribute.grid
        draws = rng.random((n, n_options))
        if attribute.scale == "log":
            index = grid.nearest(attribute.low * (attribute.high / attribute.low) ** draws)
        else:
            index = np.minimum((draws * grid.n).astype(np.int64), grid.n - 1)
        out[..., k] = grid.at(index)
    return out


def agreement(a: ChoiceRule, b: ChoiceRule, scenario: DecisionScenario, rng: RNG, n: int = 4000) -> float:
    """Share of random pairs in which two rules without noise take the same option.

    It says how far apart a rule and its linear control are in behaviour: at 1 no study can tell them apart.
    Pairs that either rule finds equal are left out.

    Raises:
        ScenarioError: A rule does not fit the scenario, or all pairs are ties.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> p, q = (Preference(scenario_id="k", weights={"p": w, "q": 100}) for w in (0, -100))
        >>> 0.7 < agreement(p, q, k, rng=0) < 0.8
        True
    """
    values = draw_options(scenario, n, 2, stream(root_seed(rng), "agreement", scenario.id))
    first, second = (_leads(rule, scenario, values) for rule in (a, b))
    clear = (first != 0) & (second != 0)
    if not clear.any():
        raise ScenarioError(f"scenario {scenario.id!r}: the rules find no pair that is not a tie")
    return float((first == second)[clear].mean())


def _leads(rule: ChoiceRule, scenario: DecisionScenario, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """+1 where the first option is taken, -1 the second, 0 a tie."""
    utility = rule.utility(scenario, values)
    lowest = np.nan_to_num(utility, neginf=-1e300)
    difference = lowest[:, 0] - lowest[:, 1]
    return np.asarray(np.where(np.abs(difference) <= 1e-9 * rule.magnitude, 0.0, np.sign(difference)))
