"""What a prompt says, apart from how a style words it; and what a style makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["AttributeText", "ChatMessage", "Prompt", "PromptContent", "PromptKind", "ReportFormat"]

PromptKind = Literal["choice", "report"]
ReportFormat = Literal["object", "single", "ranking", "comparison"]


class ChatMessage(NamedTuple):
    """Role ("system", "user" or "assistant") and text."""

    role: str
    content: str


@dataclass(frozen=True)
class AttributeText:
    """One attribute as a prompt shows it.

    Attributes:
        name: As declared.
        unit: "" where there is none.
        bounds: (low, high) as shown, or None where the prompt does not show ranges.
    """

    name: str
    unit: str = ""
    bounds: tuple[float | str, float | str] | None = None


@dataclass(frozen=True)
class PromptContent:
    """All that a prompt tells a reader: the two sides of a PromptStyle meet here.

    Attributes:
        kind: A choice to make or a report to give.
        chooser: On whose behalf.
        item: What is chosen.
        question: The question as asked.
        attributes: In the order shown.
        options: One tuple of shown values per option, in the order shown (the first is "A"); None where the prompt
            shows no options. Numbers for numeric attributes, level names for others.
        report_format: How weights are to be reported; None for a choice.
        asked: The predictors whose weights are asked for, in the order asked ("name", or "name=level" for a
            categorical level against the attribute's first level); empty for a choice.
    """

    kind: PromptKind
    chooser: str
    item: str
    question: str
    attributes: tuple[AttributeText, ...]
    options: tuple[tuple[float | str, ...], ...] | None = None
    report_format: ReportFormat | None = None
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt.

    Attributes:
        messages: The chat, ending with the user's turn.
        content: What it says.
        answers: The closed set of answers, where there is one (option labels).
        max_tokens: How much room an answer needs.
        prefill: Text that the answer should start with, where the style asks for it.
    """

    messages: tuple[ChatMessage, ...]
    content: PromptContent
    answers: tuple[str, ...] | None = None
    max_tokens: int = 256
    prefill: str | None = None
