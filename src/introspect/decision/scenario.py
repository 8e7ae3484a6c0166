"""A decision scenario: on whose behalf, what is chosen, and what the options differ in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from introspect._notebook import frame_of, html_table
from introspect.decision._model import Record, Text
from introspect.decision.attribute import Attribute
from introspect.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MAX_ATTRIBUTES", "DecisionScenario", "contexts_of"]

MAX_ATTRIBUTES = 10


class DecisionScenario(Record):
    """One context in which someone chooses between options.

    Args:
        id: Unique name in a `ScenarioSet`; rows and random streams are keyed by it.
        chooser: On whose behalf the choice is made.
        item: What is chosen.
        question: What the prompt asks.
        attributes: Two to ten, with distinct names.
        tags: Free labels to filter by.

    Raises:
        ScenarioError: One line naming the scenario and the field.

    Example:
        >>> flat = DecisionScenario(
        ...     id="flat", chooser="Ines", item="flat", question="Which flat would Ines rent?",
        ...     attributes=[
        ...         Attribute(name="rent", unit="euro", low=400, high=1400),
        ...         Attribute(name="view", levels=("yard", "street", "park"), ordered=False),
        ...     ],
        ... )
        >>> flat.predictors
        ('rent', 'view=street', 'view=park')
        >>> flat.encode([900, 2])
        array([0.5, 0. , 1. ])
    """

    _kind: ClassVar[str] = "scenario"

    id: Text
    chooser: Text
    item: Text
    question: Text
    attributes: tuple[Attribute, ...]
    tags: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _attributes_are_usable(self) -> Self:
        if not 2 <= len(self.attributes) <= MAX_ATTRIBUTES:
            raise ValueError(f"attributes must be 2 to {MAX_ATTRIBUTES}, got {len(self.attributes)}")
        names = [attribute.name for attribute in self.attributes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"attributes must have distinct names, got {', '.join(map(repr, twice))} more than once")
        return self

    def untagged(self) -> Self:
        """The same scenario without tags: all that a model can see of it."""
        return self.model_copy(update={"tags": ()}) if self.tags else self

    @property
    def n_attributes(self) -> int:
        """How many attributes."""
        return len(self.attributes)

    @property
    def predictors(self) -> tuple[str, ...]:
        """What has a weight, in declared order: see `Attribute.predictors`."""
        return tuple(name for attribute in self.attributes for name in attribute.predictors)

    @property
    def n_predictors(self) -> int:
        """How many weights a preference in this scenario has."""
        return sum(len(a.levels) - 1 if a.levels and not a.ordered else 1 for a in self.attributes)

    def attribute(self, name: str) -> Attribute:
        """The attribute of that name.

        Raises:
            ScenarioError: There is none.
        """
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        known = ", ".join(a.name for a in self.attributes)
        raise ScenarioError(f"scenario {self.id!r} has no attribute {name!r} (it has: {known})")

    def to_frame(self) -> pd.DataFrame:
        """One row per attribute.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        fields = ("name", "unit", "kind", "low", "high", "step", "scale", "levels")
        return frame_of({field: getattr(axis, field) for field in fields} for axis in self.attributes)

    def _repr_html_(self) -> str:
        def ends(axis: Attribute) -> tuple[str, str]:
            return axis.format(axis.low), axis.format(axis.high)

        rows = [[a.name, *ends(a), a.unit if a.levels is None else " / ".join(a.levels)] for a in self.attributes]
        tags = f" Tags: {', '.join(self.tags)}." if self.tags else ""
        head = ["options differ in", "from", "to", "unit or levels"]
        return html_table(self.question, head, rows, f"{self.id}: {self.item}, for {self.chooser}.{tags}")

    def encode(self, values: ArrayLike) -> NDArray[np.float64]:
        """Predictors of options: shape [..., n_attributes] -> [..., n_predictors], each in [0, 1].

        A categorical attribute with levels (l0, l1, ..) becomes one 0/1 column per level but the first.

        Raises:
            ScenarioError: The last axis is not n_attributes long.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != self.n_attributes:
            raise ScenarioError(
                f"scenario {self.id!r}: values must end in an axis of {self.n_attributes} attributes, "
                f"got shape {array.shape}"
            )
        columns: list[NDArray[np.float64]] = []
        for k, attribute in enumerate(self.attributes):
            column = array[..., k]
            if attribute.kind == "categorical" and attribute.levels is not None:
                columns += [(column == level).astype(np.float64) for level in range(1, len(attribute.levels))]
            else:
                columns.append(attribute.encode(column))
        return np.stack(columns, axis=-1)


def contexts_of(given: Iterable[DecisionScenario] | DecisionScenario) -> list[DecisionScenario]:
    """What was given as scenarios, as a list.

    Raises:
        ScenarioError: It is one scenario alone, or holds what is none.
    """
    if isinstance(given, DecisionScenario):
        raise ScenarioError(f"got the one scenario {given.id!r} where several may stand: give a list of it, [scenario]")
    found = list(given)
    wrong = next((one for one in found if not isinstance(one, DecisionScenario)), None)
    if wrong is not None:
        raise ScenarioError(
            f"scenarios are DecisionScenario records, got {wrong!r:.60}. Make them with DecisionScenario(...), "
            "ScenarioSet.load(FILE), or take some of catalogue()"
        )
    return found
