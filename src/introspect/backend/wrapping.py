"""Backends around backends: what those have in common that answer each request by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from introspect.backend.protocol import ModelBackend
from introspect.backend.rates import RateLimits
from introspect.backend.streaming import as_finished, closable
from introspect.backend.wire import Capabilities, ModelInfo, Reply, Request

__all__ = ["Answerer", "Wrapper", "answer_alone", "generate_each"]

_CONCURRENCY = 16


@runtime_checkable
class Answerer(Protocol):
    """A backend that can answer one request apart from others, so that wrappers need no batch around it.

    Attributes:
        concurrency: How many requests should be under way at once.
        copies: The most samples of one request that it takes in one call (`Request.sample_index` alone differs).
        limits: What the server last said about its rate limits.
    """

    @property
    def concurrency(self) -> int: ...

    @property
    def copies(self) -> int: ...

    @property
    def limits(self) -> RateLimits | None: ...

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """Replies to one request, or to several that differ by their sample index alone."""
        ...


async def answer_alone(backend: ModelBackend, asked: Sequence[Request]) -> list[Reply]:
    """Replies to requests that belong together, by the shortest way that the backend offers."""
    if isinstance(backend, Answerer):
        return await backend.answer(asked)
    replies: list[Reply | None] = [None] * len(asked)
    async with aclosing(closable(backend.generate(asked))) as arriving:
        async for index, reply in arriving:
            replies[index] = reply
    return [reply or Reply(status="failed", reason="the backend gave no reply") for reply in replies]


async def generate_each(backend: Answerer, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
    """Answer many requests, each by itself, some at once; samples of one request together where that is possible."""
    units = _together(requests, backend.copies)
    asked = [[requests[index] for index in unit] for unit in units]
    async with aclosing(as_finished(backend.answer, asked, backend.concurrency)) as finished:
        async for number, replies in finished:
            for pair in zip(units[number], replies, strict=True):
                yield pair


def _together(requests: Sequence[Request], copies: int) -> list[list[int]]:
    if copies < 2:
        return [[index] for index in range(len(requests))]
    units: list[list[int]] = []
    open_unit: dict[str, list[int]] = {}
    for index, request in enumerate(requests):
        # A seeded or greedy request would get equal samples; asked alone, its repeats get seeds of their own.
        if request.temperature == 0 or request.seed is not None:
            units.append([index])
            continue
        same = request.model_copy(update={"sample_index": 0}).model_dump_json()
        unit = open_unit.get(same)
        if unit is None or len(unit) == copies:
            unit = open_unit[same] = []
            units.append(unit)
        unit.append(index)
    return units


class Wrapper:
    """A backend around a backend; a subclass says in `answer` what it adds.

    Args:
        backend: Who is asked. One that is no `Answerer` (a local model) is asked one request at a time.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, ask
        >>> class Loud(Wrapper):
        ...     async def answer(self, asked):
        ...         replies = await self.ask_inner(asked)
        ...         return [reply.model_copy(update={"text": reply.text.upper()}) for reply in replies]
        >>> model = Loud(FunctionBackend(lambda request: "a", name="always-a", version="1"))
        >>> ask(model, [Request(messages=(Message(role="user", content="A or B?"),))])[0].text
        'A'
    """

    def __init__(self, backend: ModelBackend) -> None:
        self.inner = backend
        # Found out once: to look at a protocol's members costs more than the wrapper does.
        self._answerer = backend if isinstance(backend, Answerer) else None

    @property
    def info(self) -> ModelInfo:
        """The inner backend's identity: a wrapper does not make it another model."""
        return self.inner.info

    @property
    def concurrency(self) -> int:
        """The inner backend's."""
        return _CONCURRENCY if self._answerer is None else self._answerer.concurrency

    @property
    def copies(self) -> int:
        """The inner backend's."""
        return 1 if self._answerer is None else self._answerer.copies

    @property
    def limits(self) -> RateLimits | None:
        """The inner backend's."""
        return None if self._answerer is None else self._answerer.limits

    async def probe(self) -> Capabilities:
        """The inner backend's capabilities."""
        return await self.inner.probe()

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """Replies to one request, or to several that differ by their sample index alone."""
        return await self.ask_inner(asked)

    async def ask_inner(self, asked: Sequence[Request]) -> list[Reply]:
        """The inner backend's replies."""
        if self._answerer is not None:
            return await self._answerer.answer(asked)
        return await answer_alone(self.inner, asked)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Yield ``(index, reply)`` as replies come.

        Raises:
            FatalBackendError: An error that dooms all further calls, after the replies under way were delivered.
        """
        async with aclosing(closable(generate_each(self, requests))) as replies:
            async for pair in replies:
                yield pair

    async def aclose(self) -> None:
        """Close the inner backend."""
        await self.inner.aclose()
