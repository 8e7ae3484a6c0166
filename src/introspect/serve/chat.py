"""Chat completions: OpenAI's request into ours, our reply into OpenAI's."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from introspect.backend import Message, Reply, Request
from introspect.backend.tokens import TokenLogprob
from introspect.serve.config import ServeConfig
from introspect.serve.errors import ApiError, bad_request, of_validation
from introspect.serve.models import TOP, Answer, Desk, ModelShelf
from introspect.serve.naming import new_id

__all__ = ["Chat"]

_STOPS = 4


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class _Text(_Body):
    type: Literal["text"]
    text: str


class _Turn(_Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Text]
    name: str | None = None
    refusal: None = None

    def message(self) -> Message:
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return Message(role="system" if self.role == "developer" else self.role, content=content)


class _Schema(_Body):
    name: str = Field(max_length=64)
    description: str | None = None
    schema_: dict[str, JsonValue] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class _Format(_Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _Schema | None = None


class _Template(_Body):
    enable_thinking: bool | None = None


class _StreamOptions(_Body):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatBody(_Body):
    """What is understood of a chat request. Settings that would change an answer and that no backend of ours has are
    refused where they are set; what only concerns OpenAI's own bookkeeping is taken and does nothing."""

    model: str
    messages: list[_Turn] = Field(min_length=1)
    n: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=TOP)] | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    # Ours, and that of vLLM.
    introspect_answers: Annotated[list[str], Field(min_length=1, max_length=100)] | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool | None = None
    chat_template_kwargs: _Template | None = None
    # Bookkeeping.
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    # Known, and refused unless they say what is so anyway.
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    tools: list[JsonValue] | None = None
    tool_choice: JsonValue = None
    functions: list[JsonValue] | None = None
    function_call: JsonValue = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None
    audio: JsonValue = None
    prediction: JsonValue = None
    web_search_options: JsonValue = None
    verbosity: str | None = None

    def refusal(self) -> str | None:
        """The first setting that cannot be had."""
        wanted = {
            "top_p": self.top_p not in (None, 1),
            "frequency_penalty": self.frequency_penalty not in (None, 0),
            "presence_penalty": self.presence_penalty not in (None, 0),
            "logit_bias": bool(self.logit_bias),
            "tools": bool(self.tools),
            "tool_choice": self.tool_choice not in (None, "none", "auto"),
            "functions": bool(self.functions),
            "function_call": self.function_call not in (None, "none", "auto"),
            "modalities": self.modalities not in (None, ["text"]),
            "audio": self.audio is not None,
            "prediction": self.prediction is not None,
            "web_search_options": self.web_search_options is not None,
            "store": self.store is True,
            "verbosity": self.verbosity not in (None, "medium"),
            "reasoning_effort": self.reasoning_effort not in (None, "none"),
        }
        return next((name for name, is_wanted in wanted.items() if is_wanted), None)

    @property
    def unthinking(self) -> bool:
        """Whether reasoning is to be switched off, in OpenAI's words or in vLLM's."""
        template = self.chat_template_kwargs
        return self.reasoning_effort == "none" or (template is not None and template.enable_thinking is False)

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end an answer."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(given)


