"""A style with some of its words replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from introspect.decision import DecisionScenario, Trial
from introspect.decision.prompt import ChatMessage, Prompt, PromptContent
from introspect.errors import PromptError
from introspect.study.controls.wrapped import WrappedStyle
from introspect.study.drawing import content_hash

__all__ = ["GENERIC_JSON", "OTHER_SCALE", "PARAPHRASE", "SUPPOSED", "Reworded", "Words"]

Words = tuple[tuple[str, str], ...]

# Sentences of the chat style's prompts; a test sees to it that they still are.
_ASK = (
    "Do not choose now. When you decide in this role, how heavily do you weigh each of these dimensions, going from "
    "its low end to its high end?"
)
_MEANING = (
    "Above 0 means that more of it is preferred, below 0 that less of it is preferred, 0 that it makes no difference; "
    "the further from 0, the more it sways you."
)

PARAPHRASE: Words = (
    (
        _ASK,
        "No choice is asked for this time. In this role, how much would each feature below sway what you pick, if it "
        "rose from its lowest to its highest value?",
    ),
    (
        _MEANING,
        "Plus is for features of which you want much, minus for those of which you want little, and 0 for those that "
        "you do not care about; large numbers are for what matters most.",
    ),
)
"""The question in other words."""

OTHER_SCALE: Words = (("from -100 to 100.", "from -10 to 10."),)
"""A tenth of the scale; weights are scaled per context anyway."""

GENERIC_JSON: Words = (
    ("Task: report on yourself.", "Task: measure names."),
    (
        _ASK,
        "Do not choose now. How long is the name of each of these dimensions, in letters, as a share of the longest?",
    ),
    (
        f"Give each of them a whole number from -100 to 100. {_MEANING}",
        "Give each of them a whole number from 0 to 100, the longest 100.",
    ),
)
"""The same prompt, keys and kind of answer, and a question about something else."""

SUPPOSED: Words = (
    (
        "Task: make a choice. Reply with a single letter and nothing else.",
        "Task: foretell yourself. Suppose that the choice below were put to you on another day. Which letter would you "
        "answer then? Reply with that letter and nothing else.",
    ),
)
"""A single choice as something to foretell."""


@dataclass(frozen=True)
class Reworded(WrappedStyle):
    """A style whose prompts say some sentences otherwise.

    Args:
        style: Words everything else.
        words: (sentence, what stands in its place); each must occur in the prompts that it is for.
        name: Of the wording.

    Raises:
        PromptError: When a prompt is made that has none of the sentences, or is read that cannot be put back.

    Example:
        >>> from introspect.decision import ChatStyle, TrialGenerator, catalogue
        >>> context = catalogue()[0]
        >>> (_, trial), = TrialGenerator().trials([context], 1, rng=0)
        >>> style = Reworded(ChatStyle(), SUPPOSED, "supposed")
        >>> prompt = style.choice(context, trial)
        >>> prompt.messages[-1].content.splitlines()[0][:24], style.read(prompt.messages) == prompt.content
        ('Task: foretell yourself.', True)
    """

    words: Words
    name: str

    @property
    def id(self) -> str:
        """The style's, the wording's name and its hash."""
        return f"{self.style.id}+{self.name}({content_hash([list(pair) for pair in self.words])[7:15]})"

    def choice(self, scenario: DecisionScenario, trial: Trial) -> Prompt:
        """As the style words it, with the sentences replaced."""
        return self._said(self.style.choice(scenario, trial))

    def report(self, scenario: DecisionScenario, trial: Trial | None = None) -> tuple[Prompt, ...]:
        """As the style words it, with the sentences replaced."""
        return tuple(self._said(prompt) for prompt in self.style.report(scenario, trial))

    def read(self, messages: Sequence[ChatMessage]) -> PromptContent:
        """What the style reads once the sentences are put back."""
        text = messages[-1].content
        for own, other in reversed(self.words):
            text = text.replace(other, own)
        return self.style.read([*messages[:-1], ChatMessage(messages[-1].role, text)])

    def _said(self, prompt: Prompt) -> Prompt:
        last = prompt.messages[-1]
        text = last.content
        for own, other in self.words:
            text = text.replace(own, other)
        if text == last.content:
            raise PromptError(f"the wording {self.name!r} has nothing to replace in {text.splitlines()[0]!r}")
        return replace(prompt, messages=(*prompt.messages[:-1], ChatMessage(last.role, text)))
