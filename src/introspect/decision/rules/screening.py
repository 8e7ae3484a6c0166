"""Cut-offs that rule options out; weights decide among the rest."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from introspect._random import RNG
from introspect.decision._model import Record, Text
from introspect.decision.preference import Preference
from introspect.decision.rules.control import linear_control
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["Cutoff", "ScreeningRule"]


class Cutoff(Record):
    """A limit on one attribute: options beyond it are not considered.

    Args:
        attribute: Name of a numeric or ordered attribute.
        keep: "at_least" or "at_most".
        value: In the attribute's units, a level by its index; options exactly there stay.

    Example:
        >>> Cutoff(attribute="rent", keep="at_most", value=900).value
        900.0
    """

    _kind: ClassVar[str] = "cut-off on attribute"
    _label: ClassVar[str] = "attribute"

    attribute: Text
    keep: Literal["at_least", "at_most"]
    value: float = Field(allow_inf_nan=False)


class ScreeningRule(Record):
    """Options that miss a cut-off are out; among the others the linear preference decides.

    Where no option of a trial passes, screening says nothing and the preference decides among all of them;
    likewise where all pass.

    Args:
        scenario_id: The scenario.
        weights: One finite weight per predictor, by name.
        cutoffs: At most one per attribute and direction.

    Raises:
        ScenarioError: No weights, one that is not finite, or the same cut-off twice.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> at_least_3 = Cutoff(attribute="q", keep="at_least", value=3)
        >>> picky = ScreeningRule(scenario_id="k", weights={"p": 100, "q": 10}, cutoffs=(at_least_3,))
        >>> picky.utility(k, [[[9, 2], [1, 8]], [[9, 2], [1, 1]]])     # one passes; then none, so p decides
        array([[-inf,  18.],
               [ 92.,  11.]])
    """

    _kind: ClassVar[str] = "screening rule of scenario"
    _label: ClassVar[str] = "scenario_id"
    ordinal: ClassVar[bool] = False

    rule: Literal["screening"] = "screening"
    scenario_id: Text
    weights: dict[str, float] = Field(min_length=1)
    cutoffs: tuple[Cutoff, ...] = ()

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        keys = [(c.attribute, c.keep) for c in self.cutoffs]
        if len(set(keys)) < len(keys):
            raise ValueError("an attribute may have one cut-off in each direction")
        for name, weight in self.weights.items():
            if not math.isfinite(weight):
                raise ValueError(f"weight of {name!r} must be finite, got {weight}")
        return self

    @property
    def magnitude(self) -> float:
        """Sum of the weights' magnitudes; 1 where all are 0, since passing alone then decides."""
        return sum(map(abs, self.weights.values())) or 1.0

    def passes(self, scenario: DecisionScenario, values: ArrayLike) -> NDArray[np.bool_]:
        """Which options meet all cut-offs: values [..., n_attributes] -> [...].

        Raises:
            ScenarioError: The scenario has no such attribute, or it has levels without an order.
        """
        array = np.asarray(values, dtype=np.float64)
        stay = np.ones(array.shape[:-1], dtype=np.bool_)
        for cutoff in self.cutoffs:
            attribute = scenario.attribute(cutoff.attribute)
            if attribute.kind == "categorical":
                raise ScenarioError(
                    f"scenario {scenario.id!r}: attribute {attribute.name!r} has levels without an order, so a "
                    "cut-off on it means nothing; give a level a large negative weight instead"
                )
            shown = array[..., scenario.attributes.index(attribute)]
            stay &= shown >= cutoff.value if cutoff.keep == "at_least" else shown <= cutoff.value
        return stay

    def utility(self, scenario: DecisionScenario, values: ArrayLike) -> NDArray[np.float64]:
        """Utility of the options of trials: values [..., J, n_attributes] -> [..., J], -inf for those that are
        out.

        Raises:
            ScenarioError: The rule or the values do not fit the scenario.
        """
        linear = Preference(scenario_id=self.scenario_id, weights=self.weights).utility(scenario, values)
        stay = self.passes(scenario, values)
        return np.asarray(np.where(stay | ~stay.any(axis=-1, keepdims=True), linear, -np.inf))

    def normalised(self) -> ScreeningRule:
        """The same rule with the largest weight's magnitude at exactly 100; cut-offs stay.

        Raises:
            ScenarioError: All weights are 0.
        """
        scaled = Preference(scenario_id=self.scenario_id, weights=self.weights).normalised()
        return ScreeningRule(scenario_id=self.scenario_id, weights=scaled.weights, cutoffs=self.cutoffs)

    def linear_control(self, scenario: DecisionScenario, rng: RNG) -> Preference:
        """The linear preference that matches this rule's choices best; see `linear_control`."""
        return linear_control(self, scenario, rng)
