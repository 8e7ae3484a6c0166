"""A model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pydantic import JsonValue

from introspect.backend.failures import Failure
from introspect.backend.openai.address import Address
from introspect.backend.openai.body import MORE_LOGPROBS, TOP_LOGPROBS, Manners, body_of
from introspect.backend.openai.client import make_client, needed_key
from introspect.backend.openai.discovery import dialect_of
from introspect.backend.openai.failing import sort_error
from introspect.backend.openai.once import Once
from introspect.backend.openai.parse import Unreadable, read_body, read_choice, usage_of
from introspect.backend.openai.probing import Findings
from introspect.backend.rates import RateLimits
from introspect.backend.secrets import Secret
from introspect.backend.streaming import closable
from introspect.backend.wire import Capabilities, ModelInfo, ModelRef, Reply, Request
from introspect.backend.wrapping import generate_each
from introspect.errors import BackendError, FatalBackendError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["OpenAIBackend"]

_COPIES = 8  # samples in one call; more than some servers have slots for
_CONCESSIONS = 6  # how often one request is worded otherwise after a refusal
_STEPS = (TOP_LOGPROBS, 5, 0)  # how many log-probabilities are asked for after a server refused more


class OpenAIBackend:
    """Asks OpenAI, Azure OpenAI or any compatible server (vLLM, llama.cpp, Ollama, LM Studio, OpenRouter, ...).

    A request with `answers` gets each answer's log-probability where the server gives any; tokens that differ by white
    space alone are summed. What servers only pretend to do is *verified* before it is relied on: a request with a JSON
    schema or a prefilled answer comes back as failed where the server was seen to ignore them.

    This is one attempt per request. `introspect.backend.open_model` puts retries and rate limits around it.

    Args:
        ref: ``model`` is the name that the server knows (``adapter`` where it is set: a tuned model's name), and
            ``location`` the server's address, by default ``OPENAI_BASE_URL`` or OpenAI's own. The address is not
            part of the model's identity.
        key: By default taken from the environment; see `introspect.backend.secrets.key_names`.
        concurrency: Requests under way at once.
        timeout: Seconds until an answer has to be complete.
        connect_timeout: Seconds until a connection has to stand.
        proxy: Address of a proxy, instead of the environment's.

    Attributes:
        calls: Completions asked for so far, those of `probe` and failed ones included.

    Raises:
        BackendError: The reference has settings, or a number is out of range.
        ConfigError: The address is none.
        FatalBackendError: The service needs a key and there is none.

    Example:
        >>> ref = ModelRef(provider="openai", model="smollm2", location="http://localhost:8000/v1")
        >>> moved = ref.model_copy(update={"location": "http://localhost:9000/v1"})
        >>> OpenAIBackend(ref).info.key == OpenAIBackend(moved).info.key
        True
    """

    def __init__(
        self,
        ref: ModelRef,
        *,
        key: Secret | str | None = None,
        concurrency: int = 16,
        timeout: float = 300.0,
        connect_timeout: float = 10.0,
        proxy: str | None = None,
    ) -> None:
        if ref.settings:
            raise BackendError(
                f"an openai model takes no settings, got {', '.join(sorted(ref.settings))}; its address goes into "
                f"`location`"
            )
        if concurrency < 1 or not timeout > 0 or not connect_timeout > 0:
            raise BackendError("concurrency, timeout and connect_timeout must be positive")
        self.address = Address.of(ref.location)
        self.calls = 0
        self._key = needed_key(self.address, key)
        self._info = ModelInfo(ref=ref)
        self._model = ref.adapter or ref.model
        self._concurrency, self._timeout, self._connect_timeout, self._proxy = (
            concurrency,
            timeout,
            connect_timeout,
            proxy,
        )
        # A client belongs to the event loop that it was first used in.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()
        modern = self.address.dialect in ("openai", "azure")
        self.manners = Manners(dialect=self.address.dialect, modern_limit=modern)
        self._kind = Once(partial(dialect_of, self.address, self._key))
        if self.address.dialect != "plain":
            self._kind.replace(self.address.dialect)
        self._gives_logprobs: bool | None = None
        self._limits: RateLimits | None = None
        self.findings = Findings(self)

    @property
    def info(self) -> ModelInfo:
        """Identity: the reference, as given."""
        return self._info

    @property
    def model(self) -> str:
        """The name that the server is asked for."""
        return self._model

    @property
    def concurrency(self) -> int:
        """Requests under way at once."""
        return self._concurrency

    @property
    def copies(self) -> int:
        """Samples in one call: more than one only where `probe` saw the server honour ``n``."""
        return _COPIES if self.findings.holds("n") else 1

    @property
    def limits(self) -> RateLimits | None:
        """What the server's last answer said about its rate limits."""
        return self._limits

    async def probe(self) -> Capabilities:
        """See what the server really does, in about ten short calls; asked again, it costs nothing.

        Raises:
            BackendError: The server cannot be asked.
        """
        await self._meet()
        capabilities = await self.findings.all()
        self._gives_logprobs = capabilities.answer_logprobs
        return capabilities

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Ask up to `concurrency` requests at once, each one time, and yield replies as they finish.

        Raises:
            FatalBackendError: Bad key, no permission, out of credit, no such model; after the replies under way were
                delivered.
        """
        async with aclosing(closable(generate_each(self, requests))) as replies:
            async for pair in replies:
                yield pair

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """Replies to one request, or to several that differ by their sample index alone."""
        await self._meet()
        lacking = await self._lacking(asked[0])
        if lacking is not None:
            return [Failure("unable").reply(f"{self.address} {lacking}")] * len(asked)
        replies = await self._ask(asked)
        if len(replies) < len(asked):  # fewer samples than asked for: ask for the others one by one
            for request in asked[len(replies) :]:
                replies += await self._ask([request])
        return replies

    async def body(self, request: Request) -> dict[str, Any] | Reply:
        """What the server would be sent for a request, or a failed reply where it is known not to do what is asked."""
        await self._meet()
        lacking = await self._lacking(request)
        if lacking is not None:
            return Failure("unable").reply(f"{self.address} {lacking}")
        return body_of(request, self._model, self.manners)

    async def read(self, answer: dict[str, Any], request: Request, told: dict[str, JsonValue]) -> Reply:
        """The reply in a completion's JSON that came on another way than `post`."""
        reply, with_logprobs = read_choice(
            answer["choices"][0], request, usage_of(answer, 1), {**told, **_signed(answer)}
        )
        return await self._believed(reply, with_logprobs, request)

    async def aclose(self) -> None:
        """Close the connections of this event loop; those of loops that are gone went with them."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for one completion and give the JSON that came back, whatever choices it holds.

        Raises:
            Unreadable: The answer is not a completion.
            openai.OpenAIError: The server refused, or could not be reached.
            TimeoutError: The answer was not complete in time.
        """
        import httpx2

        self.calls += 1
        async with asyncio.timeout(self._timeout):
            response = await self.client().post("/chat/completions", cast_to=httpx2.Response, body=body)
        self._limits = RateLimits.from_headers(response.headers) or self._limits
        return read_body(response.content, response.headers.get("content-type", ""))

    async def _ask(self, asked: Sequence[Request]) -> list[Reply]:
        request, n = asked[0], len(asked)
        began = time.perf_counter()
        for concessions_left in reversed(range(_CONCESSIONS)):
            body = body_of(request, self._model, self.manners, n)
            problem: Reply | FatalBackendError | None = None
            try:
                answer = await self.post(body)
            except Unreadable as error:
                return [self._failed(Failure("malformed", charged=True), f"{self.address}: {error}")] * n
            except Exception as error:  # the SDK's, sorted there
                if n > 1 and _complains(error, "'n'"):
                    self.findings.forget("n")
                    return []
                if concessions_left and self._yields(error, body):
                    continue
                problem = sort_error(error, str(self.address), self._model)
                self._limits = _limits_of(error) or self._limits
            if isinstance(problem, FatalBackendError):
                raise problem
            if problem is not None:
                told = {**self._provenance(), **problem.provenance}
                return [problem.model_copy(update={"provenance": told})] * n
            choices = answer["choices"][:n]
            usage = usage_of(answer, len(choices))
            told = {**self._provenance(), "seconds": round(time.perf_counter() - began, 4), **_signed(answer)}
            read = [read_choice(choice, request, usage, told) for choice in choices]
            return [await self._believed(reply, with_logprobs, request) for reply, with_logprobs in read]
        raise AssertionError("unreachable: the last round returns")

    async def _believed(self, reply: Reply, with_logprobs: bool, request: Request) -> Reply:
        """The reply, or a failed one where its log-probabilities got lost."""
        if not request.answers or not self.manners.top_logprobs or reply.status == "failed" or not reply.text:
            return reply
        if with_logprobs:
            self._gives_logprobs = True
            return reply
        if self._gives_logprobs is None:
            found = await self.findings.verified("logprobs")
            self._gives_logprobs = self._gives_logprobs or found
        if self._gives_logprobs:
            reason = f"{self.address} left out the log-probabilities that it gives otherwise"
            return self._failed(Failure("malformed", charged=True), reason)
        return reply

    def _failed(self, failure: Failure, reason: str) -> Reply:
        return failure.reply(reason, **self._provenance())

    def _provenance(self) -> dict[str, JsonValue]:
        return {"url": self.address.url}

    def _yields(self, error: Exception, body: dict[str, Any]) -> bool:
        """Learn from a refusal what the server does not take, so that the request can be asked otherwise."""
        manners = self.manners
        if "logprobs" in body and (_complains(error, "logprobs") or _complains(error, "parameters", 404)):
            sent = body.get("top_logprobs", body["logprobs"])
            if sent == manners.top_logprobs:  # else another request learned it meanwhile
                manners.top_logprobs = max(step for step in _STEPS if step < sent)
            return True
        if _complains(error, "max_completion_tokens" if "max_tokens" in body else "max_tokens"):
            manners.modern_limit = "max_tokens" in body
            return True
        if "seed" in body and _complains(error, "seed"):
            manners.seed = False
            return True
        return False

    async def _lacking(self, request: Request) -> str | None:
        if request.json_schema is not None:
            found = await self.findings.find("json_schema")
            if found.state != "works":
                return f"does not enforce JSON schemas ({found.detail})"
        if request.prefill is not None:
            found = await self.findings.find("prefill")
            if found.state != "works":
                return f"does not continue a prefilled answer ({found.detail})"
        return None

    async def _meet(self) -> None:
        """Find out what kind of server it is, where the address does not tell."""
        if self._kind.value is None:
            self.manners.dialect = await self._kind.get()
            if self.manners.dialect == "llama.cpp" and self.manners.top_logprobs == TOP_LOGPROBS:
                self.manners.top_logprobs = MORE_LOGPROBS

    def client(self) -> AsyncOpenAI:
        """The SDK's client of the running event loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = make_client(
                self.address,
                self._key,
                timeout=self._timeout,
                connect_timeout=self._connect_timeout,
                proxy=self._proxy,
            )
        return client


def _complains(error: Exception, about: str, status: int = 400) -> bool:
    if getattr(error, "status_code", None) not in (status, 422):
        return False
    return about in f"{getattr(error, 'param', '')} {getattr(error, 'message', '')} {getattr(error, 'body', '')}"


def _limits_of(error: Exception) -> RateLimits | None:
    response = getattr(error, "response", None)
    return None if response is None else RateLimits.from_headers(response.headers)


def _signed(answer: dict[str, Any]) -> dict[str, JsonValue]:
    names = {"served": "model", "fingerprint": "system_fingerprint"}
    return {ours: answer[theirs] for ours, theirs in names.items() if isinstance(answer.get(theirs), str)}
