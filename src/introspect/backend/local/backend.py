"""An open-weight chat model behind the seam."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from importlib.metadata import version

import anyio
import torch
from pydantic import JsonValue

from introspect.backend.local.adapters import verify_adapter
from introspect.backend.local.answers import Openings
from introspect.backend.local.asking import Asked, answer, opening_tokens
from introspect.backend.local.bases import Base, acquire, asked_dtype, pick_device, pick_dtype, weights_of
from introspect.backend.local.loading import Loading
from introspect.backend.local.packs import plan_padded, plan_tree
from introspect.backend.local.schemas import available
from introspect.backend.local.tree import Trunk
from introspect.backend.streaming import closable
from introspect.backend.tokens import TokenLogprob
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request
from introspect.errors import BackendError, MissingExtraError

__all__ = ["TransformersBackend"]

_BATCH = 64
_TOKENS = 512  # in one pass on a CPU, where more brings no speed; an accelerator is filled by more
_TOKENS_ACCELERATED = 4096


class TransformersBackend:
    """Asks a local model.

    A request with `answers` costs one forward pass: every answer's log-probability is that of the tokens that can
    begin it (``A`` and `` A``), at the place where the model would start to write; `text` is the token that it would
    write there. Answers that begin with the same token cannot be told apart so; such a request is answered in text
    alone, and its provenance says why. A request with a `json_schema` is held to it where llguidance is installed (the
    extra ``structured``), and fails where it is not: forcing a form changes what is measured, so none is by default.
    Other requests are written out, greedily at temperature 0, else from a random
    stream that depends on the request and on nothing else. A reasoning model does not think unless the request grants
    it a budget.

    Requests that begin alike share the computation of their beginning, so ask many at a time. Results depend on
    the batch only through floating-point rounding: log-probabilities in float32 to 1e-4. An architecture on which
    beginnings cannot be shared is asked without, and each reply's provenance says why.

    Args:
        ref: Base model (packaged name, folder, GGUF file or hub id), with or without an adapter.
            ``settings["dtype"]`` fixes the precision; by default it is bfloat16 where the hardware multiplies in it
            and float32 elsewhere, and each reply's provenance tells which. ``settings["device_map"]`` spreads the
            layers ("auto") and ``settings["quantize"] = "4bit"`` loads them in four bits (bitsandbytes).
        device: "cpu", "cuda", "mps", ...; the accelerator if there is one, by default.
        batch_size: Most requests in one pass.
        tokens: Most new tokens in one pass; by default what the device is fast with.

    Raises:
        BackendError: The model cannot be loaded or is not the one that the reference names.
        MissingExtraError: The extra ``local`` is not installed, or bitsandbytes where it is needed.
    """

    def __init__(
        self, ref: ModelRef, *, device: str | None = None, batch_size: int = _BATCH, tokens: int | None = None
    ) -> None:
        if batch_size < 1:
            raise BackendError(f"batch_size must be at least 1, got {batch_size}")
        if tokens is not None and tokens < 1:
            raise BackendError(f"tokens must be at least 1, got {tokens}")
        self._loading = Loading.of(ref.settings)
        self._ref = ref
        self._size = batch_size
        self._device = torch.device(device) if device else pick_device()
        self._tokens = tokens or (_TOKENS if self._device.type == "cpu" else _TOKENS_ACCELERATED)
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
        self._provenance: dict[str, JsonValue] = {
            "device": str(base.device),
            "dtype": str(self._dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "transformers": version("transformers"),
        }
        if base.sharing.reason is not None:
            self._provenance["no_sharing"] = base.sharing.reason

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
            json_schema=available(),
            thinking="enable_thinking" in str(codec.tokenizer.chat_template),
            calls=1,
            notes=() if seen else (f"no answer log-probabilities: {reply.reason or reply.provenance.get('readout')}",),
        )

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Answer batch by batch, in a worker thread."""
        jobs, failed = await anyio.to_thread.run_sync(self._plan, requests)
        for item in failed:
            yield item
        trunk = Trunk()
        for job in jobs:
            for item in await anyio.to_thread.run_sync(self._run, job, trunk):
                yield item

    async def generate_with_tokens(
        self, requests: Sequence[Request], top: int
    ) -> AsyncGenerator[tuple[int, Reply, tuple[TokenLogprob, ...]], None]:
        """As `generate`, with each answer's first token, for which prompts are run once more; see `TokenReader`."""
        tokens: dict[int, TokenLogprob] = {}
        jobs, _ = await anyio.to_thread.run_sync(self._plan, requests)
        trunk = Trunk()
        for job in jobs:
            tokens.update(await anyio.to_thread.run_sync(self._openings, job, top, trunk))
        async with aclosing(closable(self.generate(requests))) as replies:
            async for index, reply in replies:
                yield index, reply, (tokens[index],) if index in tokens else ()

    async def aclose(self) -> None:
        """Nothing to close: the base stays in memory for the next who asks it."""

    def _base(self) -> Base:
        return acquire(self._weights, self._device, self._dtype, self._loading)

    def _plan(self, requests: Sequence[Request]) -> tuple[list[list[Asked]], list[tuple[int, Reply]]]:
        base = self._base()
        codec, openings = base.codec, Openings(base.codec)
        read: list[Asked] = []
        write: list[Asked] = []
        failed = []
        for index, request in enumerate(requests):
            try:
                text = codec.prompt_text(request)
                found = openings.of(request, text)
                ids = codec.encode(text)
                if isinstance(found, str):
                    asked = Asked(index, request, ids, None, found)
                else:
                    asked = Asked(index, request, ids, found)
                problem = self._problem(asked)
            except Exception as error:  # a template may raise anything about one conversation; the others go on
                problem = f"cannot render the prompt: {error}"
            if problem is not None:
                failed.append((index, Reply(status="failed", reason=problem)))
            else:
                (write if asked.openings is None else read).append(asked)
        # Each token written costs a pass over all weights, so those who write go in larger company.
        return [*self._split(read, base, self._tokens), *self._split(write, base, 4 * self._tokens)], failed

    def _split(self, group: list[Asked], base: Base, tokens: int) -> list[list[Asked]]:
        prompts = [asked.prompt for asked in group]
        if base.sharing.mode == "tree":
            batches = plan_tree(prompts, tokens=tokens, size=self._size)
        else:
            batches = plan_padded(prompts, tokens=4 * tokens, size=self._size, equal=base.sharing.mode == "equal")
        return [[group[i] for i in batch] for batch in batches]

    def _problem(self, asked: Asked) -> str | None:
        if asked.request.messages[-1].role != "user":
            return "the last message is not the user's; use prefill to begin the answer"
        schema = asked.request.json_schema
        if schema is not None and asked.openings is None:
            try:
                self._base().schemas.start(schema, asked.request.prefill)
            except (BackendError, MissingExtraError) as error:
                return str(error)
        limit = self._info.context_length
        room = asked.request.max_tokens if asked.openings is None else 1
        if limit is not None and len(asked.prompt) + room > limit:
            return f"the prompt has {len(asked.prompt)} tokens, the answer may need {room}, the model holds {limit}"
        return None

    def _openings(self, job: list[Asked], top: int, trunk: Trunk) -> list[tuple[int, TokenLogprob]]:
        base = self._base()
        with base.wearing(self._weights) as model:
            return opening_tokens(base, model, job, top, trunk)

    def _run(self, job: list[Asked], trunk: Trunk) -> list[tuple[int, Reply]]:
        base = self._base()
        with base.wearing(self._weights) as model:
            return [
                (index, reply.model_copy(update={"provenance": {**self._provenance, **reply.provenance}}))
                for index, reply in answer(base, model, job, trunk)
            ]
