"""A model on Tinker's machines behind the seam."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from introspect.backend.failures import Failure
from introspect.backend.local.chat import ChatCodec
from introspect.backend.openai.labels import Position, read_labels
from introspect.backend.streaming import as_finished
from introspect.backend.tinker.service import connect, sdk, sort_error
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request, Usage
from introspect.errors import BackendError, FatalBackendError

__all__ = ["TinkerBackend"]

_TOP = 20  # log-probabilities asked for at each sampled token


class TinkerBackend:
    """Asks a model on Tinker: a base by its name, or what `TinkerTrainer` made of it. Experimental.

    A request with `answers` gets the log-probability of each answer among the twenty likeliest tokens at the place of
    the answer. The prompt is rendered here, by the same code as in training.

    Args:
        ref: ``model`` is the base's name; ``adapter`` the path of saved sampler weights.
        service: A client of the SDK; by default one is made with the key of the environment.
        concurrency: Requests under way at once.

    Raises:
        BackendError: The reference has settings, or the base's tokenizer has no chat template.
        FatalBackendError: There is no key.
        MissingExtraError: The extra ``tinker`` is not installed.
    """

    def __init__(self, ref: ModelRef, *, service: Any = None, concurrency: int = 16) -> None:
        if ref.settings:
            raise BackendError(f"a Tinker model takes no settings, got {', '.join(sorted(ref.settings))}")
        if concurrency < 1:
            raise BackendError(f"concurrency must be at least 1, got {concurrency}")
        self._ref = ref
        self._service = connect() if service is None else service
        self._concurrency = concurrency
        self._opened: tuple[Any, ChatCodec] | None = None
        try:
            self._version = version("tinker")
        except PackageNotFoundError:
            self._version = "unknown"

    @property
    def info(self) -> ModelInfo:
        """Identity; the service is not asked."""
        return ModelInfo(ref=self._ref)

    async def probe(self) -> Capabilities:
        """Ask once and look."""
        question = Request(
            messages=(Message(role="user", content="Reply with one letter, A or B."),), answers=("A", "B"), max_tokens=4
        )
        (reply,) = [reply async for _, reply in self.generate([question])]
        _, codec = await self._client()
        return Capabilities(
            answer_logprobs=reply.answer_logprobs is not None,
            system_role=codec.system_role,
            seed=True,
            prefill=True,
            thinking="enable_thinking" in str(codec.tokenizer.chat_template),
            calls=1,
            notes=() if reply.status != "failed" else (str(reply.reason),),
        )

    def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Ask concurrently; the service batches."""
        return as_finished(self._one, requests, self._concurrency)

    async def aclose(self) -> None:
        """Forget the sampling client; the service client may be another's."""
        self._opened = None

    async def _client(self) -> tuple[Any, ChatCodec]:
        if self._opened is None:
            where = {"model_path": self._ref.adapter} if self._ref.adapter else {"base_model": self._ref.model}
            try:
                client = await self._service.create_sampling_client(**where)
                self._opened = client, ChatCodec(client.get_tokenizer())
            except BackendError:
                raise
            except Exception as error:  # the SDK raises many kinds; none of them lets a request be asked
                sorted_out = sort_error(error)
                if isinstance(sorted_out, FatalBackendError):
                    raise sorted_out from error
                raise FatalBackendError(f"cannot open {self._ref} on Tinker: {error}") from error
        return self._opened

    async def _one(self, request: Request) -> Reply:
        client, codec = await self._client()
        types = sdk().types
        if request.json_schema is not None:
            return Failure("unable").reply("Tinker enforces no JSON schema; ask without one")
        if request.messages[-1].role != "user":
            return Failure("refused").reply("the last message is not the user's; use prefill to begin the answer")
        try:
            ids = codec.prompt(request)
        except Exception as error:  # a template may raise anything about one conversation
            return Failure("refused").reply(f"cannot render the prompt: {error}")
        parameters = types.SamplingParams(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            seed=_seed(request),
            stop=sorted(codec.stop_ids),
        )
        reading = bool(request.answers) and not request.thinking
        try:
            response = await client.sample(
                prompt=types.ModelInput.from_ints(list(ids)),
                num_samples=1,
                sampling_params=parameters,
                topk_sample_logprobs=_TOP if reading else 0,
            )
        except Exception as error:  # sorted into what one reply and what the whole run can hold
            sorted_out = sort_error(error)
            if isinstance(sorted_out, FatalBackendError):
                raise sorted_out from error
            return sorted_out.reply(f"{type(error).__name__}: {error}")
        return self._reply(codec, request, len(ids), response.sequences[0], reading)

    def _reply(self, codec: ChatCodec, request: Request, asked: int, sequence: Any, reading: bool) -> Reply:
        text = codec.decode(sequence.tokens)
        found = read_labels(_positions(codec, sequence), request.answers or ()) if reading else None
        whole = sequence.stop_reason == "stop" or (reading and text.strip() in (request.answers or ()))
        return Reply(
            status="completed" if whole else "truncated",
            text=(request.prefill or "") + text,
            answer_logprobs=None if found is None else found.answer_logprobs,
            mass_outside=None if found is None else found.mass_outside,
            logprob_floor=None if found is None else found.logprob_floor,
            usage=Usage(prompt_tokens=asked, completion_tokens=len(sequence.tokens)),
            provenance={"service": "tinker", "sdk": self._version},
        )


def _positions(codec: ChatCodec, sequence: Any) -> list[Position]:
    found = []
    rows = sequence.topk_logprobs or []
    for token, own, row in zip(sequence.tokens, sequence.logprobs or [], rows, strict=False):
        listed = [(codec.tokenizer.decode([t]), min(float(p), 0.0)) for t, p in row or []]
        name = codec.tokenizer.decode([token])
        floor = min((p for _, p in listed), default=None)
        # Two tokens may read alike, so the pairs stay apart and are not put into a mapping.
        if (name, own) not in listed and token not in [t for t, _ in row or []]:
            listed.append((name, min(float(own), 0.0)))
        found.append(Position(name, min(float(own), 0.0), tuple(listed), floor))
    return found


def _seed(request: Request) -> int | None:
    """Repeats of one request are draws of their own."""
    if request.seed is None or request.temperature == 0:
        return request.seed
    mixed = hashlib.blake2b(f"{request.seed}/{request.sample_index}".encode(), digest_size=4).digest()
    return int.from_bytes(mixed, "big") >> 1
