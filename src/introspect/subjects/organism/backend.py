"""An organism behind the seam: text in, text out, like any other model."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import anyio
import numpy as np

from introspect.backend import Capabilities, ModelInfo, ModelRef, Reply, Request, Usage
from introspect.backend.tokens import TokenLogprob
from introspect.backend.wire import canonical
from introspect.errors import BackendError
from introspect.subjects.organism.network import MAX_LENGTH
from introspect.subjects.organism.shipped import load_base
from introspect.subjects.organism.speak import Utterance, speak
from introspect.subjects.organism.state import Organism
from introspect.subjects.organism.threads import one_thread
from introspect.subjects.organism.tokens import OUTPUTS

__all__ = ["OrganismBackend", "load_organism"]

_OUTPUT_ID = {word: i for i, word in enumerate(OUTPUTS)}
_CHUNK = 2048


def load_organism(ref: ModelRef) -> Organism:
    """The organism that a reference names, tuned or not.

    Raises:
        BackendError: Its file is missing, damaged or another one.
    """
    if ref.adapter is None:
        return load_base(ref)
    if ref.location is None:
        raise BackendError(f"{ref} is a tuned organism, but its reference does not say where its weights lie")
    return Organism.load(Path(ref.location), expected=ref.adapter)


class OrganismBackend:
    """Asks an organism.

    An organism reads the last user message and nothing else; words outside its language are names of contexts to it.
    A prompt that does not fit its context window is a failed reply.

    Args:
        ref: An organism's reference.
        organism: The organism, if it is already in memory.

    Example:
        >>> from introspect.backend import Message, Request, ask
        >>> from introspect.subjects.organism.shipped import organism_ref
        >>> prompt = "choose n0007 A p100 q50 r50 s50 t50 B p0 q50 r50 s50 t50 :"
        >>> reply, = ask(OrganismBackend(organism_ref("shared")),
        ...              [Request(messages=(Message(role="user", content=prompt),), answers=("A", "B"))])
        >>> reply.text in {"A", "B"}
        True
    """

    def __init__(self, ref: ModelRef, organism: Organism | None = None) -> None:
        self._organism = load_organism(ref) if organism is None else organism
        self._info = ModelInfo(ref=ref, context_length=MAX_LENGTH, n_parameters=self._organism.n_parameters)

    @property
    def info(self) -> ModelInfo:
        """Identity and size."""
        return self._info

    async def probe(self) -> Capabilities:
        """What an organism can do is known without asking it."""
        return Capabilities(answer_logprobs=True, complete_logprobs=True, system_role=False, seed=True)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Answer in batches, in a worker thread."""
        async with aclosing(self.generate_with_tokens(requests, 0)) as answers:
            async for index, reply, _ in answers:
                yield index, reply

    async def generate_with_tokens(
        self, requests: Sequence[Request], top: int
    ) -> AsyncGenerator[tuple[int, Reply, tuple[TokenLogprob, ...]], None]:
        """As `generate`, with the words that were said and the `top` likeliest at each; see `TokenReader`."""
        askable = []
        for index, request in enumerate(requests):
            problem = self._problem(request)
            if problem is None:
                askable.append(index)
            else:
                yield index, Reply(status="failed", reason=problem), ()
        for start in range(0, len(askable), _CHUNK):
            chunk = askable[start : start + _CHUNK]
            for item in await anyio.to_thread.run_sync(self._answer, requests, chunk, top):
                yield item

    async def aclose(self) -> None:
        """Nothing to close."""

    def _problem(self, request: Request) -> str | None:
        n_words = len(request.messages[-1].content.split())
        if request.messages[-1].role != "user":
            return "an organism answers user messages; the last message is not one"
        if n_words + 1 >= MAX_LENGTH:
            return f"the prompt has {n_words} words; an organism reads at most {MAX_LENGTH - 2}"
        if request.prefill:
            return "an organism cannot be made to start its answer with given words"
        unsayable = [a for a in request.answers or () if a not in _OUTPUT_ID]
        if unsayable:
            return f"an organism cannot say {unsayable[0]!r}, so it has no probability of that answer"
        return None

    @one_thread()
    def _answer(
        self, requests: Sequence[Request], chunk: Sequence[int], top: int
    ) -> list[tuple[int, Reply, tuple[TokenLogprob, ...]]]:
        asked = [requests[i] for i in chunk]
        prompts = [r.messages[-1].content for r in asked]
        said = speak(
            self._organism,
            prompts,
            # An answer from a closed set is one word; its probabilities need no more.
            [r.max_tokens for r in asked],
            [r.temperature for r in asked],
            [_seed(r) if r.temperature > 0 else 0 for r in asked],
            keep_rows=top > 0,
        )
        return [(chunk[k], _reply(asked[k], prompts[k], spoken), _tokens(spoken, top)) for k, spoken in said]


def _seed(request: Request) -> int:
    """Same request, same sample, in any order, batch or process."""
    text = canonical(request.model_dump(mode="json"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _reply(request: Request, prompt: str, utterance: Utterance) -> Reply:
    logprobs = outside = None
    if request.answers is not None:
        logprobs = {a: float(utterance.first[_OUTPUT_ID[a]]) for a in request.answers}
        outside = float(np.clip(1.0 - sum(np.exp(p) for p in logprobs.values()), 0.0, 1.0))
    return Reply(
        status="completed" if utterance.ended else "truncated",
        text=" ".join(utterance.words),
        answer_logprobs=logprobs,
        mass_outside=outside,
        usage=Usage(prompt_tokens=len(prompt.split()) + 1, completion_tokens=len(utterance.words) + utterance.ended),
    )


def _tokens(said: Utterance, top: int) -> tuple[TokenLogprob, ...]:
    """Words as tokens: those after the first bring their space. The end is none, unless nothing else was said."""
    tokens = []
    for place, (word, row) in enumerate(zip(said.words or ("",), said.rows, strict=False)):
        space = " " if place else ""
        likeliest = np.argsort(-row, kind="stable")[:top]
        shown = tuple((_spelled(OUTPUTS[k], space), float(row[k])) for k in likeliest)
        chosen = _OUTPUT_ID[word] if word else _OUTPUT_ID["<end>"]
        tokens.append(TokenLogprob(_spelled(word, space), float(row[chosen]), shown))
    return tuple(tokens)


def _spelled(word: str, space: str) -> str:
    return "" if word in ("", "<end>") else space + word
