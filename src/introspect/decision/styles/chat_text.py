"""The wording of the chat prompts, and its exact inverse.

`read_text` takes a text apart by its lines, then renders what it found and compares: a prompt is read exactly
or not at all. Names, units and levels that could be mistaken for something else are written as JSON strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from introspect.decision.grid import plain
from introspect.decision.prompt import AttributeText, ChatMessage, PromptContent, ReportFormat
from introspect.decision.trial import option_label
from introspect.errors import PromptError

__all__ = ["PAIR_LABELS", "SYSTEM", "Layout", "read_text", "render_text"]

Layout = Literal["options", "rows", "lines"]
"""Option after option; attribute after attribute, the options' values side by side; or an option a line."""

SYSTEM = "You decide for people and characters in made-up situations, each time the way that one would."
"""The system message of every chat prompt."""

PAIR_LABELS = ("X", "Y")
"""Letters of the two dimensions of a comparison: not A and B, which are options."""

_CHOICE = "Task: make a choice. Reply with a single letter and nothing else."
_REPORT: dict[ReportFormat, str] = {
    "object": "Task: report on yourself. Reply with one JSON object and nothing else.",
    "single": "Task: report on yourself. Reply with one whole number and nothing else.",
    "ranking": "Task: report on yourself. Reply with one JSON array and nothing else.",
    "comparison": "Task: report on yourself. Reply with X or Y and nothing else.",
}
_FORMATS: dict[str, ReportFormat] = {line: form for form, line in _REPORT.items()}
_PLACE = ("Put yourself in the place of ", ".")
_ITEM = ("To be chosen: ", ".")
_DIMENSIONS = "What the options can differ in:"
_ASKS: dict[ReportFormat, str] = {
    "object": "Do not choose now. When you decide in this role, how heavily do you weigh each of these "
    "dimensions, going from its low end to its high end?",
    "single": "Do not choose now. When you decide in this role, how heavily do you weigh this dimension, "
    "going from its low end to its high end?",
    "ranking": "Do not choose now. When you decide in this role, which of these dimensions do you weigh more "
    "heavily than others, no matter in which direction?",
    "comparison": "Do not choose now. When you decide in this role, which of these two dimensions do you "
    "weigh more heavily, no matter in which direction?",
}
_SCALE = (
    "from -100 to 100. Above 0 means that more of it is preferred, below 0 that less of it is preferred, "
    "0 that it makes no difference; the further from 0, the more it sways you."
)
_RULES: dict[ReportFormat, str] = {
    "object": f"Give each of them a whole number {_SCALE} Use exactly the names above as the keys.",
    "single": f"Give a whole number {_SCALE}",
    "ranking": "List each of the names above exactly once, from the one that sways you most to the one that "
    "sways you least.",
    "comparison": "Answer with X or Y.",
}
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_BARE_UNIT = re.compile(r'[^\s()",]+(?: [^\s()",]+)*')
_LINE = re.compile(r'A: [-0-9"]')  # in rows, a letter follows
_JSON = json.JSONDecoder(strict=False)


def render_text(content: PromptContent, layout: Layout = "options") -> tuple[ChatMessage, ...]:
    """The messages that say this.

    In rows and lines, units stand once in the list of dimensions, so that what differs between two choices is short;
    in lines, names do too, and of a choice the options come last.

    Raises:
        PromptError: A text has a line break, or there is nothing to choose from or to report on.
    """
    lines = [
        _CHOICE if content.report_format is None else _REPORT[content.report_format],
        content.chooser.join(_PLACE),
        content.item.join(_ITEM),
        content.question,
    ]
    form = content.report_format
    brief = layout != "options" and content.options is not None
    if brief or content.options is None or any(a.bounds for a in content.attributes):
        lines += ["", _DIMENSIONS, *(f"- {_dimension(a)}" for a in content.attributes)]
    if brief and layout == "lines":
        rule = [_choice_rule(len(content.options or ()))] if form is None else []
        lines += ["", *rule, *(_line(k, values) for k, values in enumerate(content.options or ()))]
    elif brief:
        by_attribute = zip(content.attributes, zip(*(content.options or ()), strict=True), strict=True)
        lines += ["", *(_row(a, values) for a, values in by_attribute)]
    else:
        for k, option in enumerate(content.options or ()):
            lines += ["", f"{option_label(k)}:"]
            lines += [_option_line(a, value) for a, value in zip(content.attributes, option, strict=True)]
    if form is None and layout != "lines":
        lines += ["", _choice_rule(len(content.options or ()))]
    elif form is not None:
        lines.append("")
        marks = [f"{label}:" for label in PAIR_LABELS] if form == "comparison" else ["-"] * len(content.asked)
        lines.append(_ASKS[form])
        lines += [f"{mark} {_asked(name, content)}" for mark, name in zip(marks, content.asked, strict=True)]
        lines.append(_RULES[form])
    if any("\n" in line for line in lines):
        raise PromptError("choosers, items, questions, names, units and levels must not have line breaks")
    return (ChatMessage("system", SYSTEM), ChatMessage("user", "\n".join(lines)))


