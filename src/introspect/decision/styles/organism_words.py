"""The words of the organisms' language, and what scenarios, options and answers fit it."""

from __future__ import annotations

import re
from typing import NamedTuple

from introspect.decision.prompt import AttributeText, PromptContent, ReportFormat
from introspect.decision.reading import ReportReading
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.content import shown_order
from introspect.decision.trial import Trial, option_label
from introspect.errors import PromptError, ScenarioError

__all__ = [
    "CHOOSER",
    "ITEM",
    "LABELS",
    "ORGANISM_WORDS",
    "QUESTION",
    "SHOWN",
    "TEXTS",
    "Fit",
    "check_scenario",
    "format_of",
    "not_organism",
    "parse_words",
    "read_options",
    "shown_options",
]

ORGANISM_WORDS = ("p", "q", "r", "s", "t", "u")
"""Names of the attributes, in declared order."""

ITEM = "lot"
QUESTION = "Which lot does {} take?"
CHOOSER = re.compile(r"[a-z0-9-]+")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,5})")
LABELS = tuple(option_label(k) for k in range(26))
_LABEL_SET = frozenset(LABELS)
TEXTS = {word: AttributeText(word) for word in ORGANISM_WORDS}
SHOWN = {word: {float(v): f"{word}{v}" for v in range(101)} for word in ORGANISM_WORDS}
_READ = {text: (word, value) for word, table in SHOWN.items() for value, text in table.items()}


class Fit(NamedTuple):
    """What is looked up once per scenario. Holds the scenario, so that its id() stays taken."""

    scenario: DecisionScenario
    words: tuple[str, ...]
    texts: tuple[AttributeText, ...]
    tables: tuple[dict[float, str], ...]
    question: str
    asked: tuple[tuple[str, ...], ...]


def check_scenario(scenario: DecisionScenario) -> None:
    """Refuse a scenario that the language has no words for.

    Raises:
        ScenarioError: Naming the scenario, the field and what it must be.
    """
    words = tuple(a.name for a in scenario.attributes)
    if words != ORGANISM_WORDS[: len(words)]:
        raise ScenarioError(
            f"scenario {scenario.id!r}: organisms need attributes named {' '.join(ORGANISM_WORDS)} "
            f"in this order, got {', '.join(words)}; see organism_scenarios()"
        )
    for a in scenario.attributes:
        if a.kind != "numeric" or a.scale != "linear" or (a.low, a.high, a.grid.step) != (0, 100, 1) or a.unit:
            raise ScenarioError(
                f"scenario {scenario.id!r}: attribute {a.name!r} must be numeric, linear, from 0 to 100 "
                "in steps of 1 and without unit; see organism_scenarios()"
            )
    if not CHOOSER.fullmatch(scenario.chooser):
        raise ScenarioError(
            f"scenario {scenario.id!r}: the chooser must be of the characters a-z, 0-9 and '-', "
            f"got {scenario.chooser!r}"
        )
    if (scenario.item, scenario.question) != (ITEM, QUESTION.format(scenario.chooser)):
        raise ScenarioError(
            f"scenario {scenario.id!r}: item and question must be {ITEM!r} and "
            f"{QUESTION.format(scenario.chooser)!r}, for the language has no words for others; "
            "see organism_scenarios()"
        )


def shown_options(fit: Fit, trial: Trial) -> tuple[str, tuple[AttributeText, ...], tuple[tuple[float | str, ...], ...]]:
    """The words of the options, the attributes in the order shown, and the values in that order.

    Raises:
        PromptError: The trial does not fit the scenario, or shows values off the grid.
    """
    tables, texts = fit.tables, fit.texts
    rows: tuple[tuple[float, ...], ...] = trial.values
    order = shown_order(fit.scenario, trial)
    if trial.attribute_order is not None:
        tables = tuple(tables[k] for k in order)
        texts = tuple(texts[k] for k in order)
        rows = tuple(tuple(row[k] for k in order) for row in rows)
    try:
        line = "".join(
            f" {label} {' '.join([table[v] for table, v in zip(tables, row, strict=True)])}"
            for label, row in zip(LABELS, rows, strict=False)
        )
    except KeyError as error:
        raise PromptError(
            f"scenario {fit.scenario.id!r}: organisms are shown whole numbers from 0 to 100, got {error.args[0]}"
        ) from None
    return line, texts, rows


