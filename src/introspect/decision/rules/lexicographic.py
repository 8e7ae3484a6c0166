"""The most important attribute decides; the next one only where it leaves a tie."""

from __future__ import annotations

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

__all__ = ["Criterion", "LexicographicRule"]

ROUNDING = 1e-9
"""Of the range: differences by the threshold itself count as no difference, whatever binary fractions say."""


class Criterion(Record):
    """One attribute's turn.

    Args:
        attribute: Name of a numeric or ordered attribute.
        better: Which end is better.
        threshold: Just noticeable difference as a share of the attribute's range (on its scale); smaller
            differences, and this one exactly, are no difference. Below 1.

    Example:
        >>> Criterion(attribute="rent", better="low", threshold=0.1).threshold
        0.1
    """

    _kind: ClassVar[str] = "criterion on attribute"
    _label: ClassVar[str] = "attribute"

    attribute: Text
    better: Literal["high", "low"]
    threshold: float = Field(default=0.0, ge=0, lt=1)


class LexicographicRule(Record):
    """Attributes take turns: each keeps the options within its threshold of the best one left.

    The first turn that leaves one option decides. What remains after the last turn is a tie. With thresholds
    this is a lexicographic semiorder, which need not be transitive between pairs.

    Args:
        scenario_id: The scenario.
        order: The turns, most important first; each attribute at most once.

    Raises:
        ScenarioError: No turn, or an attribute with two.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> turns = (Criterion(attribute="p", better="high", threshold=0.1), Criterion(attribute="q", better="low"))
        >>> LexicographicRule(scenario_id="k", order=turns).utility(k, [[[9, 9], [2, 1]], [[9, 9], [8, 1]]])
        array([[  0., -inf],
               [-inf,   0.]])
    """

    _kind: ClassVar[str] = "lexicographic rule of scenario"
    _label: ClassVar[str] = "scenario_id"
    ordinal: ClassVar[bool] = True
    magnitude: ClassVar[float] = 1.0

    rule: Literal["lexicographic"] = "lexicographic"
    scenario_id: Text
    order: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_has_one_turn(self) -> Self:
        names = [c.attribute for c in self.order]
        if len(set(names)) < len(names):
            raise ValueError(f"an attribute has one turn, got {', '.join(names)}")
        return self

    def utility(self, scenario: DecisionScenario, values: ArrayLike) -> NDArray[np.float64]:
        """0 for the options of a trial that remain after all turns, -inf for the others: [..., J,
        n_attributes] -> [..., J].

        Raises:
            ScenarioError: The rule or the values do not fit the scenario, or an attribute has levels without
                an order.
        """
        if scenario.id != self.scenario_id:
            raise ScenarioError(f"the rule is for scenario {self.scenario_id!r}, not {scenario.id!r}")
        array = np.asarray(values, dtype=np.float64)
        if array.ndim < 2 or array.shape[-1] != scenario.n_attributes:
            raise ScenarioError(
                f"scenario {scenario.id!r}: a lexicographic rule compares the options of a trial, values "
                f"[..., options, {scenario.n_attributes}]; got shape {array.shape}"
            )
        left = np.ones(array.shape[:-1], dtype=np.bool_)
        for turn in self.order:
            attribute = scenario.attribute(turn.attribute)
            if attribute.kind == "categorical":
                raise ScenarioError(
                    f"scenario {scenario.id!r}: attribute {attribute.name!r} has levels without an order, so none "
                    "is better; leave it out of the order"
                )
            good = attribute.encode(array[..., scenario.attributes.index(attribute)])
            good = good if turn.better == "high" else -good
            best = np.where(left, good, -np.inf).max(axis=-1, keepdims=True)
            left &= good >= best - turn.threshold - ROUNDING
        return np.asarray(np.where(left, 0.0, -np.inf))

    def linear_control(self, scenario: DecisionScenario, rng: RNG) -> Preference:
        """The linear preference that matches this rule's choices best; see `linear_control`."""
        return linear_control(self, scenario, rng)
