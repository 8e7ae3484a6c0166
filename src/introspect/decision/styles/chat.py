"""Prompts for chat models, in plain English."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from introspect.decision.prompt import ChatMessage, Prompt, PromptContent, ReportFormat
from introspect.decision.reading import ChoiceReading, ReportReading, merge_readings
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.base import ReportOptions
from introspect.decision.styles.chat_text import PAIR_LABELS, Layout, read_text, render_text
from introspect.decision.styles.content import (
    asked_sets,
    check_options,
    chosen_label,
    content_of_choice,
    content_of_report,
    heaviest_first,
    shown_order,
    training_weights,
)
from introspect.decision.styles.letters import read_letter
from introspect.decision.styles.parse import read_ranking, read_single, read_weights
from introspect.decision.trial import Trial, option_label
from introspect.errors import ConfigError, PromptError

__all__ = ["ChatStyle"]

_VERSION = 1


@dataclass(frozen=True)
class ChatStyle:
    """Prompts for chat models: a system message, then one user message.

    A choice prompt names the chooser, what is chosen and the question, lists the options A, B, ... with their
    attributes, and asks for one letter. A report prompt shows the same, tells the model not to choose, and
    asks how heavily each dimension weighs in this role from its low to its high end: whole numbers from -100
    to 100, negative where less is preferred, as one JSON object (or as the report format says). Attributes
    with levels show their ends in report prompts, for without them a weight has no direction.

    Structure after arXiv 2505.17120, section 2.2 (the wording is our own).

    Args:
        attribute_order: List attributes as declared, or in each trial's own order.
        show_ranges: Show the ends of every attribute's range, in choices and in reports.
        report_format: "object": all weights in one JSON object. "single": one prompt per weight, answered by
            a number. "ranking": a JSON array of names, heaviest first. "comparison": one prompt per pair,
            answered by X or Y.
        report_options: Whether report prompts show a pair of options.
        layout: "options": one option after the other. "rows": the options' values side by side, an attribute a
            line, and units in a list before them. "lines": an option a line, its values in the order of a list of
            names and units before them. Fewer tokens differ between two choices, for small models on a CPU.

    Raises:
        ConfigError: A setting is none of the above.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> flat = DecisionScenario(
        ...     id="flat", chooser="Ines", item="flat", question="Which flat would Ines rent?",
        ...     attributes=[
        ...         Attribute(name="rent", unit="euro", low=400, high=1400),
        ...         Attribute(name="rooms", low=1, high=6),
        ...     ],
        ... )
        >>> style = ChatStyle()
        >>> prompt = style.choice(flat, Trial(scenario_id="flat", values=((900, 3), (450, 1))))
        >>> print(prompt.messages[1].content)
        Task: make a choice. Reply with a single letter and nothing else.
        Put yourself in the place of Ines.
        To be chosen: flat.
        Which flat would Ines rent?
        <BLANKLINE>
        A:
        rent: 900 euro
        rooms: 3
        <BLANKLINE>
        B:
        rent: 450 euro
        rooms: 1
        <BLANKLINE>
        Answer with A or B.
        >>> style.read(prompt.messages) == prompt.content
        True
        >>> style.parse_choice("I would choose B.", prompt.content)
        ChoiceReading(status='answered', chosen=1)
    """

    attribute_order: Literal["declared", "trial"] = "declared"
    show_ranges: bool = False
    report_format: ReportFormat = "object"
    report_options: ReportOptions = "shown"
    layout: Layout = "options"

    def __post_init__(self) -> None:
        if self.attribute_order not in ("declared", "trial"):
            raise ConfigError(f"attribute_order must be declared or trial, got {self.attribute_order!r}")
        if not isinstance(self.show_ranges, bool):
            raise ConfigError(f"show_ranges must be True or False, got {self.show_ranges!r}")
        if self.layout not in get_args(Layout):
            raise ConfigError(f"layout must be options, rows or lines, got {self.layout!r}")
        check_options(self.report_format, self.report_options)

    @property
    def id(self) -> str:
        """Name, version and options: part of every key and row.

        Example:
            >>> ChatStyle(show_ranges=True).id
            'chat-1(order=declared,ranges=yes,report=object,options=shown)'
        """
        ranges = "yes" if self.show_ranges else "no"
        # Only where it is not what it always was, so that what was asked before keeps its key.
        layout = "" if self.layout == "options" else f",layout={self.layout}"
        return (
            f"chat-{_VERSION}(order={self.attribute_order},ranges={ranges},"
            f"report={self.report_format},options={self.report_options}{layout})"
        )

    def choice(self, scenario: DecisionScenario, trial: Trial) -> Prompt:
        """The prompt that asks for a choice. See `PromptStyle.choice`.

        Raises:
            PromptError: Scenario and trial do not fit together.
        """
        content = content_of_choice(scenario, trial, self._order(scenario, trial), ranges=self.show_ranges)
        labels = tuple(option_label(k) for k in range(trial.n_options))
        return Prompt(render_text(content, self.layout), content, answers=labels, max_tokens=16)

    def report(self, scenario: DecisionScenario, trial: Trial | None = None) -> tuple[Prompt, ...]:
        """The prompts of one report, names in the order in which the attributes are listed. See
        `PromptStyle.report`.

        Raises:
            PromptError: Options are to be shown and there is no trial, or one that does not fit.
        """
        shown = trial if self.report_options == "shown" else None
        if self.report_options == "shown" and trial is None:
            raise PromptError(f"scenario {scenario.id!r}: reports with options shown need a trial to show")
        order = self._order(scenario, trial)
        predictors = tuple(name for k in order for name in scenario.attributes[k].predictors)
        prompts = []
        for asked in asked_sets(predictors, self.report_format):
            content = content_of_report(scenario, shown, asked, self.report_format, order, ranges=self.show_ranges)
            answers = PAIR_LABELS if self.report_format == "comparison" else None
            prompts.append(Prompt(render_text(content, self.layout), content, answers, _room(content)))
        return tuple(prompts)

    def read(self, messages: Sequence[ChatMessage]) -> PromptContent:
        """What a prompt of a chat style says, whatever this style's own options are.

        Raises:
            PromptError: The messages were not written by a chat style of this version.
        """
        return read_text(messages)

    def parse_choice(self, text: str, content: PromptContent) -> ChoiceReading:
        """Which option an answer names. What is accepted is said in `read_letter`."""
        labels = [option_label(k) for k in range(len(content.options or ()))]
        return read_letter(text, labels, content.chooser)

    def parse_report(self, texts: Sequence[str], contents: Sequence[PromptContent]) -> ReportReading:
        """What the answers to the prompts of one report mean. What is accepted is said in `styles.parse`."""
        parts = [_parse_one(text, content) for text, content in zip(texts, contents, strict=False)]
        return merge_readings(parts, len(contents))

    def answer_choice(self, content: PromptContent, chosen: int) -> str:
        """The letter of the option.

        Raises:
            PromptError: The prompt does not show that option.
        """
        return chosen_label(content, chosen)

    def answer_report(self, content: PromptContent, weights: Mapping[str, float]) -> str:
        """A compact JSON object of whole numbers; or a number, a JSON array or X or Y, as the format asks.

        Raises:
            PromptError: A weight is absent, not finite or beyond -100..100.

        Example:
            >>> from introspect.decision.prompt import AttributeText
            >>> asked = PromptContent("report", "Ines", "flat", "?", (), None, "object", ("rent", "rooms"))
            >>> ChatStyle().answer_report(asked, {"rooms": 40.2, "rent": -100})
            '{"rent":-100,"rooms":40}'
        """
        whole = training_weights(content, weights)
        if content.report_format == "single":
            return str(whole[0])
        if content.report_format == "ranking":
            return json.dumps(heaviest_first(content, weights), ensure_ascii=False)
        if content.report_format == "comparison":
            return PAIR_LABELS[content.asked.index(heaviest_first(content, weights)[0])]
        named = dict(zip(content.asked, whole, strict=True))
        return json.dumps(named, ensure_ascii=False, separators=(",", ":"))

    def _order(self, scenario: DecisionScenario, trial: Trial | None) -> tuple[int, ...]:
        order = shown_order(scenario, trial)
        return order if self.attribute_order == "trial" else tuple(range(len(order)))


def _parse_one(text: str, content: PromptContent) -> ReportReading:
    if content.report_format == "single":
        return read_single(text, content)
    if content.report_format == "ranking":
        return read_ranking(text, content)
    if content.report_format != "comparison":
        return read_weights(text, content)
    reading = read_letter(text, PAIR_LABELS, content.chooser)
    if reading.chosen is None:
        return ReportReading(reading.status, problems=(f"expected X or Y, got {text[:40]!r}",))
    heavier, lighter = content.asked[reading.chosen], content.asked[1 - reading.chosen]
    return ReportReading("answered", comparisons=((heavier, lighter),))


def _room(content: PromptContent) -> int:
    """Tokens for an answer: a model that adds a sentence or a code fence should not be cut off."""
    if content.report_format in ("single", "comparison"):
        return 32
    return 96 + sum(16 + len(name) for name in content.asked)