class Chat:
    """Answers chat requests.

    Args:
        models: Who is asked.
        config: Limits and defaults.
    """

    def __init__(self, models: ModelShelf, config: ServeConfig) -> None:
        self._models, self._config = models, config

    async def complete(self, raw: object) -> dict[str, Any]:
        """One whole completion.

        Raises:
            ApiError: The request is not one, asks for what this model cannot do, or the model failed on it.
        """
        body, desk = await self._read(raw)
        requests = await self._requests(body, desk)
        answers = await _gather([self._one(desk, body, request) for request in requests])
        return {
            **_head(body.model, "chat.completion"),
            "choices": [_choice(i, body, answer) for i, answer in enumerate(answers)],
            "usage": _usage([answer.reply for answer in answers]),
            "system_fingerprint": _fingerprint(desk),
        }

    async def stream(self, raw: object) -> AsyncIterator[dict[str, Any]]:
        """The same in chunks; what is wrong with the request is raised before the first of them."""
        body, desk = await self._read(raw)
        requests = await self._requests(body, desk)
        tasks = [asyncio.ensure_future(self._one(desk, body, request)) for request in requests]
        # An error can still be told with its status as long as nothing was sent.
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        return self._chunks(body, desk, tasks)

    async def _chunks(
        self, body: ChatBody, desk: Desk, tasks: Sequence[asyncio.Future[Answer]]
    ) -> AsyncIterator[dict[str, Any]]:
        usage = body.stream_options is not None and body.stream_options.include_usage
        head = {**_head(body.model, "chat.completion.chunk"), "system_fingerprint": _fingerprint(desk)}
        if usage:
            head["usage"] = None
        replies = []
        try:
            for index, task in enumerate(tasks):
                answer = await task
                replies.append(answer.reply)
                whole = _choice(index, body, answer)
                message = whole.pop("message")
                finish = whole.pop("finish_reason")
                delta = {"role": "assistant", "content": message["content"], "refusal": None}
                yield {**head, "choices": [{**whole, "delta": delta, "finish_reason": None}]}
                end = {"index": index, "delta": {}, "logprobs": None, "finish_reason": finish}
                yield {**head, "choices": [end]}
            if usage:
                yield {**head, "choices": [], "usage": _usage(replies)}
        finally:
            for task in tasks:
                task.cancel()

    async def _read(self, raw: object) -> tuple[ChatBody, Desk]:
        try:
            body = ChatBody.model_validate(raw)
        except ValidationError as error:
            raise of_validation(error) from None
        refused = body.refusal()
        if refused is not None:
            raise ApiError(
                400,
                f"Unsupported parameter: no model of this server has {refused!r}.",
                "unsupported_parameter",
                refused,
            )
        return body, await self._models.open(body.model)

    async def _requests(self, body: ChatBody, desk: Desk) -> list[Request]:
        limits = self._config.limits
        if len(body.messages) > limits.messages:
            raise bad_request(f"at most {limits.messages} messages, got {len(body.messages)}", "messages")
        n = body.n or 1
        if n > limits.n:
            raise bad_request(f"at most {limits.n} choices, got {n}", "n")
        if body.top_logprobs is not None and not body.logprobs:
            raise bad_request("top_logprobs needs logprobs to be true", "top_logprobs")
        if body.logprobs and not desk.reads_tokens and not body.introspect_answers:
            raise ApiError(
                400,
                "this model gives log-probabilities of named answers only, not of tokens: name the answers in "
                "introspect_answers, or leave logprobs out",
                "unsupported_parameter",
                "logprobs",
            )
        if body.stream_options is not None and not body.stream:
            raise bad_request("stream_options needs stream to be true", "stream_options")
        if len(body.stops) > _STOPS or not all(body.stops):
            raise bad_request(f"stop is one to {_STOPS} texts that are not empty", "stop")
        wanted = body.max_completion_tokens or body.max_tokens or self._config.default_max_tokens
        temperature = 1.0 if body.temperature is None else body.temperature
        seed = body.seed
        if seed is None and temperature > 0:
            seed = secrets.randbits(53)  # our models repeat themselves on equal requests, OpenAI's do not
        messages, prefill = self._messages(body, (await desk.capabilities()).prefill)
        request = Request(
            messages=messages,
            prefill=prefill,
            answers=None if body.introspect_answers is None else tuple(body.introspect_answers),
            max_tokens=min(wanted, limits.max_tokens),
            temperature=temperature,
            seed=seed,
            json_schema=await self._schema(body, desk),
            thinking=0 if body.unthinking else None,
        )
        return [request.model_copy(update={"sample_index": i}) for i in range(n)]

    def _messages(self, body: ChatBody, can_prefill: bool) -> tuple[tuple[Message, ...], str | None]:
        messages = tuple(turn.message() for turn in body.messages)
        if not body.continue_final_message:
            return messages, None
        if messages[-1].role != "assistant" or len(messages) < 2:
            raise bad_request("continue_final_message needs a last message of the assistant", "continue_final_message")
        if not can_prefill:
            raise ApiError(
                400, "this model cannot go on from given words", "unsupported_parameter", "continue_final_message"
            )
        return messages[:-1], messages[-1].content

    async def _schema(self, body: ChatBody, desk: Desk) -> dict[str, JsonValue] | None:
        wanted = body.response_format
        if wanted is None or wanted.type == "text":
            return None
        if not (await desk.capabilities()).json_schema:
            raise ApiError(
                400,
                f"response_format {wanted.type!r} is not supported with this model: it cannot be held to a schema",
                "unsupported_parameter",
                "response_format",
            )
        if wanted.type == "json_object":
            return {"type": "object"}
        if wanted.json_schema is None or wanted.json_schema.schema_ is None:
            raise bad_request("response_format json_schema needs a schema", "response_format.json_schema.schema")
        return wanted.json_schema.schema_

    async def _one(self, desk: Desk, body: ChatBody, request: Request) -> Answer:
        answer = await desk.ask(request, bool(body.logprobs) and desk.reads_tokens)
        reply = answer.reply
        if reply.status == "failed":
            raise ApiError(400, reply.reason or "the model failed on this request", "model_failed", "messages")
        text, prefill = reply.text, request.prefill or ""
        if prefill and text.startswith(prefill):
            text = text[len(prefill) :]  # the client has these words already
        cuts = [at for at in (text.find(stop) for stop in body.stops) if at >= 0]
        if cuts:
            reply, text = reply.model_copy(update={"status": "completed"}), text[: min(cuts)]
        return Answer(reply.model_copy(update={"text": text}), answer.tokens)


