"""What a simulated agent holds about one choice context."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect.backend.wire import canonical
from introspect.decision.attribute import Attribute
from introspect.decision.prompt import AttributeText, PromptContent
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.organism import ORGANISM_WORDS

__all__ = ["ContextMemory", "Gauge", "context_key", "encode", "shown_gauge"]


def context_key(chooser: str, item: str) -> str:
    """The name of a context in an agent's memory: all that an agent can know a context by is who chooses
    what.

    Example:
        >>> context_key("a lighthouse keeper", "lamp")
        '["a lighthouse keeper","lamp"]'
    """
    return canonical([chooser, item])


class Gauge(Checked):
    """How an agent reads one attribute's values: a range, or levels.

    Attributes:
        low: Value that counts as 0.
        high: Value that counts as 1.
        log: Between them, logarithms are compared.
        levels: Names of levels instead of a range; the first counts as 0.
        ordered: Levels lie on one line; otherwise each level but the first is a predictor of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float = Field(default=0.0, allow_inf_nan=False)
    high: float = Field(default=1.0, allow_inf_nan=False)
    log: bool = False
    levels: tuple[str, ...] = ()
    ordered: bool = True

    @classmethod
    def of(cls, attribute: Attribute) -> Gauge:
        """The gauge that an attribute declares."""
        if attribute.kind == "numeric":
            return cls(low=attribute.low, high=attribute.high, log=attribute.scale == "log")
        return cls(levels=tuple(attribute.levels or ()), ordered=attribute.kind == "ordered")

    @property
    def width(self) -> float:
        """Distance from low to high, in logarithms where those are compared."""
        return math.log(self.high / self.low) if self.log else self.high - self.low

    def place(self, value: float) -> float:
        """Where a value lies between low (0) and high (1); 0 where the range has no width."""
        if self.width == 0:
            return 0.0
        if self.log:
            return math.log(max(value, 1e-300) / self.low) / self.width
        return (value - self.low) / self.width


class ContextMemory(Checked):
    """One context in an agent's memory.

    Attributes:
        gauges: By attribute name.
        weights: By predictor, on the +-100 scale over the gauge; a predictor without one has a native weight.
        fidelity: Report fidelity here, where training set one of its own.
        noise: Report noise here, where training set one of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gauges: dict[str, Gauge] = Field(default_factory=dict)
    weights: dict[str, float] = Field(default_factory=dict)
    fidelity: float | None = Field(default=None, ge=0, le=1)
    noise: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @classmethod
    def of(cls, scenario: DecisionScenario, weights: Mapping[str, float] | None = None) -> ContextMemory:
        """A memory of a scenario's ranges and, if given, of weights for its predictors."""
        gauges = {attribute.name: Gauge.of(attribute) for attribute in scenario.attributes}
        return cls(gauges=gauges, weights=dict(weights or {}))


def encode(content: PromptContent, memory: ContextMemory | None) -> list[dict[str, float]]:
    """The options of a prompt as numbers by predictor, one dict an option.

    An attribute is read with the remembered gauge, else with the bounds that the prompt shows. Where neither
    is there, numbers are compared relative to the larger one shown (Weber's law), and level names count as
    unordered.
    """
    options = content.options or ()
    encoded: list[dict[str, float]] = [{} for _ in options]
    for column, attribute in enumerate(content.attributes):
        shown = [option[column] for option in options]
        gauge = memory.gauges.get(attribute.name) if memory else None
        gauge = shown_gauge(content, attribute) if gauge is None else gauge
        for numbers, value in zip(encoded, shown, strict=True):
            numbers.update(_numbers(attribute.name, gauge, value, shown))
    return encoded


def shown_gauge(content: PromptContent, attribute: AttributeText) -> Gauge | None:
    """The range that a prompt shows, or that its language settles; None where it does neither."""
    if attribute.bounds is not None:
        low, high = attribute.bounds
        return None if isinstance(low, str) or isinstance(high, str) else Gauge(low=low, high=high)
    lots = content.item == "lot" and content.question == f"Which lot does {content.chooser} take?"
    return Gauge(low=0.0, high=100.0) if lots and attribute.name in ORGANISM_WORDS else None


def _numbers(name: str, gauge: Gauge | None, value: float | str, shown: list[float | str]) -> dict[str, float]:
    if gauge is not None and gauge.levels:
        # A level may be called "3", and a reader who does not know better takes it for a number.
        same = [level == value or _is_number(level, value) for level in gauge.levels]
        if any(same):
            if gauge.ordered:
                return {name: same.index(True) / (len(gauge.levels) - 1)}
            return {f"{name}={level}": float(k == same.index(True)) for k, level in enumerate(gauge.levels) if k}
    if isinstance(value, str):
        return {f"{name}={value}": 1.0}
    if gauge is not None and not gauge.levels:
        return {name: gauge.place(value)}
    largest = max((abs(other) for other in shown if not isinstance(other, str)), default=0.0)
    return {name: value / largest if largest else 0.0}


def _is_number(level: str, value: float | str) -> bool:
    try:
        return not isinstance(value, str) and float(level) == value
    except ValueError:
        return False
