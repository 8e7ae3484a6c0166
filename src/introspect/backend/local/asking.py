"""Running one batch of prepared requests on a loaded model, and wording the replies."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from introspect._random import stream
from introspect.backend.local.answers import read_batch
from introspect.backend.local.bases import Base
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.decode import Continuation, continue_pass, exact, pick
from introspect.backend.local.forward import Pass, run_prompts
from introspect.backend.local.memory import out_of_memory
from introspect.backend.local.schemas import SchemaGuide
from introspect.backend.local.tree import Trunk, run_tree
from introspect.backend.tokens import TokenLogprob
from introspect.backend.wire import Reply, Request, Usage, canonical

_log = logging.getLogger("introspect.local")

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
        unread: Why answers that were to be read are written out.
    """

    index: int
    request: Request
    prompt: tuple[int, ...]
    openings: dict[str, tuple[int, ...]] | None
    unread: str | None = None


def answer(base: Base, model: Any, job: Sequence[Asked], trunk: Trunk) -> Iterator[tuple[int, Reply]]:
    """Replies to requests that are all read off or all written out.

    A batch too large for the memory is halved, and its replies' provenance says so.

    Args:
        base: The loaded model.
        model: Its network, with an adapter or without.
        job: What is asked.
        trunk: What the job before left, for this one to go on from.
    """
    try:
        with torch.inference_mode():
            replies = _answer(base, model, job, trunk)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        replies = None
    if replies is not None:
        yield from zip((asked.index for asked in job), replies, strict=True)
        return
    # Outside the handler, whose traceback would keep the large batch in memory.
    trunk.forget()
    if base.device.type == "cuda":
        torch.cuda.empty_cache()
    if len(job) == 1:
        tokens = len(job[0].prompt)
        reason = f"out of memory on this prompt alone ({tokens} tokens). Shorten it, or use a smaller model or dtype"
        yield job[0].index, Reply(status="failed", reason=reason)
        return
    half = (len(job) + 1) // 2
    _log.warning("out of memory on %d prompts at once; asking %d at a time", len(job), half)
    for part in (job[:half], job[half:]):
        for index, reply in answer(base, model, part, trunk):
            said = {"memory": f"too little for {len(job)} prompts at once", **reply.provenance}
            yield index, reply.model_copy(update={"provenance": said})


def opening_tokens(
    base: Base, model: Any, job: Sequence[Asked], top: int, trunk: Trunk
) -> list[tuple[int, TokenLogprob]]:
    """The token that each answer begins with, and the likeliest ones in its place; one pass over the prompts."""
    codec, found = base.codec, []
    with torch.inference_mode():
        begun = _begin(base, model, job, trunk, cache=False)
        for row, asked in enumerate(job):
            logits = begun.logits[row, -1]
            logprobs = torch.log_softmax(exact(logits), dim=-1)
            chosen = pick(logits, asked.request.temperature, _rng(asked.request))
            likeliest = torch.topk(logprobs, min(top, logprobs.numel()))
            listed = [(codec.decode([t]), p) for t, p in zip(likeliest[1].tolist(), likeliest[0].tolist(), strict=True)]
            token = TokenLogprob(codec.decode([chosen]), float(logprobs[chosen]), tuple(listed))
            found.append((asked.index, token))
    return found


def _begin(base: Base, model: Any, job: Sequence[Asked], trunk: Trunk, *, cache: bool) -> Pass:
    """Run the prompts, together as far as the model allows it."""
    prompts = [asked.prompt for asked in job]
    if base.sharing.mode == "tree":
        return run_tree(model, prompts, windows=base.sharing.windows, trunk=trunk, cache=cache, device=base.device)
    return run_prompts(model, prompts, prefix=0, keep=1, cache=cache, device=base.device)


def _answer(base: Base, model: Any, job: Sequence[Asked], trunk: Trunk) -> list[Reply]:
    reading = job[0].openings is not None
    begun = _begin(base, model, job, trunk, cache=not reading)
    if reading:
        return _read(base.codec, job, begun.logits[:, -1])
    written = continue_pass(
        model,
        begun,
        limits=[asked.request.max_tokens for asked in job],
        temperatures=[asked.request.temperature for asked in job],
        rngs=[_rng(asked.request) for asked in job],
        stops=base.codec.stop_ids,
        shrink=base.sharing.mode == "tree",
        guides=_guides(base, job),
    )
    return [_written(base.codec, asked, done) for asked, done in zip(job, written, strict=True)]


def _guides(base: Base, job: Sequence[Asked]) -> list[SchemaGuide | None]:
    if all(asked.request.json_schema is None for asked in job):
        return []
    asked_for = [(asked.request.json_schema, asked.request.prefill) for asked in job]
    return [None if schema is None else base.schemas.start(schema, prefill) for schema, prefill in asked_for]


def _read(codec: ChatCodec, job: Sequence[Asked], logits: torch.Tensor) -> list[Reply]:
    likeliest = logits.argmax(-1).tolist()
    replies = []
    for row, (asked, found) in enumerate(zip(job, read_batch(logits, [a.openings or {} for a in job]), strict=True)):
        rng = _rng(asked.request)
        token = likeliest[row] if rng is None else pick(logits[row], asked.request.temperature, rng)
        replies.append(
            Reply(
                status="completed",
                text=(asked.request.prefill or "") + codec.decode([token]),
                answer_logprobs=found[0],
                mass_outside=found[1],
                usage=Usage(prompt_tokens=len(asked.prompt), completion_tokens=1),
                provenance={"readout": "first token"},
            )
        )
    return replies


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
        provenance={} if asked.unread is None else {"readout": f"text alone: {asked.unread}"},
    )


def _rng(request: Request) -> np.random.Generator | None:
    """A stream of the request alone: the same in any batch, order or process."""
    if request.temperature == 0:
        return None
    return stream(request.seed or 0, "reply", canonical(request.model_dump(mode="json")))
