"""What a prompt style is: a two-way codec between what a prompt says and how it is worded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from introspect.decision.prompt import ChatMessage, Prompt, PromptContent
from introspect.decision.reading import ChoiceReading, ReportReading
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import Trial

__all__ = ["PromptStyle", "ReportOptions"]

ReportOptions = Literal["shown", "none"]
"""Whether a report prompt shows a pair of options, as the choice prompt does."""


@runtime_checkable
class PromptStyle(Protocol):
    """Words prompts, reads them back, and reads the answers to them.

    Two promises hold for every style: ``style.read(prompt.messages) == prompt.content`` for every prompt it
    renders, and parsing the training text of an answer gives the answer back. A style holds no state that
    matters: two styles with the same `id` word every prompt alike.

    Example:
        >>> from introspect.decision.styles.organism import OrganismStyle
        >>> isinstance(OrganismStyle(), PromptStyle)
        True
    """

    @property
    def id(self) -> str:
        """Name, version and options of the style: part of every key and row."""
        ...

    def choice(self, scenario: DecisionScenario, trial: Trial) -> Prompt:
        """The prompt that asks for a choice.

        Raises:
            PromptError: Scenario and trial do not fit together, or not this style.
        """
        ...

    def report(self, scenario: DecisionScenario, trial: Trial | None = None) -> tuple[Prompt, ...]:
        """The prompts that together ask for one report of weights.

        One prompt in the formats "object" and "ranking"; one per predictor in "single"; one per pair of
        predictors in "comparison".

        Raises:
            PromptError: A trial is needed and not given, or does not fit.
        """
        ...

    def read(self, messages: Sequence[ChatMessage]) -> PromptContent:
        """What a prompt says; the exact inverse of rendering.

        Raises:
            PromptError: The messages were not written in this style.
        """
        ...

    def parse_choice(self, text: str, content: PromptContent) -> ChoiceReading:
        """What an answer to a choice prompt means. Never raises."""
        ...

    def parse_report(self, texts: Sequence[str], contents: Sequence[PromptContent]) -> ReportReading:
        """What the answers to the prompts of one `report` mean, in the same order. Never raises."""
        ...

    def answer_choice(self, content: PromptContent, chosen: int) -> str:
        """The text that a model is trained to give for a choice (0 is the first option shown)."""
        ...

    def answer_report(self, content: PromptContent, weights: Mapping[str, float]) -> str:
        """The text that a model is trained to give for these weights (rounded to whole numbers).

        Raises:
            PromptError: A weight that the prompt asks for is absent, not finite or beyond -100..100.
        """
        ...
