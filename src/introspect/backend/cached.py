"""A backend that asks nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from introspect.backend.protocol import ModelBackend
from introspect.backend.streaming import closable
from introspect.backend.wire import Capabilities, ModelInfo, Reply, Request
from introspect.errors import BackendError

__all__ = ["KEY_VERSION", "Cached", "ReplyStore", "request_key"]

KEY_VERSION = 1
"""Raised by hand when the meaning of a request changes, so that older replies are asked for again."""


@runtime_checkable
class ReplyStore(Protocol):
    """Where replies are kept. `put` returns only once the reply would survive the death of the process."""

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None: ...


def request_key(info: ModelInfo, request: Request) -> str:
    """Content hash of all that decides the reply: the model's identity and every field of the request.

    Where the model lies (`ModelRef.location`), what it was trained from (`parent`) and what a reply says
    about its origin (`Reply.provenance`) are not part of it. Repeats differ by `sample_index`.

    Example:
        >>> from introspect.backend import Message, ModelInfo, ModelRef, Request
        >>> info = ModelInfo(ref=ModelRef(provider="function", model="m"))
        >>> moved = ModelInfo(ref=ModelRef(provider="function", model="m", location="/elsewhere"))
        >>> request = Request(messages=(Message(role="user", content="A or B?"),))
        >>> request_key(info, request) == request_key(moved, request)
        True
        >>> request_key(info, request) == request_key(info, request.model_copy(update={"sample_index": 1}))
        False
    """
    return _key(info.key, request)


def _key(model_key: str, request: Request) -> str:
    # Unset fields are left out, so that a field which is added later leaves the keys of older requests as
    # they are. Only the top level is sorted: the order of a schema's properties is the order in which a model
    # writes them.
    fields = {name: value for name, value in request.model_dump(mode="json").items() if value is not None}
    text = json.dumps([KEY_VERSION, model_key, sorted(fields.items())], separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


class Cached:
    """A backend around a backend that looks replies up before it asks, and keeps them before it hands them
    on.

    Failed replies are never kept. Equal requests in one batch are asked once. A backend whose reference says
    ``{"cache": false}`` in its settings (an unnamed function) is passed through.

    Args:
        backend: Who is asked.
        store: Where replies are kept.

    Attributes:
        hits: Requests answered from the store, or by an equal request of the same batch, so far.
        asked: Requests that the inner backend was given so far.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, Request, ask
        >>> class Shelf(dict):
        ...     def put(self, key, request, reply, info):
        ...         self[key] = reply
        >>> model = Cached(FunctionBackend(lambda request: "A", name="always-a", version="1"), Shelf())
        >>> question = Request(messages=(Message(role="user", content="A or B?"),))
        >>> [reply.text for reply in ask(model, [question, question]) + ask(model, [question])]
        ['A', 'A', 'A']
        >>> model.asked, model.hits
        (1, 2)
    """

    def __init__(self, backend: ModelBackend, store: ReplyStore) -> None:
        self._backend = backend
        self._store = store
        self._capabilities: Capabilities | None = None
        self.hits = 0
        self.asked = 0

    @property
    def info(self) -> ModelInfo:
        """The inner backend's identity: being cached does not make it another model."""
        return self._backend.info

    async def probe(self) -> Capabilities:
        """The inner backend's capabilities, found out once."""
        if self._capabilities is None:
            self._capabilities = await self._backend.probe()
        return self._capabilities

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Yield stored replies first, then new ones as they come, each kept before it is yielded.

        Raises:
            BackendError: The inner backend answered a request twice, or one that it was not asked.
            FatalBackendError: From the inner backend, after all replies that came before were kept.
            StoreError: A stored reply cannot be believed, or a new one cannot be kept.
        """
        info = self.info
        model_key = info.key
        cacheable = info.ref.settings.get("cache") is not False
        waiting: dict[str, list[int]] = {}
        keys: list[str] = []
        to_ask: list[Request] = []
        for index, request in enumerate(requests):
            key = _key(model_key, request) if cacheable else str(index)
            if key in waiting:
                waiting[key].append(index)
                continue
            found = self._store.get(key) if cacheable else None
            if found is not None:
                self.hits += 1
                yield index, found
                continue
            waiting[key] = [index]
            keys.append(key)
            to_ask.append(request)
        if not to_ask:
            return
        self.asked += len(to_ask)
        async with aclosing(closable(self._backend.generate(to_ask))) as replies:
            async for position, reply in replies:
                indices = waiting.pop(keys[position], None) if 0 <= position < len(keys) else None
                if indices is None:
                    raise BackendError(
                        f"{info.ref} answered request {position} of {len(keys)}, which it was not asked or "
                        f"had answered before; a backend must yield every index exactly once"
                    )
                if cacheable and reply.status != "failed":
                    self._store.put(keys[position], to_ask[position], reply, info)
                self.hits += len(indices) - 1
                for index in indices:
                    yield index, reply

    async def aclose(self) -> None:
        """Close the inner backend; the store stays open."""
        await self._backend.aclose()
