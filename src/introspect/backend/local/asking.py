"""Running one batch of prepared requests on a loaded model, and wording the replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from introspect._random import stream
from introspect.backend.local.answers import read_answers
from introspect.backend.local.bases import Base
from introspect.backend.local.batches import shared_prefix
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.decode import Continuation, continue_pass, pick
from introspect.backend.local.forward import can_share, run_prompts
from introspect.backend.tokens import TokenLogprob
from introspect.backend.wire import Reply, Request, Usage, canonical

__all__ = ["Asked", "answer", "opening_tokens"]

_THOUGHT = "</think>"


@dataclass(frozen=True)
class Asked:
    """A request made ready.

    Attributes:
        index: Its place among the requests.
        request: As it came.
        prompt: Token ids.
        openings: First tokens of its answers, where they are read off the logits; else the answer is written out.
    """

    index: int
    request: Request
    prompt: tuple[int, ...]
    openings: dict[str, tuple[int, ...]] | None


def answer(base: Base, model: Any, job: Sequence[Asked]) -> Iterator[tuple[int, Reply]]:
    """Replies to requests that are all read off or all written out; a batch too large for the memory is halved."""
    try:
        with torch.inference_mode():
            replies = _answer(base, model, job)
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        replies = None
    if replies is not None:
        yield from zip((asked.index for asked in job), replies, strict=True)
    elif len(job) == 1:
        yield job[0].index, Reply(status="failed", reason="out of memory on this prompt alone")
    else:  # outside the handler, whose traceback would keep the large batch in memory
        half = len(job) // 2
        yield from answer(base, model, job[:half])
        yield from answer(base, model, job[half:])


def opening_tokens(base: Base, model: Any, job: Sequence[Asked], top: int) -> list[tuple[int, TokenLogprob]]:
    """The token that each answer begins with, and the likeliest ones in its place; one pass over the prompts."""
    codec, prompts = base.codec, [asked.prompt for asked in job]
    prefix = shared_prefix(prompts) if can_share(base.model) else 0
    found = []
    with torch.inference_mode():
        begun = run_prompts(model, prompts, prefix=prefix, keep=1, cache=False, device=base.device)
        for row, asked in enumerate(job):
            logits = begun.logits[row, -1]
            logprobs = torch.log_softmax(logits.double(), dim=-1)
            chosen = pick(logits, asked.request.temperature, _rng(asked.request))
            likeliest = torch.topk(logprobs, min(top, logprobs.numel()))
            listed = [(codec.decode([t]), p) for t, p in zip(likeliest[1].tolist(), likeliest[0].tolist(), strict=True)]
            token = TokenLogprob(codec.decode([chosen]), float(logprobs[chosen]), tuple(listed))
            found.append((asked.index, token))
    return found


def _answer(base: Base, model: Any, job: Sequence[Asked]) -> list[Reply]:
    reading, share = job[0].openings is not None, can_share(base.model)
    prompts = [asked.prompt for asked in job]
    prefix = shared_prefix(prompts) if share else 0
    begun = run_prompts(model, prompts, prefix=prefix, keep=1, cache=not reading, device=base.device)
    if reading:
        return [_read(base.codec, asked, begun.logits[row, -1]) for row, asked in enumerate(job)]
    written = continue_pass(
        model,
        begun,
        limits=[asked.request.max_tokens for asked in job],
        temperatures=[asked.request.temperature for asked in job],
        rngs=[_rng(asked.request) for asked in job],
        stops=base.codec.stop_ids,
        shrink=share,
    )
    return [_written(base.codec, asked, done) for asked, done in zip(job, written, strict=True)]


def _read(codec: ChatCodec, asked: Asked, logits: torch.Tensor) -> Reply:
    logprobs, outside = read_answers(logits, asked.openings or {})
    token = pick(logits, asked.request.temperature, _rng(asked.request))
    return Reply(
        status="completed",
        text=(asked.request.prefill or "") + codec.decode([token]),
        answer_logprobs=logprobs,
        mass_outside=outside,
        usage=Usage(prompt_tokens=len(asked.prompt), completion_tokens=1),
        provenance={"readout": "first token"},
    )


def _written(codec: ChatCodec, asked: Asked, done: Continuation) -> Reply:
    text, thought = codec.decode(done.ids), None
    if asked.request.thinking and _THOUGHT in text:
        thought, _, text = text.partition(_THOUGHT)
        thought, text = thought.removeprefix("<think>").strip(), text.lstrip()
    return Reply(
        status="completed" if done.ended else "truncated",
        text=(asked.request.prefill or "") + text,
        thinking_text=thought,
        usage=Usage(prompt_tokens=len(asked.prompt), completion_tokens=len(done.ids) + done.ended),
    )


def _rng(request: Request) -> np.random.Generator | None:
    """A stream of the request alone: the same in any batch, order or process."""
    if request.temperature == 0:
        return None
    return stream(request.seed or 0, "reply", canonical(request.model_dump(mode="json")))
