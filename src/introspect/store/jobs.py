"""What work outside the process must not forget: a hosted training's id, the batches that were sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping
from typing import Any

from introspect.errors import StoreError
from introspect.store.connection import Connection
from introspect.store.keys import checksum, dumps, loads

__all__ = ["Jobs"]


class Jobs(MutableMapping[str, Any]):
    """Jobs by their key, each a JSON state that is replaced as a whole. An assignment is durable once it returns.

    Example:
        >>> import tempfile
        >>> from introspect.store import Store
        >>> with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/study.db") as store:
        ...     store.jobs["3f2a"] = {"job": "ftjob-1"}
        ...     dict(store.jobs)
        {'3f2a': {'job': 'ftjob-1'}}
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def __getitem__(self, key: str) -> Any:
        rows = self._db.rows("SELECT state, checksum FROM jobs WHERE key = ?", (key,))
        if not rows:
            raise KeyError(key)
        text, digest = rows[0]
        if not isinstance(text, str) or checksum(key, text) != digest:
            raise StoreError(
                f"{self._db.path}: job {key} does not have the checksum it was written with, so it cannot be "
                f"believed; restore a copy of the file"
            )
        return loads(text, f"{self._db.path}: job {key}")

    def __setitem__(self, key: str, state: Any) -> None:
        if not isinstance(key, str) or not key:
            raise StoreError(f"a job's key must be non-empty text, got {key!r}")
        text, now = dumps(state, f"the state of job {key}"), time.time()
        self._db.rows(
            "INSERT INTO jobs (key, state, checksum, created, updated) VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) "
            "DO UPDATE SET state = excluded.state, checksum = excluded.checksum, updated = excluded.updated",
            (key, text, checksum(key, text), now, now),
        )

    def __delitem__(self, key: str) -> None:
        if not self._db.rows("DELETE FROM jobs WHERE key = ? RETURNING key", (key,)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter([key for (key,) in self._db.rows("SELECT key FROM jobs ORDER BY created, key")])

    def __len__(self) -> int:
        return int(self._db.rows("SELECT count(*) FROM jobs")[0][0])