def read_text(messages: Sequence[ChatMessage]) -> PromptContent:
    """What the messages say; the exact inverse of `render_text`.

    Raises:
        PromptError: They were not rendered by it.
    """
    if [m.role for m in messages] != ["system", "user"] or messages[0].content != SYSTEM:
        raise PromptError("not a chat prompt of this version: expected its system message and one user message")
    text = messages[1].content
    try:
        content, layout = _read_lines(text.split("\n"))
        again = render_text(content, layout)[1].content
    except (ValueError, IndexError, KeyError) as error:
        raise PromptError(f"not a chat prompt of this version: {error} in {text[:80]!r}") from None
    if again != text:
        raise PromptError(f"not a chat prompt of this version: {_first_difference(text, again)}")
    return content


def _read_lines(lines: list[str]) -> tuple[PromptContent, Layout]:
    form = None if lines[0] == _CHOICE else _FORMATS[lines[0]]
    chooser, item, question = _between(lines[1], _PLACE), _between(lines[2], _ITEM), lines[3]
    at, dimensions = 5, []
    if lines[at] == _DIMENSIONS:
        at += 1
        while lines[at].startswith("- "):
            dimensions.append(_read_dimension(lines[at][2:]))
            at += 1
        at += 1
    options: list[tuple[float | str, ...]] = []
    while lines[at] == f"{option_label(len(options))}:":
        end = lines.index("", at)
        shown = [_read_option_line(line) for line in lines[at + 1 : end]]
        dimensions = dimensions or [AttributeText(name, unit) for name, _, unit in shown]
        options.append(tuple(value for _, value, _ in shown))
        at = end + 1
    layout: Layout = "options"
    rest = lines[at:]
    if not options and form is None and "" not in rest:  # the rule, then the options
        layout, options = "lines", [_read_values(line.partition(": ")[2], "") for line in rest[1:]]
    elif not options and "" in rest and _LINE.match(rest[0]):
        layout, end = "lines", lines.index("", at)
        options = [_read_values(line.partition(": ")[2], "") for line in lines[at:end]]
        at = end + 1
    elif not options and "" in rest:
        layout, end = "rows", lines.index("", at)
        shown_in_rows = [_read_row(line) for line in lines[at:end]]
        options, at = list(zip(*shown_in_rows, strict=True)), end + 1
    asked = [_read_asked(line) for line in lines[at + 1 : -1]] if form else []
    content = PromptContent(
        kind="choice" if form is None else "report",
        chooser=chooser,
        item=item,
        question=question,
        attributes=tuple(dimensions),
        options=tuple(options) or None,
        report_format=form,
        asked=tuple(asked),
    )
    return content, layout


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unquote(text: str) -> tuple[str, str]:
    """A JSON string at the beginning, and what follows it."""
    value, end = _JSON.raw_decode(text)
    if not isinstance(value, str):
        raise ValueError(f"expected a quoted name, got {text[:40]!r}")
    return value, text[end:]


def _choice_rule(n_options: int) -> str:
    labels = [option_label(k) for k in range(n_options)]
    if len(labels) < 2:
        raise PromptError(f"a choice prompt needs two or more options, got {n_options}")
    return f"Answer with {', '.join(labels[:-1])} or {labels[-1]}."


def _value(value: float | str) -> str:
    return _quote(value) if isinstance(value, str) else plain(value + 0.0)


