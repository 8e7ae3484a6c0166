"""An attribute: one thing that options differ in, and how its values are shown and measured."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from introspect.decision._model import Line, Record, Text
from introspect.decision.grid import Grid, decimal_width, log_grid, plain, step_grid
from introspect.errors import ScenarioError

__all__ = ["Attribute", "AttributeKind"]

AttributeKind = Literal["numeric", "ordered", "categorical"]


class Attribute(Record):
    """One thing that options differ in: a number in a range, or one of several levels.

    Args:
        name: As prompts show it and reports name it. No "=" and no line break.
        unit: Shown after numbers; "" for none.
        low: Low end of the declared range. Weights are the utility of going from `low` to `high`.
        high: High end.
        step: Values are `low`, `low + step`, ... up to `high`. None: round numbers inside the range, in
            steps of 1 (width >= 5), 0.1 (width >= 1) or a tenth of the width's leading digit; on a log scale
            two significant digits.
        scale: "log" measures (and draws) ratios instead of differences; needs `low` > 0.
        levels: Names of the levels, instead of a range. In arrays a level is its index (0.0, 1.0, ...).
        ordered: Whether the levels have an order (one weight, first to last level) or not (one weight per
            level but the first, against the first).

    Raises:
        ScenarioError: The range, step, scale or levels are not usable; one line naming attribute and field.

    Example:
        >>> price = Attribute(name="price", unit="euro", low=5, high=105)
        >>> price.encode([5, 55, 105])
        array([0. , 0.5, 1. ])
        >>> price.format(55.0), Attribute(name="size", levels=("small", "large")).format(1.0)
        ('55', 'large')
        >>> Attribute(name="price", low=5, high=5)
        Traceback (most recent call last):
        introspect.errors.ScenarioError: attribute 'price': low must be below high, got low=5 and high=5
    """

    _kind: ClassVar[str] = "attribute"
    _label: ClassVar[str] = "name"

    name: Text
    unit: Line = ""
    low: float = Field(default=math.nan, allow_inf_nan=False)
    high: float = Field(default=math.nan, allow_inf_nan=False)
    step: float | None = Field(default=None, allow_inf_nan=False)
    scale: Literal["linear", "log"] = "linear"
    levels: tuple[Text, ...] | None = None
    ordered: bool = True

    @model_validator(mode="before")
    @classmethod
    def _levels_have_a_range(cls, data: Any) -> Any:
        # Levels are numbered, so that arrays and encodings need no second case: low 0, high L - 1, step 1.
        if isinstance(data, dict) and isinstance(data.get("levels"), list | tuple):
            data = dict(data)
            for field, value in (("low", 0.0), ("high", float(len(data["levels"]) - 1)), ("step", 1.0)):
                if data.get(field) not in (None, value):
                    raise ValueError(f"give levels or low, high and step, not both ({field}={data[field]!r})")
                data[field] = value
        return data

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if "=" in self.name:
            raise ValueError('name must not contain "=", which separates a name from a level')
        if self.levels is not None:
            if len(self.levels) < 2 or len(set(self.levels)) < len(self.levels):
                raise ValueError(f"levels must be two or more distinct names, got {list(self.levels)}")
            if self.scale == "log":
                raise ValueError("levels have no log scale")
            return self
        if math.isnan(self.low) or math.isnan(self.high):
            raise ValueError("give low and high, or levels")
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got low={plain(self.low)} and high={plain(self.high)}")
        if not math.isfinite(self.high - self.low):
            raise ValueError(f"the range {self.low} to {self.high} is wider than a number can hold")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log scale needs low > 0, got low={plain(self.low)}")
        if self.step is not None and not 0 < self.step <= decimal_width(self.low, self.high):
            raise ValueError(f"step must be above 0 and at most high - low, got step={plain(self.step)}")
        _ = self.grid
        return self

    @property
    def kind(self) -> AttributeKind:
        """ "numeric", "ordered" (levels with an order) or "categorical" (levels without)."""
        if self.levels is None:
            return "numeric"
        return "ordered" if self.ordered else "categorical"

    @property
    def grid(self) -> Grid:
        """The values that samplers draw and prompts show."""
        if self.scale == "log" and self.step is None:
            return log_grid(self.low, self.high)
        return step_grid(self.low, self.high, self.step)

    @property
    def predictors(self) -> tuple[str, ...]:
        """What has a weight: the name, or "name=level" of every categorical level but the first."""
        if self.kind != "categorical" or self.levels is None:
            return (self.name,)
        return tuple(f"{self.name}={level}" for level in self.levels[1:])

    def encode(self, values: ArrayLike) -> NDArray[np.float64]:
        """Where values lie between low (0) and high (1), on the attribute's scale. Shape is kept.

        Raises:
            ScenarioError: The attribute is categorical (use `DecisionScenario.encode`).
        """
        if self.kind == "categorical":
            raise ScenarioError(f"attribute {self.name!r} is categorical; DecisionScenario.encode gives its columns")
        array = np.asarray(values, dtype=np.float64)
        if self.scale == "log":
            return np.asarray(np.log(array / self.low) / math.log(self.high / self.low), dtype=np.float64)
        return np.asarray((array - self.low) / (self.high - self.low), dtype=np.float64)

    def format(self, value: float) -> str:
        """The text of a value, without its unit: a number in plain digits or the level's name.

        Raises:
            ScenarioError: The value is not finite, or not the index of a level.

        Example:
            >>> Attribute(name="weight", unit="kg", low=0, high=2).format(0.7)
            '0.7'
        """
        if not math.isfinite(value):
            raise ScenarioError(f"attribute {self.name!r}: value must be finite, got {value}")
        if self.levels is not None:
            if value != int(value) or not 0 <= value < len(self.levels):
                raise ScenarioError(
                    f"attribute {self.name!r}: level index must be 0 to {len(self.levels) - 1}, got {value}"
                )
            return self.levels[int(value)]
        decimals = self.grid.decimals
        if decimals is not None:
            text = f"{value:.{decimals}f}"
            if float(text) == value:
                return text
        return plain(value)  # off the grid: all digits, so that parse() still gives the value back

    def parse(self, text: str) -> float:
        """The value of a text; the exact inverse of `format`.

        Raises:
            ScenarioError: The text is not a finite number, or not the name of a level.

        Example:
            >>> Attribute(name="size", levels=("small", "large")).parse("large")
            1.0
        """
        if self.levels is not None:
            if text not in self.levels:
                raise ScenarioError(f"attribute {self.name!r}: {text!r} is none of its levels {list(self.levels)}")
            return float(self.levels.index(text))
        try:
            value = float(text)
        except ValueError:
            raise ScenarioError(f"attribute {self.name!r}: {text!r} is not a number") from None
        if not math.isfinite(value):
            raise ScenarioError(f"attribute {self.name!r}: value must be finite, got {text!r}")
        return value