async def _gather(calls: Sequence[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """All answers; where one fails, the rest are not waited for."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl-"), "object": kind, "created": int(time.time()), "model": model}


def _fingerprint(desk: Desk) -> str:
    return f"fp_{desk.backend.info.key[:10]}"


_FINISH = {"completed": "stop", "truncated": "length", "filtered": "content_filter"}


def _choice(index: int, body: ChatBody, answer: Answer) -> dict[str, Any]:
    reply = answer.reply
    choice: dict[str, Any] = {
        "index": index,
        "message": {"role": "assistant", "content": reply.text, "refusal": None},
        "finish_reason": _FINISH[reply.status],
        "logprobs": None,
    }
    if body.logprobs:
        tokens = answer.tokens if answer.tokens is not None else _named(reply)
        shown = _cut(tokens, reply.text) if body.stops else tokens
        content = [_token(token, body.top_logprobs or 0) for token in shown]
        choice["logprobs"] = {"content": content, "refusal": None}
    if body.introspect_answers is not None:
        choice["introspect"] = {
            "answer_logprobs": reply.answer_logprobs,
            "mass_outside": reply.mass_outside,
            "logprob_floor": reply.logprob_floor,
        }
    if reply.thinking_text is not None:
        choice["message"]["reasoning_content"] = reply.thinking_text
    return choice


def _named(reply: Reply) -> tuple[TokenLogprob, ...]:
    """Named answers as the one token that the answer is; nothing where it is none of them."""
    known = reply.answer_logprobs or {}
    said = reply.text.strip()
    if said not in known:
        return ()
    return (TokenLogprob(said, known[said], tuple(sorted(known.items(), key=lambda item: -item[1]))),)


def _cut(tokens: Sequence[TokenLogprob], text: str) -> Sequence[TokenLogprob]:
    """The tokens that make up a text which was ended by a stop."""
    length = 0
    for number, token in enumerate(tokens):
        length += len(token.token)
        if length > len(text):
            return tokens[:number]
    return tokens


def _token(token: TokenLogprob, top: int) -> dict[str, Any]:
    def one(text: str, logprob: float) -> dict[str, Any]:
        # JSON has no infinity; OpenAI writes this number for what has no probability worth the name.
        return {"token": text, "logprob": max(logprob, -9999.0), "bytes": list(text.encode())}

    return {
        **one(token.token, token.logprob),
        "top_logprobs": [one(text, logprob) for text, logprob in token.top[:top] if not math.isinf(logprob)],
    }


def _usage(replies: Sequence[Reply]) -> dict[str, int]:
    # As OpenAI counts: the prompt once, the answers of all choices.
    prompt = max((reply.usage.prompt_tokens or 0 for reply in replies), default=0)
    completion = sum(reply.usage.completion_tokens or 0 for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def sse(chunk: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"data: {json.dumps(chunk, ensure_ascii=False, allow_nan=False, separators=(',', ':'))}\n\n"
