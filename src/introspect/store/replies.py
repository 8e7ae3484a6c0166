"""Replies, and failed ones, in a study file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from introspect.errors import StoreError
from introspect.store.connection import Connection
from introspect.store.keys import checksum

__all__ = ["ReplyRow", "ReplyTables"]

_PAGE = 1000  # rows fetched at a time: walking over all replies neither fills memory nor holds the lock
_GROUP = 500  # replies written or looked up by one statement


class ReplyRow(NamedTuple):
    """A stored reply: its key and three JSON texts."""

    key: str
    request: str
    reply: str
    model: str


class ReplyTables:
    """The part of a `Store` that keeps replies."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._models: dict[str, str] = {}

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._db.path

    def get_reply(self, key: str) -> str | None:
        """The reply's JSON text, or None where the key is not known.

        Raises:
            StoreError: The entry's bytes have changed since it was written.
        """
        return self.get_replies((key,)).get(key)

    def get_replies(self, keys: Sequence[str]) -> dict[str, str]:
        """The JSON texts of those replies that are known, by key.

        Raises:
            StoreError: An entry's bytes have changed since it was written.
        """
        return self._texts("replies", keys)

    def put_reply(self, key: str, request_json: str, reply_json: str, model_json: str) -> None:
        """Keep a reply. The first one kept under a key stays: what a study has once used does not change."""
        self.put_replies([ReplyRow(key, request_json, reply_json, model_json)])

    def put_replies(self, rows: Iterable[ReplyRow | tuple[str, str, str, str]]) -> None:
        """Keep many replies, all or none, at a fraction of the cost of keeping them one by one."""
        new_models: dict[str, str] = {}
        ready = []
        now = time.time()
        for key, request, reply, model in rows:
            model_key = self._models.get(model) or new_models.get(model)
            if model_key is None:
                model_key = new_models[model] = checksum(model).hex()
            ready.append((key, request, reply, model_key, checksum(key, request, reply, model_key), now))
        if not new_models and 0 < len(ready) <= _GROUP:
            self._insert(ready)
        elif ready:
            with self._db.transaction():
                self._db.many(
                    "INSERT INTO models (key, model) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
                    [(model_key, model) for model, model_key in new_models.items()],
                )
                for start in range(0, len(ready), _GROUP):
                    self._insert(ready[start : start + _GROUP])
            self._models.update(new_models)

    def _insert(self, ready: Sequence[tuple[Any, ...]]) -> None:
        # One statement is one transaction, and is run in one go: a thread that asks models meanwhile is not in its way.
        self._db.rows(
            "INSERT INTO replies (key, request, reply, model_key, checksum, created) VALUES "
            + ",".join(["(?,?,?,?,?,?)"] * len(ready))
            + " ON CONFLICT (key) DO NOTHING",
            [value for row in ready for value in row],
        )

    def put_failures(self, rows: Iterable[ReplyRow | tuple[str, str, str, str]]) -> None:
        """Note failed replies, the last one under each key. They are evidence of what a study had to go on with, and
        never an answer: `get_reply` does not see them.
        """
        now = time.time()
        ready = []
        for key, request, reply, model in rows:
            model_key = checksum(model).hex()
            ready.append((key, request, reply, model_key, checksum(key, request, reply, model_key), now))
        with self._db.transaction():
            self._db.many(
                "INSERT OR REPLACE INTO failures (key, request, reply, model_key, checksum, created) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                ready,
            )

    def get_failures(self, keys: Sequence[str]) -> dict[str, str]:
        """The JSON texts of the failed replies noted under these keys.

        Raises:
            StoreError: An entry's bytes have changed since it was written.
        """
        return self._texts("failures", keys)

    def n_failures(self) -> int:
        """How many requests have a failed reply noted."""
        return int(self._db.rows("SELECT count(*) FROM failures")[0][0])

    def _texts(self, table: str, keys: Sequence[str]) -> dict[str, str]:
        found = {}
        for start in range(0, len(keys), _GROUP):
            some = keys[start : start + _GROUP]
            rows = self._db.rows(
                f"SELECT key, request, reply, model_key, checksum FROM {table} "
                f"WHERE key IN ({','.join('?' * len(some))})",
                some,
            )
            for key, request, reply, model_key, digest in rows:
                self._believe(f"reply {key}", digest, key, request, reply, model_key)
                found[key] = reply
        return found

    def replies(self) -> Iterator[ReplyRow]:
        """All replies in the order in which they were kept, each verified.

        Raises:
            StoreError: An entry's bytes have changed since it was written.
        """
        last = 0
        while True:
            page = self._db.rows(
                "SELECT number, replies.key, request, reply, model_key, model, checksum FROM replies "
                "LEFT JOIN models ON models.key = model_key WHERE number > ? ORDER BY number LIMIT ?",
                (last, _PAGE),
            )
            for number, key, request, reply, model_key, model, digest in page:
                self._believe(f"reply {key}", digest, key, request, reply, model_key)
                if model is None or checksum(model).hex() != model_key:
                    raise StoreError(self._doubt(f"the model of reply {key}"))
                last = number
                yield ReplyRow(key, request, reply, model)
            if len(page) < _PAGE:
                return

    def failures(self) -> Iterator[ReplyRow]:
        """All failed replies that were noted, each verified; the last one under each key.

        Raises:
            StoreError: An entry's bytes have changed since it was written.
        """
        rows = self._db.rows("SELECT key, request, reply, model_key, checksum FROM failures ORDER BY created, key")
        # A model that only ever failed has no description here: its key stands for it.
        known = dict(self._db.rows("SELECT key, model FROM models"))
        for key, request, reply, model_key, digest in rows:
            self._believe(f"reply {key}", digest, key, request, reply, model_key)
            yield ReplyRow(key, request, reply, known.get(model_key, model_key))

    def n_replies(self) -> int:
        """How many replies are kept."""
        return int(self._db.rows("SELECT count(*) FROM replies")[0][0])

    def _believe(self, what: str, digest: bytes, *parts: Any) -> None:
        if not all(isinstance(part, str | bytes) for part in parts) or checksum(*parts) != digest:
            raise StoreError(self._doubt(what))

    def _doubt(self, what: str) -> str:
        return (
            f"{self.path}: {what} does not have the checksum it was written with, so it cannot be believed; "
            f"restore a copy of the file"
        )
