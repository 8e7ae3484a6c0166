"""A model that Inspect (`inspect_ai`) can reach, as a backend. Needs the extra ``inspect``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from introspect.backend.failures import Failure
from introspect.backend.openai.parse import read_choice
from introspect.backend.protocol import ModelBackend
from introspect.backend.registry import Provider
from introspect.backend.secrets import scrub
from introspect.backend.streaming import as_finished
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request, Usage
from introspect.errors import BackendError, FatalBackendError, MissingExtraError

__all__ = ["PROVIDER", "InspectBackend"]

TOP = 20
_DOOMED = frozenset({401, 403, 404})
_ENDS = {"stop": "stop", "max_tokens": "length", "model_length": "length", "content_filter": "content_filter"}


class InspectBackend:
    """Asks any model that Inspect can name, through Inspect's own provider.

    Inspect's retries are switched off: `introspect.backend.open_model` puts its own around, which know about
    budgets and stop where asking again cannot help. Inspect's cache is not used.

    Args:
        ref: ``model`` is Inspect's name, as ``openai/gpt-4o-mini`` or ``mockllm/model``; ``location`` the server's
            address, where the provider takes one; ``settings`` are the provider's own arguments (``-M`` on Inspect's
            command line).
        model: An opened `inspect_ai.model.Model` to use as it is.
        concurrency: Requests under way at once.

    Raises:
        MissingExtraError: inspect_ai is not installed.
        FatalBackendError: Inspect cannot open the model: an unknown provider, a missing key or package.

    Example:
        >>> from introspect.backend import known_providers
        >>> ref = ModelRef(provider="inspect", model="openai/gpt-4o-mini")    # open_model(ref) needs OPENAI_API_KEY
        >>> ref.provider in known_providers()
        True
    """

    def __init__(self, ref: ModelRef, *, model: Any = None, concurrency: int = 16) -> None:
        if concurrency < 1:
            raise BackendError(f"concurrency must be at least 1, got {concurrency}")
        self._info, self._concurrency = ModelInfo(ref=ref), concurrency
        self._model = model if model is not None else _opened(ref)
        self._capabilities: Capabilities | None = None

    @property
    def info(self) -> ModelInfo:
        """Identity: the reference, as given."""
        return self._info

    async def probe(self) -> Capabilities:
        """See, in one or two short calls, whether log-probabilities come; asked again, it costs nothing."""
        if self._capabilities is None:
            question = Request(
                messages=(Message(role="user", content="Reply with the letter A and nothing else."),),
                answers=("A", "B"),
                max_tokens=8,
            )
            reply, calls = await self._ask(question, graded=True), 1
            seen = reply.answer_logprobs is not None
            notes: tuple[str, ...] = ()
            if not seen:
                notes = ("no log-probabilities came: choices are read from the text",)
                if reply.status == "failed":
                    plain, calls = await self._ask(question, graded=False), 2
                    if plain.status == "failed":  # not the log-probabilities' fault, and perhaps not for good
                        return Capabilities(answer_logprobs=False, calls=calls, notes=(str(plain.reason),))
            self._capabilities = Capabilities(answer_logprobs=seen, calls=calls, notes=notes)
        return self._capabilities

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Ask up to `concurrency` requests at once, each one time, and yield replies as they finish.

        Raises:
            FatalBackendError: Bad key, no permission, no such model; after the replies under way were delivered.
        """
        graded = any(request.answers for request in requests) and (await self.probe()).answer_logprobs

        async def one(request: Request) -> Reply:
            return await self._ask(request, graded)

        async with aclosing(as_finished(one, requests, self._concurrency)) as replies:
            async for pair in replies:
                yield pair

    async def aclose(self) -> None:
        """Nothing to let go of: Inspect keeps its connections for whoever else uses this model."""

    async def _ask(self, request: Request, graded: bool) -> Reply:
        if request.prefill is not None or request.json_schema is not None:
            return Failure("unable").reply("the bridge to Inspect begins no answers and enforces no schema")
        from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig

        kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
        settings: dict[str, Any] = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "max_retries": 0,
            "max_connections": self._concurrency,
        }
        if request.seed is not None:
            settings["seed"] = request.seed + request.sample_index
        if request.thinking:
            settings["reasoning_tokens"] = request.thinking
        elif request.thinking == 0:
            settings["reasoning_effort"] = "none"
        if graded and request.answers:
            settings |= {"logprobs": True, "top_logprobs": TOP}
        try:
            output = await self._model.generate(
                [kinds[message.role](content=message.content) for message in request.messages],
                config=GenerateConfig(**settings),
                cache=False,
            )
        except Exception as error:
            return self._failed(error)
        return reply_of(output, request)

    def _failed(self, error: Exception) -> Reply:
        status = getattr(error, "status_code", None)
        said = scrub(f"{type(error).__name__}: {error}", 600)
        if status in _DOOMED:
            raise FatalBackendError(f"{self._info.ref}: {said}") from None
        if status == 429:
            return Failure("rate limited").reply(said)
        try:
            again = bool(self._model.api.should_retry(error))
        except Exception:
            again = False
        return Failure("overloaded" if again else "refused").reply(said)


def reply_of(output: Any, request: Request) -> Reply:
    """What Inspect's `ModelOutput` says, as a reply.

    Args:
        output: `inspect_ai.model.ModelOutput`.
        request: What was asked.
    """
    if output.error and output.empty:
        return Failure("refused").reply(str(output.error))
    if output.empty:
        return Failure("malformed", charged=True).reply("Inspect's output holds no choice")
    choice = output.choices[0]
    thought = "".join(part.reasoning for part in _parts(choice.message) if getattr(part, "type", "") == "reasoning")
    usage = Usage()
    if output.usage is not None:
        read = output.usage.input_tokens + (output.usage.input_tokens_cache_read or 0)
        usage = Usage(prompt_tokens=read, completion_tokens=output.usage.output_tokens)
    # Inspect keeps log-probabilities in OpenAI's shape, so they are read by what reads those.
    message = {"content": choice.message.text, "reasoning": thought}
    shaped = {
        "message": message,
        "finish_reason": _ENDS.get(choice.stop_reason, "stop"),
        "logprobs": choice.logprobs.model_dump() if choice.logprobs is not None else None,
    }
    reply, _ = read_choice(shaped, request, usage, {"served_by": output.model})
    return reply


def _parts(message: Any) -> Sequence[Any]:
    return message.content if isinstance(message.content, list) else ()


def _opened(ref: ModelRef) -> Any:
    try:
        from inspect_ai.model import get_model
    except ImportError:
        raise MissingExtraError("inspect_ai", "inspect") from None
    try:
        return get_model(ref.model, base_url=ref.location, memoize=False, **ref.settings)
    except Exception as error:  # Inspect raises errors of its own for unknown names, missing keys and packages
        raise FatalBackendError(f"Inspect cannot open {ref.model!r}: {scrub(str(error), 600)}") from None


def _open(ref: ModelRef) -> ModelBackend:
    return InspectBackend(ref)


PROVIDER = Provider(open=_open, hosted=True)