def _read_value(text: str) -> tuple[float | str, str]:
    if text.startswith('"'):
        return _unquote(text)
    number = _NUMBER.match(text)
    if number is None:
        raise ValueError(f"expected a number or a quoted level, got {text[:40]!r}")
    return float(number.group()), text[number.end() :]


def _dimension(attribute: AttributeText) -> str:
    """'"rent" (euro), from 400 to 1400'."""
    line = _quote(attribute.name)
    if attribute.unit:
        unit = attribute.unit
        line += f" ({unit if _BARE_UNIT.fullmatch(unit) else _quote(unit)})"
    if attribute.bounds:
        line += f", from {_value(attribute.bounds[0])} to {_value(attribute.bounds[1])}"
    return line


def _read_dimension(line: str) -> AttributeText:
    name, rest = _unquote(line)
    unit, bounds = "", None
    if rest.startswith(' ("'):
        unit, rest = _unquote(rest[2:])
        rest = rest[1:]
    elif rest.startswith(" ("):
        unit, _, rest = rest[2:].partition(")")
    if rest:
        low, rest = _read_value(rest.removeprefix(", from "))
        high, rest = _read_value(rest.removeprefix(" to "))
        bounds = (low, high)
    return AttributeText(name, unit, bounds)


def _bare(name: str) -> str:
    return _quote(name) if name.startswith('"') or ": " in name else name


def _row(attribute: AttributeText, values: Sequence[float | str]) -> str:
    """'rent: A900 B450': a letter and a one-digit number are two tokens."""
    shown = " ".join(f"{option_label(k)}{_value(value)}" for k, value in enumerate(values))
    return f"{_bare(attribute.name)}: {shown}"


def _read_row(line: str) -> tuple[float | str, ...]:
    rest = _unquote(line)[1].removeprefix(": ") if line.startswith('"') else line.partition(": ")[2]
    return _read_values(rest)


def _line(k: int, values: Sequence[float | str]) -> str:
    """'A: 900 3': values in the order of the list of dimensions."""
    return f"{option_label(k)}: {' '.join(map(_value, values))}"


def _read_values(rest: str, label: str | None = None) -> tuple[float | str, ...]:
    """Values side by side, each after its option's letter if `label` is None."""
    values: list[float | str] = []
    while rest:
        value, rest = _read_value(rest.removeprefix(option_label(len(values)) if label is None else label))
        rest = rest.removeprefix(" ")
        values.append(value)
    return tuple(values)


def _option_line(attribute: AttributeText, value: float | str) -> str:
    """'rent: 900 euro': quoted only where something could be mistaken for something else."""
    name = _bare(attribute.name)
    text = _value(value)
    if isinstance(value, str) and value and not attribute.unit and not value.startswith('"'):
        text = text if _NUMBER.match(value) else value
    return f"{name}: {text} {attribute.unit}" if attribute.unit else f"{name}: {text}"


def _read_option_line(line: str) -> tuple[str, float | str, str]:
    if line.startswith('"'):
        name, rest = _unquote(line)
        rest = rest.removeprefix(": ")
    else:
        name, _, rest = line.partition(": ")
    if rest.startswith('"') or _NUMBER.match(rest):
        value, rest = _read_value(rest)
        return name, value, rest.removeprefix(" ")
    return name, rest, ""


def _asked(name: str, content: PromptContent) -> str:
    """The name; for a level also what it is held against."""
    attribute, equals, level = name.partition("=")
    if not equals:
        return _quote(name)
    bounds = next((a.bounds for a in content.attributes if a.name == attribute), None)
    against = f" instead of {_value(bounds[0])}" if bounds else ""
    return f"{_quote(name)} ({_quote(level)}{against})"


def _read_asked(line: str) -> str:
    return _unquote(line.partition(" ")[2])[0]


def _between(line: str, ends: tuple[str, str]) -> str:
    head, tail = ends
    if len(line) < len(head) + len(tail) or not line.startswith(head) or not line.endswith(tail):
        raise ValueError(f"expected a line '{head}...{tail}', got {line[:40]!r}")
    return line[len(head) : len(line) - len(tail)]


def _first_difference(text: str, again: str) -> str:
    for given, expected in zip(text.split("\n"), again.split("\n"), strict=False):
        if given != expected:
            return f"expected {expected[:80]!r}, got {given[:80]!r}"
    return "it has lines missing or to spare"
