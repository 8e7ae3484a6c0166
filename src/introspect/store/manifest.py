"""What a study file says about itself."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from introspect.errors import StoreError
from introspect.store.connection import Connection
from introspect.store.keys import dumps, loads

__all__ = ["Manifest"]


class Manifest(MutableMapping[str, Any]):
    """Names to JSON values (configuration, versions, seeds), kept in the study file. Each assignment is
    durable.

    Example:
        >>> import tempfile
        >>> from introspect.store import Store
        >>> with tempfile.TemporaryDirectory() as folder, Store.open(f"{folder}/study.db") as store:
        ...     store.manifest["seed"] = 7
        ...     dict(store.manifest)
        {'seed': 7}
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    def __getitem__(self, key: str) -> Any:
        rows = self._db.rows("SELECT value FROM manifest WHERE key = ?", (key,))
        if not rows:
            raise KeyError(key)
        return loads(rows[0][0], f"{self._db.path}: the manifest's {key!r}")

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str) or not key:
            raise StoreError(f"a name in the manifest must be non-empty text, got {key!r}")
        text = dumps(value, f"the manifest's {key!r}")
        self._db.rows("INSERT OR REPLACE INTO manifest (key, value) VALUES (?, ?)", (key, text))

    def __delitem__(self, key: str) -> None:
        if not self._db.rows("DELETE FROM manifest WHERE key = ? RETURNING key", (key,)):
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter([key for (key,) in self._db.rows("SELECT key FROM manifest ORDER BY key")])

    def __len__(self) -> int:
        return int(self._db.rows("SELECT count(*) FROM manifest")[0][0])
