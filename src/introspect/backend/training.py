"""What crosses the seam on the way into a model: examples and how to train on them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field, JsonValue

from introspect._checked import Checked
from introspect._notebook import frame_of, short_repr
from introspect.backend.wire import Message, canonical
from introspect.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrainingExample", "TrainingSet", "TrainingSpec"]


class TrainingExample(Checked):
    """A conversation whose last message is the assistant's answer, the only part that is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: tuple[Message, ...] = Field(min_length=2)

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All but the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The text that is trained on."""
        return self.messages[-1].content


class TrainingSet(Sequence[TrainingExample]):
    """Training examples as JSON Lines of messages, identified by the hash of their contents.

    Args:
        examples: Each ends with a non-empty assistant message.

    Raises:
        TrainingError: No examples, or one that does not end with an answer.

    Example:
        >>> data = TrainingSet([TrainingExample(messages=(Message(role="user", content="A or B?"),
        ...                                               Message(role="assistant", content="A")))])
        >>> TrainingSet.from_jsonl(data.to_jsonl()).hash == data.hash
        True
    """

    def __init__(self, examples: Sequence[TrainingExample]) -> None:
        self._examples = tuple(examples)
        if not self._examples:
            raise TrainingError("a training set needs at least one example")
        for number, example in enumerate(self._examples, 1):
            if example.messages[-1].role != "assistant" or not example.answer:
                raise TrainingError(f"example {number} does not end with a non-empty assistant message")

    def __len__(self) -> int:
        return len(self._examples)

    def __iter__(self) -> Iterator[TrainingExample]:
        return iter(self._examples)

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self)} examples")

    def to_frame(self) -> pd.DataFrame:
        """One row per example: what was asked last, and the answer that is trained on."""
        return frame_of({"prompt": e.prompt[-1].content, "answer": e.answer} for e in self)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # slices and ints, as tuple does
        return self._examples[index]

    @property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON lines, so equal content means equal hash wherever it lies."""
        return "sha256:" + hashlib.sha256(self.to_jsonl().encode()).hexdigest()

    def to_jsonl(self) -> str:
        """One ``{"messages": [...]}`` object a line, the format fine-tuning services take."""
        return "".join(canonical(e.model_dump(mode="json")) + "\n" for e in self._examples)

    @classmethod
    def from_jsonl(cls, text: str) -> TrainingSet:
        """Read JSON Lines; a broken line is named by its number."""
        examples = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    examples.append(TrainingExample.model_validate_json(line))
                except ConfigError as error:
                    raise TrainingError(f"line {number} is not a training example: {error}") from None
        return cls(examples)

    def save(self, path: Path | str) -> None:
        """Write JSON Lines, whole or not at all."""
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        partial.write_text(self.to_jsonl(), encoding="utf-8")
        partial.replace(target)

    @classmethod
    def load(cls, path: Path | str) -> TrainingSet:
        """Read JSON Lines from a file."""
        return cls.from_jsonl(Path(path).read_text(encoding="utf-8"))


class TrainingSpec(Checked):
    """How to train. Only what all trainers share has a name; the rest goes to `extra`, and into the hash.

    Attributes:
        epochs: Passes over the data.
        batch_size: Examples a gradient step.
        learning_rate: Peak learning rate.
        method: "lora" or "full"; an organism knows only "full".
        lora_rank: Rank of the low-rank update.
        lora_alpha: Its scale; twice the rank where None.
        seed: Order of examples and initialisation.
        schedule: Learning-rate schedule.
        max_steps: Stop after so many gradient steps, if given.
        extra: Settings of one trainer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=3, ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    method: Literal["lora", "full"] = "lora"
    lora_rank: int = Field(default=32, ge=1)
    lora_alpha: int | None = None
    seed: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine", "one-cycle"] = "cosine"
    max_steps: int | None = Field(default=None, ge=1)
    extra: dict[str, JsonValue] = Field(default_factory=dict)

    def steps(self, n_examples: int) -> int:
        """Gradient steps that training on so many examples takes.

        Example:
            >>> TrainingSpec(epochs=3, batch_size=8).steps(20)
            9
        """
        planned = self.epochs * -(-n_examples // self.batch_size)
        return planned if self.max_steps is None else min(planned, self.max_steps)
