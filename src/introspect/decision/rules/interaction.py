"""Weights, and what pairs of attributes are worth together."""

from __future__ import annotations

import math
from itertools import combinations
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

__all__ = ["InteractionRule", "product_pairs", "product_terms"]


class InteractionRule(Record):
    """A weight for every predictor and for some products of two.

    The product of predictors x and y, each 0 to 1, enters as 2 (x - 1/2) (y - 1/2). So a weight keeps its
    meaning, the utility of going from low to high, now on average over the other attributes; and an
    interaction's weight is what a pair gains when it goes from opposite ends to equal ends.

    Args:
        scenario_id: The scenario.
        weights: One finite weight per predictor, by name.
        interactions: (predictor, other predictor, weight), each pair at most once.

    Raises:
        ScenarioError: No weights, one that is not finite, or a pair that is twice there or of one predictor.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> both = InteractionRule(scenario_id="k", weights={"p": 40, "q": 0}, interactions=(("p", "q", 100),))
        >>> both.utility(k, [[10, 10], [10, 0], [0, 0]])
        array([ 90., -10.,  50.])
        >>> control = both.linear_control(k, rng=0).weights
        >>> control["p"], abs(control["q"]) < 10
        (100.0, True)
    """

    _kind: ClassVar[str] = "interaction rule of scenario"
    _label: ClassVar[str] = "scenario_id"
    ordinal: ClassVar[bool] = False

    rule: Literal["interaction"] = "interaction"
    scenario_id: Text
    weights: dict[str, float] = Field(min_length=1)
    interactions: tuple[tuple[str, str, float], ...] = ()

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        pairs = [frozenset((a, b)) for a, b, _ in self.interactions]
        for (a, b, weight), pair in zip(self.interactions, pairs, strict=True):
            if not math.isfinite(weight):
                raise ValueError(f"the weight of {a!r} with {b!r} must be finite, got {weight}")
            if len(pair) < 2 or pairs.count(pair) > 1:
                raise ValueError(f"{a!r} with {b!r}: a pair must be of two predictors, and given once")
            if not pair <= set(self.weights):
                raise ValueError(f"{a!r} with {b!r}: both must have a weight of their own (0 is one)")
        for name, weight in self.weights.items():
            if not math.isfinite(weight):
                raise ValueError(f"weight of {name!r} must be finite, got {weight}")
        return self

    @property
    def magnitude(self) -> float:
        """Sum of all magnitudes."""
        return sum(map(abs, self.weights.values())) + sum(abs(w) for *_, w in self.interactions)

    @property
    def main_effects(self) -> Preference:
        """The weights alone: the same preference without its interactions."""
        return Preference(scenario_id=self.scenario_id, weights=self.weights)

    def utility(self, scenario: DecisionScenario, values: ArrayLike) -> NDArray[np.float64]:
        """Utility of options: values [..., n_attributes] -> [...].

        Raises:
            ScenarioError: The rule or the values do not fit the scenario.
        """
        total = self.main_effects.utility(scenario, values)
        if self.interactions:
            encoded = scenario.encode(values)
            place = {name: k for k, name in enumerate(scenario.predictors)}
            pairs = np.array([(place[a], place[b]) for a, b, _ in self.interactions])
            total = total + product_terms(encoded, pairs) @ np.array([w for *_, w in self.interactions])
        return np.asarray(total, dtype=np.float64)

    def normalised(self) -> InteractionRule:
        """The same rule with the largest magnitude, interactions included, at exactly 100.

        Raises:
            ScenarioError: All weights are 0.
        """
        top = max([*map(abs, self.weights.values()), *(abs(w) for *_, w in self.interactions)])
        if top == 0:
            raise ScenarioError(f"scenario {self.scenario_id!r}: all weights are 0, which cannot be scaled to 100")
        return InteractionRule(
            scenario_id=self.scenario_id,
            weights={name: w / top * 100 for name, w in self.weights.items()},
            interactions=tuple((a, b, w / top * 100) for a, b, w in self.interactions),
        )

    def linear_control(self, scenario: DecisionScenario, rng: RNG) -> Preference:
        """The linear preference that matches this rule's choices best; see `linear_control`."""
        return linear_control(self, scenario, rng)


def product_pairs(scenario: DecisionScenario) -> NDArray[np.intp]:
    """Positions of all pairs of predictors of different attributes, [K, 2]."""
    owner = [k for k, attribute in enumerate(scenario.attributes) for _ in attribute.predictors]
    pairs = [(i, j) for i, j in combinations(range(len(owner)), 2) if owner[i] != owner[j]]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def product_terms(encoded: NDArray[np.float64], pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """Centred products 2 (x - 1/2) (y - 1/2), predictors [..., P] and pairs [K, 2] -> [..., K]."""
    centred = encoded - 0.5
    return np.asarray(2.0 * centred[..., pairs[:, 0]] * centred[..., pairs[:, 1]])
