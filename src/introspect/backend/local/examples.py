"""Training examples as tokens, checked before a single step is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from introspect.backend.local.chat import ChatCodec, TokenisedExample
from introspect.backend.training import TrainingSet
from introspect.errors import TrainingError

__all__ = ["ExampleCheck", "tokenise"]


@dataclass(frozen=True)
class ExampleCheck:
    """What a training set looks like to the model.

    Attributes:
        n_examples: Examples.
        longest: Tokens of the longest example, prompt and answer.
        longest_answer: Tokens of the longest answer, its end mark included.
        trained_tokens: Tokens that carry loss, over all examples.
        prompt_tokens: Tokens that only are read, over all examples.
    """

    n_examples: int
    longest: int
    longest_answer: int
    trained_tokens: int
    prompt_tokens: int


def tokenise(
    codec: ChatCodec, data: TrainingSet, context_length: int | None
) -> tuple[list[TokenisedExample], ExampleCheck]:
    """Tokenise all examples, and prove of each that it trains what will be asked.

    Per example: the prompt's tokens are those that asking produces; the loss lies on the answer and its end mark, on
    all of it and on nothing else; nothing is cut off.

    Raises:
        TrainingError: One of these does not hold; the example is named by its number.
    """
    examples: list[TokenisedExample] = []
    for number, example in enumerate(data, 1):
        try:
            tokens = codec.example(example)
        except TrainingError as error:
            raise TrainingError(f"example {number}: {error}") from None
        if context_length is not None and len(tokens.ids) > context_length:
            raise TrainingError(
                f"example {number} has {len(tokens.ids)} tokens, the model holds {context_length}: its answer would be "
                f"cut off. Shorten the prompt."
            )
        if not tokens.answer or tokens.labels.count(-100) != len(tokens.prompt):
            raise TrainingError(f"example {number} has no token that carries loss")
        examples.append(tokens)
    return examples, _summary(examples)


def _summary(examples: Sequence[TokenisedExample]) -> ExampleCheck:
    return ExampleCheck(
        n_examples=len(examples),
        longest=max(len(e.ids) for e in examples),
        longest_answer=max(len(e.answer) for e in examples),
        trained_tokens=sum(len(e.answer) for e in examples),
        prompt_tokens=sum(len(e.prompt) for e in examples),
    )
