"""Is a scenario fit to be put to a model? More than being legal: usable in an experiment."""

from __future__ import annotations

import re
from collections.abc import Iterable

from introspect.decision.attribute import Attribute
from introspect.decision.leakage import check_leakage
from introspect.decision.scenario import DecisionScenario

__all__ = ["vet", "vet_against"]

_MIN_VALUES = 4
_MAX_TEXT = {"chooser": 90, "item": 50, "question": 160, "name": 45, "unit": 40}
_MAX_NUMBER = 1e7
# Words of a template that nobody filled in, and names that stand for no one.
_PLACEHOLDER = re.compile(
    r"[\[\]{}<>]|\b(?:lorem|ipsum|todo|tbd|xyz|foo|john doe|jane doe|attribute ?\d|option ?[ab]|placeholder)\b",
    re.IGNORECASE,
)
# A name that says which end is good hands the model the sign of the weight.
_VERDICT = re.compile(r"\b(?:better|worse|preferred|preference|ideal|optimal|desirable|importance)\b", re.IGNORECASE)
_SMALL_WORDS = {"a", "an", "the", "of", "who", "in", "for", "would", "which", "and", "to", "at", "on", "one"}


def vet(scenario: DecisionScenario) -> tuple[str, ...]:
    """What is wrong with a scenario, one sentence each; empty where it is fit for use.

    `DecisionScenario` refuses what cannot be rendered or measured. This looks further: at texts that are too long or
    were left as placeholders, at questions that name nobody, at attributes with hardly any values, at names that say
    which end is the good one.

    Example:
        >>> axes = [Attribute(name="ideal size", low=1, high=3, step=1), Attribute(name="price", low=5, high=90)]
        >>> lamp = DecisionScenario(id="lamp", chooser="Ada", item="lamp", question="Which lamp?", attributes=axes)
        >>> print(*vet(lamp), sep="; ")
        the question does not name the chooser; 'ideal size' has only 3 values; 'ideal size' judges its own values
    """
    found = []
    for field in ("chooser", "item", "question"):
        text = getattr(scenario, field)
        if len(text) > _MAX_TEXT[field]:
            found.append(f"the {field} is longer than {_MAX_TEXT[field]} characters")
        if _PLACEHOLDER.search(text):
            found.append(f"the {field} holds a placeholder: {text!r:.60}")
    if not scenario.question.endswith("?"):
        found.append("the question does not end in a question mark")
    if not _words(scenario.question) & _words(scenario.chooser):
        found.append("the question does not name the chooser")
    names = [_even(axis.name) for axis in scenario.attributes]
    twice = sorted({name for name in names if names.count(name) > 1})
    found += [f"two attributes are called {name!r} but for case, spaces and hyphens" for name in twice]
    return (*found, *(problem for axis in scenario.attributes for problem in _vet_axis(axis)))


def vet_against(scenario: DecisionScenario, others: Iterable[DecisionScenario]) -> tuple[str, ...]:
    """What a scenario shares with others, one sentence each: a held-out test must share nothing.

    Example:
        >>> def context(id, *names):
        ...     axes = [Attribute(name=n, low=0, high=9) for n in names]
        ...     return DecisionScenario(id=id, chooser=id, item=id, question="Which?", attributes=axes)
        >>> vet_against(context("car", "price", "speed"), [context("van", "Price", "load")])
        ("the attribute name 'price' is taken",)
    """
    report = check_leakage([scenario], others)
    shared = (
        ("id", report.scenarios),
        ("chooser", report.choosers),
        ("item", report.items),
        ("attribute name", report.attributes),
    )
    return tuple(f"the {what} {value!r} is taken" for what, values in shared for value in values)


def _vet_axis(axis: Attribute) -> list[str]:
    found = []
    for field in ("name", "unit"):
        text = getattr(axis, field)
        if len(text) > _MAX_TEXT[field]:
            found.append(f"the {field} {text!r:.30} is longer than {_MAX_TEXT[field]} characters")
        if _PLACEHOLDER.search(text):
            found.append(f"the {field} {text!r} holds a placeholder")
    if re.search(r"\d", axis.unit.replace("points of 100", "").replace("points of 10", "").replace("points of 20", "")):
        found.append(f"{axis.name!r} has a number in its unit, {axis.unit!r}")
    if axis.levels is None:
        if axis.grid.n < _MIN_VALUES:
            found.append(f"{axis.name!r} has only {axis.grid.n} values")
        if max(abs(axis.low), abs(axis.high)) > _MAX_NUMBER:
            found.append(f"{axis.name!r} reaches {max(abs(axis.low), abs(axis.high)):g}; give it a larger unit")
    if _VERDICT.search(axis.name):
        found.append(f"{axis.name!r} judges its own values")
    return found


def _words(text: str) -> set[str]:
    return {word.casefold() for word in re.findall(r"\w+", text)} - _SMALL_WORDS


def _even(text: str) -> str:
    return " ".join(re.sub(r"[\s_\-]+", " ", text).split()).casefold()
