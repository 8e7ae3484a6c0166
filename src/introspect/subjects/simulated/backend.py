"""A simulated agent at the seam: requests in, replies out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import AsyncIterator, Sequence

from introspect.backend.wire import Capabilities, ModelInfo, ModelRef, Reply, Request, canonical
from introspect.decision.prompt import PromptContent
from introspect.decision.styles.base import PromptStyle
from introspect.errors import PromptError
from introspect.subjects.simulated.agent import SimulatedAgent
from introspect.subjects.simulated.chance import unit
from introspect.subjects.simulated.reading import read_prompt

__all__ = ["SimulatedBackend"]

_REFUSAL = "I'm sorry, but I can't help with that."
_BESIDE_THE_POINT = (
    "It depends.",
    "Hard to say, there is much to consider here.",
    "Let me think about it first.",
)
# Probability that is kept for anything but the answers, so that those of the answers never sum to more than
# 1.
_OUTSIDE = 1e-6


class SimulatedBackend:
    """A `ModelBackend` over a `SimulatedAgent`.

    Args:
        model: The agent, or a reference to one.
        styles: Prompt styles that it reads; those that ship with the library where None.

    Raises:
        BackendError: The reference is not a simulated agent's.

    Example:
        >>> from introspect.backend import Message, ask
        >>> backend = SimulatedBackend(SimulatedAgent(name="demo"))
        >>> ask(backend, [Request(messages=(Message(role="user", content="Hello!"),))])[0].status
        'failed'
    """

    def __init__(self, model: SimulatedAgent | ModelRef, styles: Sequence[PromptStyle] | None = None) -> None:
        self.agent = model if isinstance(model, SimulatedAgent) else SimulatedAgent.of(model)
        self._info = ModelInfo(ref=model if isinstance(model, ModelRef) else model.ref)
        self._styles = None if styles is None else tuple(styles)

    @property
    def info(self) -> ModelInfo:
        """The reference that it was opened with."""
        return self._info

    async def probe(self) -> Capabilities:
        """What its parameters say; no request is needed to find out."""
        return Capabilities(answer_logprobs=self.agent.logprobs, complete_logprobs=self.agent.logprobs)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Answer each request; a prompt in no known style gets a failed reply that says so."""
        from anyio.lowlevel import checkpoint

        for index, request in enumerate(requests):
            yield index, self.reply(request)
            if index % 64 == 63:
                await checkpoint()  # let a cancellation or another task in

    async def aclose(self) -> None:
        """Nothing to close."""

    def reply(self, request: Request) -> Reply:
        """The answer to one request: always the same for equal messages, seed and sample index."""
        try:
            style, content = read_prompt(request.messages, self._styles)
        except PromptError as error:
            return Reply(status="failed", reason=str(error))
        agent, prompt = self.agent, _name(request)
        if unit(agent.seed, "refuse", prompt) < agent.refusal_rate:
            return self._aside(_REFUSAL, request)
        if unit(agent.seed, "invalid", prompt) < agent.invalid_rate:
            which = int(unit(agent.seed, "aside", prompt) * len(_BESIDE_THE_POINT))
            return self._aside(_BESIDE_THE_POINT[which], request)
        if content.kind == "report":
            return Reply(status="completed", text=style.answer_report(content, agent.reported(content, prompt)))
        return self._choice(style, content, request, prompt)

    def _choice(self, style: PromptStyle, content: PromptContent, request: Request, prompt: str) -> Reply:
        logits = self.agent.felt_logits(content, prompt)
        labels = [style.answer_choice(content, k) for k in range(len(logits))]
        text = labels[logits.index(max(logits))]
        if not (self.agent.logprobs and request.answers):
            return Reply(status="completed", text=text)
        total = max(logits) + math.log(sum(math.exp(logit - max(logits)) for logit in logits))
        shown = {
            label: logit - total + math.log1p(-_OUTSIDE)
            for label, logit in zip(labels, logits, strict=True)
            if label in request.answers
        }
        outside = 1.0 - sum(math.exp(logprob) for logprob in shown.values())
        return Reply(status="completed", text=text, answer_logprobs=shown, mass_outside=max(outside, 0.0))

    def _aside(self, text: str, request: Request) -> Reply:
        if not (self.agent.logprobs and request.answers):
            return Reply(status="completed", text=text)
        # Whoever looks at log-probabilities must see that the answers were not what the agent was about to
        # say.
        each = math.log(_OUTSIDE / len(request.answers))
        shown = dict.fromkeys(request.answers, each)
        return Reply(status="completed", text=text, answer_logprobs=shown, mass_outside=1.0 - _OUTSIDE)


def _name(request: Request) -> str:
    """A name for all that an answer's noise depends on."""
    said = [[message.role, message.content] for message in request.messages]
    text = canonical([said, request.seed, request.sample_index])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
