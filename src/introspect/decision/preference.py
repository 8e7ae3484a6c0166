"""A preference: how much each attribute counts in one scenario."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from introspect.decision._model import Record, Text
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["Preference"]


class Preference(Record):
    """Weights of one scenario's predictors.

    A weight is the utility of going from the low to the high end of the attribute's declared range; "less is
    better" is a negative weight. Only ratios matter; the usual scale puts the largest magnitude at 100.

    Args:
        scenario_id: The scenario.
        weights: One finite weight per predictor of the scenario, by name.

    Raises:
        ScenarioError: No weights, or one that is not finite.

    Example:
        >>> wish = Preference(scenario_id="flat", weights={"rent": -50.0, "size": 25.0})
        >>> wish.normalised().weights
        {'rent': -100.0, 'size': 50.0}
    """

    _kind: ClassVar[str] = "preference for scenario"
    _label: ClassVar[str] = "scenario_id"
    ordinal: ClassVar[bool] = False

    scenario_id: Text
    weights: dict[str, float] = Field(min_length=1)

    @model_validator(mode="after")
    def _weights_are_finite(self) -> Self:
        for name, weight in self.weights.items():
            if not math.isfinite(weight):
                raise ValueError(f"weight of {name!r} must be finite, got {weight}")
        return self

    @classmethod
    def of(cls, scenario: DecisionScenario, weights: ArrayLike) -> Preference:
        """A preference from a vector in the order of `scenario.predictors`.

        Raises:
            ScenarioError: Another number of weights than the scenario has predictors.
        """
        vector = np.asarray(weights, dtype=np.float64)
        if vector.shape != (scenario.n_predictors,):
            raise ScenarioError(
                f"scenario {scenario.id!r} has {scenario.n_predictors} predictors, got weights of shape {vector.shape}"
            )
        return cls(scenario_id=scenario.id, weights=dict(zip(scenario.predictors, vector.tolist(), strict=True)))

    def vector(self, scenario: DecisionScenario) -> NDArray[np.float64]:
        """Weights in the order of `scenario.predictors`, [n_predictors].

        Raises:
            ScenarioError: This is the preference of another scenario, or of other predictors.
        """
        if scenario.id != self.scenario_id:
            raise ScenarioError(f"the preference is for scenario {self.scenario_id!r}, not {scenario.id!r}")
        if set(self.weights) != set(scenario.predictors):
            raise ScenarioError(
                f"scenario {scenario.id!r}: weights must be given for {', '.join(scenario.predictors)}; "
                f"got {', '.join(self.weights)}"
            )
        return np.array([self.weights[name] for name in scenario.predictors], dtype=np.float64)

    @property
    def magnitude(self) -> float:
        """Sum of the weights' magnitudes; utility differences far below it are rounding."""
        return sum(map(abs, self.weights.values()))

    def normalised(self) -> Preference:
        """The same preference with the largest magnitude at exactly 100.

        Raises:
            ScenarioError: All weights are 0, so there is no preference to scale.
        """
        top = max(map(abs, self.weights.values()))
        if top == 0:
            raise ScenarioError(f"scenario {self.scenario_id!r}: all weights are 0, which cannot be scaled to 100")
        if top == 100:
            return self
        return Preference(
            scenario_id=self.scenario_id, weights={name: w / top * 100 for name, w in self.weights.items()}
        )

    def utility(self, scenario: DecisionScenario, values: ArrayLike) -> NDArray[np.float64]:
        """Utility of options: values [..., n_attributes] -> [...].

        Raises:
            ScenarioError: The preference or the values do not fit the scenario.
        """
        return np.asarray(scenario.encode(values) @ self.vector(scenario), dtype=np.float64)
