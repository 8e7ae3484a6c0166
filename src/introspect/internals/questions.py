"""What an explainer is asked, and the few sentences it may answer with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from introspect._random import stream
from introspect.errors import ConfigError
from introspect.internals.row_table import Row
from introspect.internals.soft_token import MARK

__all__ = ["QUESTIONS", "Question", "Said"]


@dataclass(frozen=True)
class Said:
    """What an answer was read as.

    Attributes:
        content: The answer's content; None where it cannot be read.
        changed: Which of the two sentences it was; None where the task has but one, or it cannot be read.
    """

    content: str | None
    changed: bool | None = None

    @property
    def readable(self) -> bool:
        """Whether the answer is in the grammar."""
        return self.content is not None


_TWO = re.compile(r"\s*(now|still)\s+(\S[^\n]*?)\s*\.?\s*(?:\n.*)?", re.DOTALL)
_ONE = re.compile(r"\s*(\S[^\n]*?)\s*\.?\s*(?:\n.*)?", re.DOTALL)


@dataclass(frozen=True)
class Question:
    """A question in several wordings, with a closed grammar of answers.

    Attributes:
        name: The task.
        wordings: Texts with fields in braces; `MARK` is where the vector goes.
        branches: Whether an answer is one of two sentences ("now X", "still X") or the content alone.
    """

    name: str
    wordings: tuple[str, ...]
    branches: bool

    @property
    def takes_vector(self) -> bool:
        """Whether a vector is asked about."""
        return all(MARK in wording for wording in self.wordings)

    def text(self, row: Row, seed: int = 0) -> str:
        """The question about a row, in one of its wordings, drawn by the row's key.

        Raises:
            ConfigError: The row lacks a field.
        """
        wording = self.wordings[int(stream(seed, "wording", row.key).integers(len(self.wordings)))]
        try:
            return wording.format(**row.fields)
        except KeyError as error:
            raise ConfigError(
                f"the question {self.name!r} needs the field {error}; the row has {list(row.fields)}"
            ) from None

    def answer(self, content: str, changed: bool | None = None) -> str:
        """The sentence for a content.

        Example:
            >>> QUESTIONS["patching"].answer("Rome", True), QUESTIONS["features"].answer("fruit")
            (' now Rome', ' fruit')
        """
        return f" {'now' if changed else 'still'} {content}" if self.branches else f" {content}"

    def of(self, row: Row) -> str:
        """The true answer of a row."""
        return self.answer(row.truth, row.changed)

    def read(self, text: str, contents: Sequence[str] | None = None) -> Said:
        """Read an answer; what is outside the grammar has no content.

        Args:
            text: What was said.
            contents: All contents there are; None for any.

        Example:
            >>> QUESTIONS["patching"].read(" now Rome."), QUESTIONS["patching"].read("perhaps").readable
            (Said(content='Rome', changed=True), False)
        """
        found = (_TWO if self.branches else _ONE).fullmatch(text)
        if found is None:
            return Said(None)
        content = found[2] if self.branches else found[1]
        if contents is not None and content not in contents:
            return Said(None)
        return Said(content, found[1] == "now" if self.branches else None)


_FEATURE = (
    f"Layer {{layer}}. The meaning of {MARK} in one word is",
    f"Layer {{layer}}. In one word, {MARK} stands for",
    f"Layer {{layer}}. What {MARK} is about, in one word, is",
)
QUESTIONS = {
    "planted": Question("planted", _FEATURE, branches=False),
    "features": Question("features", _FEATURE, branches=False),
    "patching": Question(
        "patching",
        (
            f"{{text}}\nWith {MARK} at{{token}} in layers {{layers}}, the next word is",
            f"{{text}}\nIf layers {{layers}} at{{token}} held {MARK}, the next word is",
            f"{{text}}\nPut {MARK} for{{token}} into layers {{layers}}; then the next word is",
        ),
        branches=True,
    ),
    "ablation": Question(
        "ablation",
        (
            '{text}\n\nHow would you answer without "{part}"? Reply "now X" if that changes your answer to X, else '
            '"still X".',
            '{text}\n\nSuppose nobody had said "{part}". Reply "still X" if you would answer X all the same, "now X" '
            "if you would change to X.",
            '{text}\n\nTake "{part}" out: what do you answer then? Reply "now X" where it becomes X, "still X" where '
            "it stays X.",
        ),
        branches=True,
    ),
}
