"""A study file as the cache of a backend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from introspect.backend.wire import ModelInfo, Reply, Request
from introspect.errors import ConfigError, StoreError
from introspect.store import ReplyRow, Store

__all__ = ["StoredReplies"]


class StoredReplies:
    """Keeps a backend's replies in a `Store`: the `ReplyStore` that `Cached` and `open_model` take.

    Backend and store do not know each other; this room knows both.

    Args:
        store: Where replies are kept.

    Example:
        >>> import tempfile
        >>> from introspect.backend import Cached, FunctionBackend, Message, Request, ask
        >>> question = Request(messages=(Message(role="user", content="A or B?"),))
        >>> with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/study.db") as store:
        ...     model = FunctionBackend(lambda request: "A", name="always-a", version="1")
        ...     replies = ask(Cached(model, StoredReplies(store)), [question])
        ...     replies[0].text, store.n_replies()
        ('A', 1)
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # A description may be long and is the same object for thousands of replies.
        self._last: tuple[ModelInfo, str] | None = None

    def get(self, key: str) -> Reply | None:
        """The reply kept under this key, or None.

        Raises:
            StoreError: The entry was damaged, or holds a reply that this version cannot read.
        """
        return self.get_many((key,)).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The replies kept under these keys.

        Raises:
            StoreError: An entry was damaged, or holds a reply that this version cannot read.
        """
        return self._read(self._store.get_replies(keys))

    def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None:
        """Keep a reply; it survives the death of the process once this returns.

        Raises:
            StoreError: It cannot be written, or holds a log-probability that is not a finite number.
        """
        self._store.put_replies((self._row(key, request, reply, info),))

    def put_many(self, entries: Iterable[tuple[str, Request, Reply, ModelInfo]]) -> None:
        """Keep many replies in one transaction: all or none."""
        self._store.put_replies([self._row(*entry) for entry in entries])

    def put_failed(self, entries: Iterable[tuple[str, Request, Reply, ModelInfo]]) -> None:
        """Note failed replies, so that a replay without the model knows what the study went on with."""
        self._store.put_failures([self._row(*entry) for entry in entries])

    def get_failed(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The failed replies noted under these keys."""
        return self._read(self._store.get_failures(keys))

    @property
    def waits(self) -> bool:
        """Whether each commit waits for the disk, so that an event loop should not do it itself."""
        return self._store.durability == "full"

    def _read(self, texts: Mapping[str, str]) -> dict[str, Reply]:
        replies = {}
        for key, text in texts.items():
            try:
                replies[key] = Reply.model_validate_json(text)
            except ConfigError as error:
                raise StoreError(
                    f"{self._store.path}: reply {key} cannot be read by this version of introspect: {error}"
                ) from error
        return replies

    def _row(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> ReplyRow:
        # JSON has no infinity: it would come back as null, and as an error long after the model was paid for.
        for answer, value in (reply.answer_logprobs or {}).items():
            if not math.isfinite(value):
                raise StoreError(
                    f"{info.ref} gave answer {answer!r} the log-probability {value}; a backend must leave "
                    f"out answers that have none"
                )
        if self._last is None or self._last[0] is not info:
            self._last = (info, info.model_dump_json(exclude_defaults=True))
        return ReplyRow(
            key,
            request.model_dump_json(exclude_defaults=True),
            reply.model_dump_json(exclude_defaults=True),
            self._last[1],
        )