def read_options(body: list[str], line: str) -> tuple[tuple[str, ...], tuple[tuple[float | str, ...], ...] | None]:
    """Attribute names and values of the options that these words show; no values where there are no words.

    Raises:
        PromptError: The words are not options of the language.
    """
    if not body:
        return (), None
    rows: list[list[float]] = []
    names: list[list[str]] = []
    for word in body:
        if word in _LABEL_SET:
            if word != LABELS[len(rows)]:
                raise not_organism(f"option {LABELS[len(rows)]}", f"option {word} in {line[:80]!r}")
            rows.append([])
            names.append([])
            continue
        known = _READ.get(word)
        if known is None or not rows:
            raise not_organism("values like p12 after an option's label", f"{word!r} in {line[:80]!r}")
        names[-1].append(known[0])
        rows[-1].append(known[1])
    if len(rows) < 2 or any(other != names[0] for other in names) or len(set(names[0])) < len(names[0]):
        raise not_organism("two or more options with the same attributes in the same order", repr(line[:80]))
    if len(names[0]) < 2:
        raise not_organism("two or more attributes", repr(line[:80]))
    return tuple(names[0]), tuple(map(tuple, rows))


def format_of(verb: str, n_asked: int, line: str) -> ReportFormat:
    """The report format that a verb asks for.

    Raises:
        PromptError: The language has no such verb for so many words.
    """
    if verb == "weigh":
        return "single" if n_asked == 1 else "object"
    if verb == "rank" and n_asked > 1:
        return "ranking"
    if verb == "heavier" and n_asked == 2:
        return "comparison"
    raise not_organism("choose, weigh, heavier (two words) or rank", repr(line[:80]))


def parse_words(text: str, content: PromptContent) -> ReportReading:
    """What one answer to a report prompt means: whole numbers or words, in the order asked. Never raises."""
    asked = content.asked
    if len(text) > 64 + 16 * len(asked):
        return ReportReading("unparsable", problems=("the answer is longer than any that was asked for",))
    words = text.split()
    if content.report_format == "comparison":
        if len(words) == 1 and words[0] in asked:
            return ReportReading("answered", comparisons=((words[0], next(a for a in asked if a != words[0])),))
        return ReportReading("unparsable", problems=(f"expected one of {', '.join(asked)}, got {text[:40]!r}",))
    if content.report_format == "ranking":
        if sorted(words) == sorted(asked):
            return ReportReading("answered", ranking=tuple(words))
        return ReportReading("unparsable", problems=(f"expected each of {' '.join(asked)} once, got {text[:40]!r}",))
    if not words or not all(_WHOLE.fullmatch(word) for word in words) or len(words) > len(asked):
        return ReportReading("unparsable", problems=(f"expected {len(asked)} whole numbers, got {text[:40]!r}",))
    if len(words) < len(asked):
        return ReportReading("missing", problems=(f"expected {len(asked)} whole numbers, got {len(words)}",))
    raw = {name: float(word) + 0.0 for name, word in zip(asked, words, strict=True)}
    valid = {name: weight for name, weight in raw.items() if abs(weight) <= 100}
    problems = tuple(f"{name}: {raw[name]:g} is beyond -100..100" for name in raw if name not in valid)
    return ReportReading("out_of_range" if problems else "answered", valid, problems, raw)


def not_organism(expected: str, given: str) -> PromptError:
    """The error for a line that is not of this language."""
    return PromptError(f"not a prompt of the organisms' language: expected {expected}, got {given}")
