"""A style around a style: everything as the inner one does, but for what is overridden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from introspect.decision import DecisionScenario, PromptStyle, Trial
from introspect.decision.prompt import ChatMessage, Prompt, PromptContent
from introspect.decision.reading import ChoiceReading, ReportReading

__all__ = ["WrappedStyle"]


@dataclass(frozen=True)
class WrappedStyle:
    """What a control builds on that changes prompts and not how answers are read.

    Attributes:
        style: The inner style.
    """

    style: PromptStyle

    @property
    def id(self) -> str:
        """The inner style's; whoever changes a prompt changes the id, too."""
        return self.style.id

    def choice(self, scenario: DecisionScenario, trial: Trial) -> Prompt:
        """As the style words it."""
        return self.style.choice(scenario, trial)

    def report(self, scenario: DecisionScenario, trial: Trial | None = None) -> tuple[Prompt, ...]:
        """As the style words it."""
        return self.style.report(scenario, trial)

    def read(self, messages: Sequence[ChatMessage]) -> PromptContent:
        """As the style reads it."""
        return self.style.read(messages)

    def parse_choice(self, text: str, content: PromptContent) -> ChoiceReading:
        """As the style reads it."""
        return self.style.parse_choice(text, content)

    def parse_report(self, texts: Sequence[str], contents: Sequence[PromptContent]) -> ReportReading:
        """As the style reads it."""
        return self.style.parse_report(texts, contents)

    def answer_choice(self, content: PromptContent, chosen: int) -> str:
        """As the style answers."""
        return self.style.answer_choice(content, chosen)

    def answer_report(self, content: PromptContent, weights: Mapping[str, float]) -> str:
        """As the style answers."""
        return self.style.answer_report(content, weights)
