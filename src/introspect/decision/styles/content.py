"""What a prompt says, before any style words it: shared by all styles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from introspect.decision.attribute import Attribute
from introspect.decision.prompt import AttributeText, PromptContent, ReportFormat
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import Trial, option_label
from introspect.errors import ConfigError, PromptError

__all__ = [
    "asked_sets",
    "check_options",
    "chosen_label",
    "content_of_choice",
    "content_of_report",
    "heaviest_first",
    "shown_order",
    "training_weights",
    "trial_of",
]


def shown_order(scenario: DecisionScenario, trial: Trial | None) -> tuple[int, ...]:
    """Indices of the attributes in the order in which this trial lists them (declared order without a trial).

    Raises:
        PromptError: The trial belongs to another scenario, or has another number of attributes.
    """
    n = len(scenario.attributes)
    if trial is None:
        return tuple(range(n))
    if trial.scenario_id != scenario.id:
        raise PromptError(f"trial of scenario {trial.scenario_id!r} given with scenario {scenario.id!r}")
    if len(trial.values[0]) != n:
        raise PromptError(
            f"scenario {scenario.id!r} has {n} attributes, but the trial's options have {len(trial.values[0])} values"
        )
    return trial.attribute_order or tuple(range(n))


def content_of_choice(
    scenario: DecisionScenario, trial: Trial, order: Sequence[int] | None = None, *, ranges: bool = False
) -> PromptContent:
    """What a choice prompt of this trial says.

    Args:
        scenario: The context.
        trial: Its trial.
        order: Attribute indices in the order shown; None for the trial's own.
        ranges: Whether the prompt shows the ends of every attribute.

    Raises:
        PromptError: Scenario and trial do not fit together.

    Example:
        >>> flat = DecisionScenario(
        ...     id="flat", chooser="Ines", item="flat", question="Which flat would Ines rent?",
        ...     attributes=[
        ...         Attribute(name="rent", low=400, high=1400),
        ...         Attribute(name="view", levels=("yard", "park")),
        ...     ],
        ... )
        >>> content = content_of_choice(flat, Trial(scenario_id="flat", values=((900, 1), (450, 0))))
        >>> content.options
        ((900.0, 'park'), (450.0, 'yard'))
        >>> trial_of(flat, content).values
        ((900.0, 1.0), (450.0, 0.0))
    """
    own = shown_order(scenario, trial)
    order = own if order is None else tuple(order)
    attributes = [scenario.attributes[k] for k in order]
    return PromptContent(
        kind="choice",
        chooser=scenario.chooser,
        item=scenario.item,
        question=scenario.question,
        attributes=tuple(_text_of(a, bounds=ranges) for a in attributes),
        options=_options(scenario, trial, order),
    )


def content_of_report(
    scenario: DecisionScenario,
    trial: Trial | None,
    asked: Sequence[str],
    report_format: ReportFormat,
    order: Sequence[int] | None = None,
    *,
    ranges: bool = False,
) -> PromptContent:
    """What a report prompt says. Levelled attributes always show their ends: without them a weight has no
    direction.

    Args:
        scenario: The context.
        trial: The options to show; None to show none.
        asked: Predictors whose weights are asked for, in order.
        report_format: How the answer is to be given.
        order: Attribute indices in the order shown; None for the trial's own, or the declared one.
        ranges: Whether the prompt shows the ends of numeric attributes too.

    Raises:
        PromptError: Scenario and trial do not fit together.
    """
    own = shown_order(scenario, trial)
    order = own if order is None else tuple(order)
    attributes = [scenario.attributes[k] for k in order]
    return PromptContent(
        kind="report",
        chooser=scenario.chooser,
        item=scenario.item,
        question=scenario.question,
        attributes=tuple(_text_of(a, bounds=ranges or a.levels is not None) for a in attributes),
        options=None if trial is None else _options(scenario, trial, order),
        report_format=report_format,
        asked=tuple(asked),
    )


def asked_sets(predictors: Sequence[str], report_format: ReportFormat) -> tuple[tuple[str, ...], ...]:
    """Which predictors each prompt of one report asks for.

    Example:
        >>> asked_sets(("a", "b", "c"), "comparison")
        (('a', 'b'), ('a', 'c'), ('b', 'c'))
    """
    if report_format == "single":
        return tuple((name,) for name in predictors)
    if report_format == "comparison":
        return tuple(combinations(predictors, 2))
    return (tuple(predictors),)


def trial_of(scenario: DecisionScenario, content: PromptContent) -> Trial:
    """The trial that a prompt shows: values back in declared order, levels back to indices.

    Which option the sampler drew first is not in the prompt, so `flipped` is False; there is no label.

    Raises:
        PromptError: The prompt shows no options, or not those of this scenario.
    """
    if content.options is None:
        raise PromptError("the prompt shows no options, so there is no trial to recover")
    names = [a.name for a in content.attributes]
    declared = [a.name for a in scenario.attributes]
    if sorted(names) != sorted(declared):
        raise PromptError(f"the prompt shows the attributes {names}, scenario {scenario.id!r} has {declared}")
    order = tuple(declared.index(name) for name in names)
    rows = []
    for option in content.options:
        row = [0.0] * len(declared)
        for k, value in zip(order, option, strict=True):
            row[k] = _value_of(scenario.attributes[k], value)
        rows.append(tuple(row))
    identity = tuple(range(len(declared)))
    return Trial(scenario_id=scenario.id, values=tuple(rows), attribute_order=None if order == identity else order)


def training_weights(content: PromptContent, weights: Mapping[str, float]) -> list[int]:
    """The asked weights as whole numbers, in the order asked. Halves are rounded to even.

    Raises:
        PromptError: The prompt asks for no weights; or a weight is absent, not finite or beyond -100..100.
    """
    if content.kind != "report":
        raise PromptError("the prompt asks for a choice, not for weights")
    whole = []
    for name in content.asked:
        weight = weights.get(name)
        if weight is None:
            raise PromptError(f"no weight given for {name!r}; given are {sorted(weights)}")
        if not math.isfinite(weight) or not -100 <= weight <= 100:
            raise PromptError(f"the weight of {name!r} must be -100 to 100, got {weight}; use Preference.normalised()")
        whole.append(round(weight))
    return whole


def heaviest_first(content: PromptContent, weights: Mapping[str, float]) -> list[str]:
    """The asked predictors by size of weight, heaviest first; equal sizes in the order asked.

    Raises:
        PromptError: A weight is absent, not finite or beyond -100..100.
    """
    training_weights(content, weights)
    return sorted(content.asked, key=lambda name: -abs(weights[name]))


def check_options(report_format: str, report_options: str) -> None:
    """Refuse a report format or options setting that no style knows.

    Raises:
        ConfigError: One of them is none of the known ones.
    """
    for name, given, known in (
        ("report_format", report_format, ("object", "single", "ranking", "comparison")),
        ("report_options", report_options, ("shown", "none")),
    ):
        if given not in known:
            raise ConfigError(f"{name} must be one of {', '.join(known)}, got {given!r}")


def chosen_label(content: PromptContent, chosen: int) -> str:
    """The label of an option that a choice prompt shows.

    Raises:
        PromptError: It shows no such option.
    """
    n = len(content.options or ())
    if content.kind != "choice" or not 0 <= chosen < n:
        raise PromptError(f"a choice prompt with {n} options has no option number {chosen}")
    return option_label(chosen)


def _text_of(attribute: Attribute, *, bounds: bool) -> AttributeText:
    if not bounds:
        return AttributeText(attribute.name, attribute.unit)
    if attribute.levels is not None:
        return AttributeText(attribute.name, attribute.unit, (attribute.levels[0], attribute.levels[-1]))
    return AttributeText(attribute.name, attribute.unit, (attribute.low, attribute.high))


def _options(scenario: DecisionScenario, trial: Trial, order: Sequence[int]) -> tuple[tuple[float | str, ...], ...]:
    return tuple(tuple(_shown(scenario.attributes[k], option[k]) for k in order) for option in trial.values)


def _shown(attribute: Attribute, value: float) -> float | str:
    if attribute.levels is None:
        return value + 0.0  # a negative zero would be shown as "-0"
    return attribute.format(value)


def _value_of(attribute: Attribute, value: float | str) -> float:
    if attribute.levels is None:
        if isinstance(value, str):
            raise PromptError(f"attribute {attribute.name!r} is numeric, but the prompt shows {value!r}")
        return value
    if not isinstance(value, str) or value not in attribute.levels:
        raise PromptError(f"attribute {attribute.name!r} has the levels {attribute.levels}, the prompt shows {value!r}")
    return float(attribute.levels.index(value))
