"""An open-weight chat model behind the seam."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from importlib.metadata import version

import anyio
import torch

from introspect.backend.local.adapters import verify_adapter
from introspect.backend.local.answers import Openings
from introspect.backend.local.asking import Asked, answer, opening_tokens
from introspect.backend.local.bases import Base, acquire, asked_dtype, pick_device, pick_dtype, weights_of
from introspect.backend.local.batches import plan_batches
from introspect.backend.local.forward import can_share
from introspect.backend.streaming import closable
from introspect.backend.tokens import TokenLogprob
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request
from introspect.errors import BackendError

__all__ = ["TransformersBackend"]

_BATCH = 32


class TransformersBackend:
    """Asks a local model.

    A request with `answers` costs one forward pass: every answer's log-probability is that of the tokens that can
    begin it (``A`` and `` A``), at the place where the model would start to write; `text` is the token that it would
    write there. Answers that begin with the same token cannot be told apart so; such a request is answered in text
    alone. Other requests are written out, greedily at temperature 0, else from a random stream that depends on the
    request and on nothing else. A reasoning model does not think unless the request grants it a budget.

    Requests that begin alike share the computation of their beginning, so ask many at a time. Results depend on
    the batch only through floating-point rounding.

    Args:
        ref: Base model (packaged name, folder or hub id), with or without an adapter. ``settings["dtype"]`` fixes
            the precision; by default it is bfloat16 where the hardware multiplies in it and float32 elsewhere, and
            each reply's provenance tells which.
        device: "cpu", "cuda", ...; the accelerator if there is one, by default.
        batch_size: Most requests in one pass.

    Raises:
        BackendError: The model cannot be loaded or is not the one that the reference names.
        MissingExtraError: The extra ``local`` is not installed.
    """

    def __init__(self, ref: ModelRef, *, device: str | None = None, batch_size: int = _BATCH) -> None:
        if batch_size < 1:
            raise BackendError(f"batch_size must be at least 1, got {batch_size}")
        unknown = set(ref.settings) - {"dtype"}
        if unknown:
            raise BackendError(f"unknown settings of a transformers model: {', '.join(sorted(unknown))}; known: dtype")
        self._ref = ref
        self._size = batch_size
        self._device = torch.device(device) if device else pick_device()
        self._dtype = pick_dtype(self._device, asked_dtype(ref))
        self._weights = weights_of(ref)
        if self._weights.adapter is not None and self._weights.digest is not None:
            verify_adapter(self._weights.adapter, self._weights.digest)
        base = self._base()
        self._info = ModelInfo(
            ref=ref,
            context_length=base.context_length,
            n_parameters=sum(p.numel() for p in base.model.parameters()),
        )
        self._provenance = {
            "device": str(self._device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "transformers": version("transformers"),
        }

    @property
    def info(self) -> ModelInfo:
        """Identity and size."""
        return self._info

    async def probe(self) -> Capabilities:
        """Ask once and look."""
        question = Request(
            messages=(Message(role="user", content="Reply with one letter, A or B."),), answers=("A", "B"), max_tokens=1
        )
        (reply,) = [reply async for _, reply in self.generate([question])]
        seen = reply.answer_logprobs is not None
        codec = await anyio.to_thread.run_sync(lambda: self._base().codec)
        return Capabilities(
            answer_logprobs=seen,
            complete_logprobs=seen,
            system_role=codec.system_role,
            seed=True,
            prefill=True,
            json_schema=False,
            thinking="enable_thinking" in str(codec.tokenizer.chat_template),
            calls=1,
            notes=() if seen else (f"no answer log-probabilities: {reply.reason or 'A and B begin alike'}",),
        )

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Answer batch by batch, in a worker thread."""
        jobs, failed = await anyio.to_thread.run_sync(self._plan, requests)
        for item in failed:
            yield item
        for job in jobs:
            for item in await anyio.to_thread.run_sync(self._run, job):
                yield item

    async def generate_with_tokens(
        self, requests: Sequence[Request], top: int
    ) -> AsyncGenerator[tuple[int, Reply, tuple[TokenLogprob, ...]], None]:
        """As `generate`, with each answer's first token, for which prompts are run once more; see `TokenReader`."""
        tokens: dict[int, TokenLogprob] = {}
        jobs, _ = await anyio.to_thread.run_sync(self._plan, requests)
        for job in jobs:
            tokens.update(await anyio.to_thread.run_sync(self._openings, job, top))
        async with aclosing(closable(self.generate(requests))) as replies:
            async for index, reply in replies:
                yield index, reply, (tokens[index],) if index in tokens else ()

    async def aclose(self) -> None:
        """Nothing to close: the base stays in memory for the next who asks it."""

    def _base(self) -> Base:
        return acquire(self._weights, self._device, self._dtype)

    def _plan(self, requests: Sequence[Request]) -> tuple[list[list[Asked]], list[tuple[int, Reply]]]:
        base = self._base()
        codec, openings = base.codec, Openings(base.codec)
        read: list[Asked] = []
        write: list[Asked] = []
        failed = []
        for index, request in enumerate(requests):
            try:
                text = codec.prompt_text(request)
                asked = Asked(index, request, codec.encode(text), openings.of(request, text))
                problem = self._problem(asked)
            except Exception as error:  # a template may raise anything about one conversation; the others go on
                problem = f"cannot render the prompt: {error}"
            if problem is not None:
                failed.append((index, Reply(status="failed", reason=problem)))
            else:
                (write if asked.openings is None else read).append(asked)
        share = can_share(base.model)
        jobs = []
        for group in (read, write):
            batches = plan_batches([a.prompt for a in group], size=self._size, share=share)
            jobs += [[group[i] for i in batch] for batch in batches]
        return jobs, failed

    def _problem(self, asked: Asked) -> str | None:
        if asked.request.messages[-1].role != "user":
            return "the last message is not the user's; use prefill to begin the answer"
        limit = self._info.context_length
        room = asked.request.max_tokens if asked.openings is None else 1
        if limit is not None and len(asked.prompt) + room > limit:
            return f"the prompt has {len(asked.prompt)} tokens, the answer may need {room}, the model holds {limit}"
        return None

    def _openings(self, job: list[Asked], top: int) -> list[tuple[int, TokenLogprob]]:
        base = self._base()
        with base.wearing(self._weights) as model:
            return opening_tokens(base, model, job, top)

    def _run(self, job: list[Asked]) -> list[tuple[int, Reply]]:
        base = self._base()
        with base.wearing(self._weights) as model:
            return [
                (index, reply.model_copy(update={"provenance": {**self._provenance, **reply.provenance}}))
                for index, reply in answer(base, model, job)
            ]
