"""A backend that asks nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from introspect.backend.grouping import kept_in_groups
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Capabilities, ModelInfo, Reply, Request
from introspect.errors import BackendError

__all__ = ["KEY_VERSION", "Cached", "ReplyStore", "request_key"]

KEY_VERSION = 1
"""Raised by hand when the meaning of a request changes, so that older replies are asked for again."""


Entry = tuple[str, Request, Reply, ModelInfo]

_PAGE = 500  # requests looked up at a time, between which other work of the event loop gets its turn
_encode = json.JSONEncoder(separators=(",", ":")).encode


@runtime_checkable
class ReplyStore(Protocol):
    """Where replies are kept. `put` returns only once the reply would survive the death of the process.

    A store may also have, and is then faster: ``get_many(keys)`` (a mapping of the keys that it knows);
    ``put_many(entries)`` (all or none); and, where keeping waits for a disk, a true ``waits``, which moves `put_many`
    to a worker thread. One that has ``put_failed(entries)`` is told of failed replies, which `get` never returns.
    """

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
    text = _encode([KEY_VERSION, model_key, sorted(fields.items())])
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

        Replies that arrive together are kept in one commit, at most 50 ms after they came; a lone one at once.

        Raises:
            BackendError: The inner backend answered a request twice, or one that it was not asked.
            FatalBackendError: From the inner backend, after all replies that came before were kept.
            StoreError: A stored reply cannot be believed, or a new one cannot be kept.
        """
        import asyncio

        info = self.info
        model_key = info.key
        cacheable = info.ref.settings.get("cache") is not False
        waiting: dict[str, list[int]] = {}
        keys: list[str] = []
        to_ask: list[Request] = []
        for start in range(0, len(requests), _PAGE):
            page = requests[start : start + _PAGE]
            named = [_key(model_key, r) if cacheable else str(start + i) for i, r in enumerate(page)]
            known = self._find([key for key in named if key not in waiting]) if cacheable else {}
            for index, (key, request) in enumerate(zip(named, page, strict=True), start):
                found = known.get(key)
                if found is not None:
                    self.hits += 1
                    yield index, found
                elif key in waiting:
                    waiting[key].append(index)
                else:
                    waiting[key] = [index]
                    keys.append(key)
                    to_ask.append(request)
            await asyncio.sleep(0)
        if not to_ask:
            return
        self.asked += len(to_ask)

        def entries(group: Iterable[tuple[int, Reply]]) -> list[Entry]:
            # What was answered out of turn is complained of below, and not kept.
            return [(keys[i], to_ask[i], reply, info) for i, reply in group if 0 <= i < len(keys)] if cacheable else []

        async def keep_in_thread(group: Sequence[tuple[int, Reply]]) -> None:
            from anyio.to_thread import run_sync

            await run_sync(self._keep, entries(group))

        groups = kept_in_groups(
            self._backend.generate(to_ask),
            lambda group: self._keep(entries(group)),
            keep_in_thread if getattr(self._store, "waits", False) else None,
        )
        async with aclosing(groups):
            async for group in groups:
                for position, reply in group:
                    indices = waiting.pop(keys[position], None) if 0 <= position < len(keys) else None
                    if indices is None:
                        raise BackendError(
                            f"{info.ref} answered request {position} of {len(keys)}, which it was not asked or "
                            f"had answered before; a backend must yield every index exactly once"
                        )
                    self.hits += len(indices) - 1
                    for index in indices:
                        yield index, reply

    def _find(self, keys: Sequence[str]) -> Mapping[str, Reply]:
        get_many: Callable[[Sequence[str]], Mapping[str, Reply]] | None = getattr(self._store, "get_many", None)
        if get_many is not None:
            return get_many(keys)
        return {key: found for key in dict.fromkeys(keys) if (found := self._store.get(key)) is not None}

    def _keep(self, entries: Sequence[Entry]) -> None:
        good = [entry for entry in entries if entry[2].status != "failed"]
        if len(good) < len(entries):
            note: Callable[[Sequence[Entry]], None] | None = getattr(self._store, "put_failed", None)
            if note is not None:
                note([entry for entry in entries if entry[2].status == "failed"])
        put_many: Callable[[Sequence[Entry]], None] | None = getattr(self._store, "put_many", None)
        if put_many is not None and good:
            put_many(good)
        elif put_many is None:
            for key, request, reply, info in good:
                self._store.put(key, request, reply, info)

    async def aclose(self) -> None:
        """Close the inner backend; the store stays open."""
        await self._backend.aclose()
