"""A trial: one choice between options, as shown."""

from __future__ import annotations

import math
from typing import ClassVar, Self

from pydantic import Field, model_validator

from introspect.decision._model import Record, Text

__all__ = ["Trial", "option_label"]


def option_label(index: int) -> str:
    """The letter of an option: "A" for the first shown, then "B", "C", ...

    Example:
        >>> option_label(0), option_label(2)
        ('A', 'C')
    """
    if not 0 <= index < 26:
        raise ValueError(f"options are labelled A to Z, so index must be 0 to 25, got {index}")
    return chr(ord("A") + index)


class Trial(Record):
    """One choice between options, as shown; a single row of a `TrialSet`.

    Args:
        scenario_id: The context.
        values: One tuple per option *in the order shown* (the first is "A"), each with one value per
            attribute in *declared* order. Levels are indices.
        label: Which option is (to be) chosen, 0 for "A"; None if not known.
        flipped: The options are shown in the reverse of the order in which they were drawn.
        attribute_order: In which order the attributes are listed (indices); None for the declared order.

    Raises:
        ScenarioError: Fewer than two options, options of different lengths, a label without option, a wrong
            order.

    Example:
        >>> trial = Trial(scenario_id="flat", values=((900, 2), (450, 0)), label=1)
        >>> trial.n_options, trial.label
        (2, 1)
    """

    _kind: ClassVar[str] = "trial of scenario"
    _label: ClassVar[str] = "scenario_id"

    scenario_id: Text
    values: tuple[tuple[float, ...], ...]
    label: int | None = Field(default=None, ge=0)
    flipped: bool = False
    attribute_order: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not 2 <= len(self.values) <= 26:
            raise ValueError(f"values must hold 2 to 26 options, got {len(self.values)}")
        widths = {len(option) for option in self.values}
        if len(widths) != 1:
            raise ValueError(f"every option must have the same number of values, got {sorted(widths)}")
        if not all(math.isfinite(v) for option in self.values for v in option):
            raise ValueError("values must be finite")
        if self.label is not None and self.label >= len(self.values):
            raise ValueError(f"label must be below the number of options {len(self.values)}, got {self.label}")
        order = self.attribute_order
        if order is not None and sorted(order) != list(range(widths.pop())):
            raise ValueError(f"attribute_order must list every attribute index once, got {list(order)}")
        return self

    @property
    def n_options(self) -> int:
        """How many options are shown."""
        return len(self.values)
