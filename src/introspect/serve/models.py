"""The models of a server: by name, opened when asked for, and asked many requests at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

import anyio.to_thread

from introspect.backend import Capabilities, ModelBackend, ModelRef, Reply, Request, open_model
from introspect.backend.streaming import closable
from introspect.backend.tokens import TokenLogprob, TokenReader
from introspect.serve.errors import ApiError

__all__ = ["Answer", "Desk", "ModelShelf", "Served"]

_BATCH = 64
_OPEN = 8
TOP = 20
"""Most log-probabilities a token, as in OpenAI's description."""


class Answer(NamedTuple):
    """A reply, and its tokens where they were asked for and are known."""

    reply: Reply
    tokens: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True)
class Served:
    """A model under its name."""

    name: str
    ref: ModelRef
    created: int

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's model object."""
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "introspect"}


class Desk:
    """One opened model. Requests that come while it works are asked together next, for a local model is much faster
    on many.

    Args:
        backend: Who answers.
        parallel: Batches under way at once.
        pending: Requests that may wait.
    """

    def __init__(self, backend: ModelBackend, parallel: int, pending: int) -> None:
        self.backend = backend
        self._parallel, self._limit = parallel, pending
        self._waiting: deque[tuple[Request, bool, asyncio.Future[Answer]]] = deque()
        self._pumps: set[asyncio.Task[None]] = set()
        self._capabilities: Capabilities | None = None
        self._probing = asyncio.Lock()
        self._closed = False

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
        return not self._waiting and not self._pumps and not self._probing.locked()

    @property
    def reads_tokens(self) -> bool:
        """Whether token log-probabilities can be had."""
        return isinstance(self.backend, TokenReader)

    async def capabilities(self) -> Capabilities:
        """What the model was seen to do, found out once."""
        async with self._probing:
            if self._closed:
                raise _gone()
            if self._capabilities is None:
                self._capabilities = await self.backend.probe()
        return self._capabilities

    async def ask(self, request: Request, tokens: bool = False) -> Answer:
        """Answer one request.

        Raises:
            ApiError: Too many requests wait already, or the model was closed meanwhile.
            Exception: What the backend raised.
        """
        if self._closed:
            raise _gone()
        if len(self._waiting) >= self._limit:
            raise ApiError(429, f"{len(self._waiting)} requests wait already; try again later", "rate_limit_exceeded")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, tokens, answer))
        if len(self._pumps) < self._parallel:
            self._pumps.add(asyncio.create_task(self._pump()))
        return await answer

    async def aclose(self) -> None:
        """Stop and close the model. Requests that still wait are told so: nobody else would ever answer them."""
        self._closed = True
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        while self._waiting:
            _, _, answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(_gone())
        await self.backend.aclose()

    async def _pump(self) -> None:
        pump = asyncio.current_task()
        try:
            # One turn of the loop first, so that requests that arrive together are asked together.
            await asyncio.sleep(0)
            while self._waiting:
                tokens = self._waiting[0][1]
                batch: list[tuple[Request, asyncio.Future[Answer]]] = []
                while self._waiting and len(batch) < _BATCH and self._waiting[0][1] == tokens:
                    request, _, answer = self._waiting.popleft()
                    if not answer.done():  # else its client has gone
                        batch.append((request, answer))
                if batch:
                    await self._answer(batch, tokens)
        finally:
            # Here and not in a callback, which runs later: a request that came in between would find this pump among
            # those at work, start none of its own, and wait for ever.
            if pump is not None:
                self._pumps.discard(pump)

    async def _answer(self, batch: list[tuple[Request, asyncio.Future[Answer]]], tokens: bool) -> None:
        try:
            async with aclosing(self._answers([request for request, _ in batch], tokens)) as answers:
                async for index, got in answers:
                    if not batch[index][1].done():
                        batch[index][1].set_result(got)
            lost: BaseException = RuntimeError("the model left a request without a reply")
        except BaseException as error:
            lost = error
            if not isinstance(error, Exception):
                raise
        finally:
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(lost if isinstance(lost, Exception) else _gone())

    async def _answers(self, requests: Sequence[Request], tokens: bool) -> AsyncGenerator[tuple[int, Answer], None]:
        if tokens and isinstance(self.backend, TokenReader):
            async with aclosing(closable(self.backend.generate_with_tokens(requests, TOP))) as told:
                async for index, reply, said in told:
                    yield index, Answer(reply, said)
        else:
            async with aclosing(closable(self.backend.generate(requests))) as replies:
                async for index, reply in replies:
                    yield index, Answer(reply)


def _gone() -> ApiError:
    """A status at which clients ask again: a model that was only put away is opened anew then."""
    return ApiError(503, "the model was closed before it answered; ask again", "model_unavailable")


class ModelShelf:
    """Models by name. The last few that were asked stay open.

    Args:
        base: The model that the server was started on.
        parallel: Batches that one model works on at once.
        pending: Requests that may wait for one model.
    """

    def __init__(self, base: Served, parallel: int, pending: int) -> None:
        self.base = base
        self._parallel, self._pending = parallel, pending
        self._served: dict[str, Served] = {base.name: base}
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._opening = asyncio.Lock()

    def all(self) -> list[Served]:
        """Every model, the base first."""
        return list(self._served.values())

    def add(self, model: Served) -> None:
        """Serve one more."""
        self._served[model.name] = model

    async def remove(self, name: str) -> None:
        """Serve it no longer."""
        self.get(name)
        if name == self.base.name:
            raise ApiError(403, f"{name!r} is the model that this server was started on", "cannot_delete_base")
        del self._served[name]
        desk = self._desks.pop(name, None)
        if desk is not None:
            await desk.aclose()

    def get(self, name: str) -> Served:
        """The model of this name.

        Raises:
            ApiError: There is none.
        """
        if name not in self._served:
            known = ", ".join(list(self._served)[:5])
            raise ApiError(
                404, f"The model {name[:100]!r} does not exist; there are: {known}", "model_not_found", "model"
            )
        return self._served[name]

    async def open(self, name: str) -> Desk:
        """The model of this name, ready to be asked."""
        served = self.get(name)
        async with self._opening:
            if name not in self._desks:
                backend = await anyio.to_thread.run_sync(open_model, served.ref)
                self._desks[name] = Desk(backend, self._parallel, self._pending)
            self._desks.move_to_end(name)
            for other in list(self._desks)[:-1]:
                if len(self._desks) > _OPEN and self._desks[other].idle:
                    await self._desks.pop(other).aclose()
            return self._desks[name]

    async def aclose(self) -> None:
        """Close all."""
        while self._desks:
            await self._desks.popitem()[1].aclose()
