"""The canary: does the tuned model differ from its base, on the very prompts that it was trained on?

Training runs fail silently: an adapter that is not loaded, a label mask that hides the answer, a job whose
result is the base again. All look like a model without introspection. So base and tuned are asked the same
training prompts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect._notebook import InNotebook
from introspect._random import stream
from introspect.backend.portal import collect
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Message, Reply, Request
from introspect.decision.prompt import PromptContent
from introspect.decision.styles.base import PromptStyle
from introspect.errors import TrainingError
from introspect.training.examples import Example

__all__ = ["Answers", "Canary", "ask_examples", "run_canary"]

WITHIN = 10.0
"""A reported weight within so many points of the trained one counts as right."""

_SAME_LOGPROB = 1e-6
_FEWEST = 12  # a canary of fewer prompts must not cry wolf about accuracy


class Canary(InNotebook, Checked):
    """What base and tuned model answered to a sample of the training prompts, at temperature 0.

    Attributes:
        kind: Whether choices or reports were trained.
        n: Prompts that both models replied to.
        changed: Share of them with different answers.
        logprob_change: Largest change of an answer's log-probability; None where a model gives none.
        accuracy_before: Share of right answers by the base: the trained option or order, for reports the
            share of weights within 10 points of the trained ones. What cannot be read is wrong.
        accuracy_after: The same by the tuned model.
        unread_after: Share of the tuned model's answers that could not be read.
        chance: Accuracy of guessing among the options; None for reports.

    Example:
        >>> seen = Canary(
        ...     kind="choice", n=32, changed=0.0, accuracy_before=0.5, accuracy_after=0.5, unread_after=0.0)
        >>> seen.indistinguishable
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["choice", "report"]
    n: int = Field(ge=1)
    changed: float = Field(ge=0, le=1)
    logprob_change: float | None = None
    accuracy_before: float = Field(ge=0, le=1)
    accuracy_after: float = Field(ge=0, le=1)
    unread_after: float = Field(ge=0, le=1)
    chance: float | None = None

    @property
    def indistinguishable(self) -> bool:
        """No answer differs, nor, where it can be seen, any log-probability."""
        return self.changed == 0.0 and (self.logprob_change is None or self.logprob_change <= _SAME_LOGPROB)

    @property
    def already_right(self) -> bool:
        """Whether the base gave the trained answers as it was, so that an unchanged model is no alarm."""
        return self.accuracy_before >= 0.95

    def sentences(self) -> tuple[str, ...]:
        """What should be looked at, in words; empty where all is as it should be."""
        said = []
        if self.indistinguishable:
            said.append(
                f"the tuned model gives the same answers as its base on all {self.n} training prompts that "
                f"were asked (trained answers: {100 * self.accuracy_after:.0f} %)"
            )
        elif not self.already_right and self._at_chance():
            said.append(
                f"the tuned model gives the trained answer on {100 * self.accuracy_after:.0f} % of {self.n} "
                f"training prompts (base: {100 * self.accuracy_before:.0f} %): the training did not take"
            )
        if self.unread_after > 0.5:
            said.append(f"{100 * self.unread_after:.0f} % of the tuned model's answers could not be read")
        return tuple(said)

    def _at_chance(self) -> bool:
        if self.n < _FEWEST:
            return False
        if self.chance is None:
            return self.accuracy_after <= self.accuracy_before
        return self.accuracy_after < self.chance + 2.0 * math.sqrt(self.chance * (1 - self.chance) / self.n)


async def run_canary(
    base: Callable[[], ModelBackend],
    tuned: Callable[[], ModelBackend],
    examples: Sequence[Example],
    style: PromptStyle,
    n: int = 32,
    seed: int = 0,
) -> Canary:
    """Ask both models a sample of the training prompts.

    Args:
        base: Opens the model before training.
        tuned: Opens it after. They are opened, asked and closed one after the other: two local models may not
            fit into memory together.
        examples: What was trained on.
        style: Reads the answers.
        n: How many prompts to ask, each of both models.
        seed: Draws the sample.

    Raises:
        TrainingError: There is no prompt that both models replied to.
        BackendError: A model cannot be opened.
    """
    picked = stream(seed, "canary").choice(len(examples), size=min(n, len(examples)), replace=False)
    sample = [examples[int(k)] for k in np.sort(picked)]
    requests = [_request(example) for example in sample]
    before, after = await _ask(base, requests), await _ask(tuned, requests)
    pairs = [
        (example, old, new)
        for example, old, new in zip(sample, before, after, strict=True)
        if old.status != "failed" and new.status != "failed"
    ]
    if not pairs:
        reasons = [reply.reason or reply.status for reply in (*after, *before) if reply.status == "failed"]
        raise TrainingError(
            f"after training, none of {len(sample)} training prompts got a reply from both the base and the "
            f"tuned model. First reason: {reasons[0]}"
        )
    contents = [example.prompt.content for example, _, _ in pairs]
    shifts = [shift for _, old, new in pairs if (shift := _shift(old, new)) is not None]
    kind = contents[0].kind
    return Canary(
        kind=kind,
        n=len(pairs),
        changed=float(np.mean([old.text.strip() != new.text.strip() for _, old, new in pairs])),
        logprob_change=max(shifts) if shifts else None,
        accuracy_before=float(np.mean([_right(style, e, old.text) for e, old, _ in pairs])),
        accuracy_after=float(np.mean([_right(style, e, new.text) for e, _, new in pairs])),
        unread_after=float(np.mean([not _read(style, e.prompt.content, new.text) for e, _, new in pairs])),
        chance=float(np.mean([1 / len(c.options or "AB") for c in contents])) if kind == "choice" else None,
    )


@dataclass(frozen=True)
class Answers:
    """What a model answered to choice examples.

    Attributes:
        chosen: Option by option number, -1 where none could be read.
        outside: Probability of anything but an option's letter, where the model gives it.
        accuracy: Share of the examples' own answers among them.
        log_loss: Mean of -log P(the example's answer), among the letters; None where no probabilities are given.
    """

    chosen: tuple[int, ...]
    outside: tuple[float | None, ...]
    accuracy: float
    log_loss: float | None


async def ask_examples(open_: Callable[[], ModelBackend], examples: Sequence[Example], style: PromptStyle) -> Answers:
    """Put choice examples to a model, at temperature 0."""
    replies = await _ask(open_, [_request(example) for example in examples])
    chosen = []
    for example, reply in zip(examples, replies, strict=True):
        said = style.parse_choice(reply.text, example.prompt.content)
        chosen.append(said.chosen if reply.status != "failed" and said.chosen is not None else -1)
    losses = [loss for e, r in zip(examples, replies, strict=True) if (loss := _log_loss(e.answer, r)) is not None]
    return Answers(
        chosen=tuple(chosen),
        outside=tuple(reply.mass_outside for reply in replies),
        accuracy=float(np.mean([_right(style, e, r.text) for e, r in zip(examples, replies, strict=True)])),
        log_loss=float(np.mean(losses)) if losses else None,
    )


def _log_loss(answer: str, reply: Reply) -> float | None:
    known = reply.answer_logprobs
    if not known or answer not in known:
        return None
    return float(np.logaddexp.reduce(list(known.values()))) - known[answer]


async def _ask(open_: Callable[[], ModelBackend], requests: Sequence[Request]) -> list[Reply]:
    model = open_()
    try:
        return await collect(model, requests)
    finally:
        await model.aclose()


def _request(example: Example) -> Request:
    prompt = example.prompt
    messages = tuple(Message.model_validate({"role": m.role, "content": m.content}) for m in prompt.messages)
    return Request(messages=messages, answers=prompt.answers, max_tokens=prompt.max_tokens, prefill=prompt.prefill)


def _shift(old: Reply, new: Reply) -> float | None:
    if not old.answer_logprobs or not new.answer_logprobs:
        return None
    both = set(old.answer_logprobs) & set(new.answer_logprobs)
    return max((abs(old.answer_logprobs[a] - new.answer_logprobs[a]) for a in both), default=None)


def _read(style: PromptStyle, content: PromptContent, text: str) -> bool:
    if content.kind == "choice":
        return style.parse_choice(text, content).valid
    return style.parse_report([text], [content]).valid


def _right(style: PromptStyle, example: Example, text: str) -> float:
    content = example.prompt.content
    if content.kind == "choice":
        said = style.parse_choice(text, content)
        return float(said.valid and said.chosen == style.parse_choice(example.answer, content).chosen)
    told, trained = (style.parse_report([t], [content]) for t in (text, example.answer))
    if not told.valid:
        return 0.0
    if trained.weights:
        return float(np.mean([abs(told.weights[name] - weight) <= WITHIN for name, weight in trained.weights.items()]))
    return float((told.ranking, told.comparisons) == (trained.ranking, trained.comparisons))
