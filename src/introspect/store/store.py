"""One file that holds all a study has paid for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy.typing as npt

from introspect.errors import StoreError
from introspect.store.connection import Connection
from introspect.store.keys import checksum, dumps, loads, step_key
from introspect.store.manifest import Manifest
from introspect.store.tables import pack_columns, unpack_columns

__all__ = ["ReplyRow", "StepRecord", "Store"]

_PAGE = 1000  # rows fetched at a time: walking over all replies neither fills memory nor holds the lock


class ReplyRow(NamedTuple):
    """A stored reply: its key and three JSON texts."""

    key: str
    request: str
    reply: str
    model: str


@dataclass(frozen=True)
class StepRecord:
    """A finished step.

    Attributes:
        key: Hash of name, inputs and version.
        name: As given.
        version: As given.
        inputs: As given.
        result: What it computed.
        seconds: How long that took.
        created: When it was stored, in seconds since 1970.
    """

    key: str
    name: str
    version: int
    inputs: Any
    result: Any
    seconds: float
    created: float


class Store:
    """A study file: replies, steps, tables, blobs and a manifest in one SQLite database.

    What a call has stored when it returns survives the death of the process; what was only half written is
    never seen. Threads may share a store, a forked child may go on using it, and several processes may have
    the same file open. Use `Store.open`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Store.open(f"{folder}/study.db") as store:
        ...         first = store.step("sum", {"numbers": [1, 2]}, version=1, compute=lambda: 3)
        ...     with Store.open(f"{folder}/study.db") as store:
        ...         again = store.step("sum", {"numbers": [1, 2]}, version=1, compute=lambda: 1 / 0)
        >>> first, again
        (3, 3)
    """

    def __init__(self, connection: Connection) -> None:
        self._db = connection
        self._models: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path | str, *, create: bool = True, timeout: float = 30.0) -> Store:
        """Open a study file, or make it.

        Args:
            path: Where it is. Missing folders are made.
            create: Whether a missing file is made, or an error.
            timeout: Seconds to wait for another process's write.

        Raises:
            StoreError: The path cannot be written to, or the file is not a study file, is damaged or cut
                short, or was written by a newer introspect.
        """
        target = Path(path).expanduser()
        if target.is_dir():
            raise StoreError(f"{target} is a folder, expected a file; give for example {target / 'study.db'}")
        if not create and not target.exists():
            raise StoreError(f"there is no study file at {target}; check the path")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{target} cannot be made: {error.strerror} ({error.filename}); give another path"
            ) from error
        return cls(Connection(target, timeout))

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._db.path

    @property
    def manifest(self) -> Manifest:
        """Names to JSON values, like a dict."""
        return Manifest(self._db)

    def close(self) -> None:
        """Close the file. Closing twice is harmless; using a closed store is a StoreError."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get_reply(self, key: str) -> str | None:
        """The reply's JSON text, or None where the key is not known.

        Raises:
            StoreError: The entry's bytes have changed since it was written.
        """
        found = self._db.rows("SELECT request, reply, model_key, checksum FROM replies WHERE key = ?", (key,))
        if not found:
            return None
        request, reply, model_key, digest = found[0]
        self._believe(f"reply {key}", digest, key, request, reply, model_key)
        return str(reply)

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
        insert = (
            "INSERT INTO replies (key, request, reply, model_key, checksum, created) "
            "VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (key) DO NOTHING"
        )
        if len(ready) == 1 and not new_models:
            self._db.rows(insert, ready[0])
        elif ready:
            with self._db.transaction():
                self._db.many(
                    "INSERT INTO models (key, model) VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
                    [(model_key, model) for model, model_key in new_models.items()],
                )
                self._db.many(insert, ready)
            self._models.update(new_models)

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

    def n_replies(self) -> int:
        """How many replies are kept."""
        return int(self._db.rows("SELECT count(*) FROM replies")[0][0])

    def step(self, name: str, inputs: Any, version: int, compute: Callable[[], Any]) -> Any:
        """Compute once, ever: the result for this name, these inputs and this version is stored and found
        again.

        The result is stored in one transaction after `compute` has returned, so a step that was killed
        half-way is computed again. No lock is held meanwhile: `compute` may use the store.

        Args:
            name: What the step is called.
            inputs: Plain JSON that decides the result.
            version: Raised by hand when the meaning of the step changes.
            compute: Returns plain JSON.

        Returns:
            The result after a round trip through JSON, so that the first run and later ones see the same
            value.

        Raises:
            StoreError: Inputs or result are not JSON, or the stored result cannot be believed. What `compute`
                raises is passed on, and nothing is stored.
        """
        if not isinstance(name, str) or not name:
            raise StoreError(f"a step needs a name, got {name!r}")
        if isinstance(version, bool) or not isinstance(version, int):
            raise StoreError(f"the version of step {name!r} must be an int, got {version!r}")
        key = step_key(name, inputs, version)
        found = self._step(key)
        if found is not None:
            return found.result
        began = time.perf_counter()
        result = dumps(compute(), f"the result of step {name!r}")
        seconds = time.perf_counter() - began
        text = dumps(inputs, f"the inputs of step {name!r}")
        # If another process has finished the same step meanwhile, its result stays and is used here too.
        self._db.rows(
            "INSERT INTO steps (key, name, version, inputs, result, checksum, seconds, created) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
            (key, name, version, text, result, checksum(key, text, result), seconds, time.time()),
        )
        stored = self._step(key)
        if stored is None:
            raise StoreError(f"{self.path}: step {name!r} was removed by another process while it was stored")
        return stored.result

    def steps(self) -> tuple[StepRecord, ...]:
        """All finished steps in the order in which they were stored."""
        return tuple(self._record(row) for row in self._db.rows(f"SELECT {_STEP} FROM steps ORDER BY number"))

    def put_table(self, key: str, columns: Mapping[str, npt.ArrayLike]) -> None:
        """Keep named columns under a key, in place of what was kept there.

        Args:
            key: What the table is found under.
            columns: Arrays of any shape, of numbers, bools, dates or fixed-width text.

        Raises:
            StoreError: A column holds Python objects, or the table is too large for one entry.
        """
        data = pack_columns(columns)
        self._fits(f"table {key!r}", data)
        self._db.rows(
            "INSERT OR REPLACE INTO tables (key, npz, checksum, created) VALUES (?, ?, ?, ?)",
            (key, data, checksum(key, data), time.time()),
        )

    def get_table(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """The columns kept under a key in their order, or None where the key is not known.

        Raises:
            StoreError: The table's bytes have changed since it was written.
        """
        found = self._db.rows("SELECT npz, checksum FROM tables WHERE key = ?", (key,))
        if not found:
            return None
        self._believe(f"table {key!r}", found[0][1], key, found[0][0])
        return unpack_columns(found[0][0])

    def table_keys(self) -> tuple[str, ...]:
        """Keys of all tables, sorted."""
        return tuple(key for (key,) in self._db.rows("SELECT key FROM tables ORDER BY key"))

    def put_blob(self, data: bytes) -> str:
        """Keep bytes under the address of their content.

        Returns:
            ``"sha256:..."``, the same for the same bytes.

        Raises:
            StoreError: The blob is too large for one entry.
        """
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self._fits(f"blob {digest}", data)
        # Written again even where it is known: this mends a blob that was damaged.
        self._db.rows(
            "INSERT OR REPLACE INTO blobs (digest, data, created) VALUES (?, ?, ?)",
            (digest, bytes(data), time.time()),
        )
        return digest

    def get_blob(self, digest: str) -> bytes:
        """The bytes with this address.

        Raises:
            StoreError: There are none, or they have changed since they were written.
        """
        found = self._db.rows("SELECT data FROM blobs WHERE digest = ?", (digest,))
        if not found:
            raise StoreError(f"{self.path}: there is no blob {digest}; was it stored in another study file?")
        data = found[0][0]
        if not isinstance(data, bytes) or "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(self._doubt(f"blob {digest}"))
        return data

    def _step(self, key: str) -> StepRecord | None:
        found = self._db.rows(f"SELECT {_STEP} FROM steps WHERE key = ?", (key,))
        return self._record(found[0]) if found else None

    def _record(self, row: tuple[Any, ...]) -> StepRecord:
        key, name, version, inputs, result, digest, seconds, created = row
        what = f"step {name!r}"
        self._believe(what, digest, key, inputs, result)
        return StepRecord(key, name, version, loads(inputs, what), loads(result, what), float(seconds), float(created))

    def _believe(self, what: str, digest: bytes, *parts: Any) -> None:
        if not all(isinstance(part, str | bytes) for part in parts) or checksum(*parts) != digest:
            raise StoreError(self._doubt(what))

    def _doubt(self, what: str) -> str:
        return (
            f"{self.path}: {what} does not have the checksum it was written with, so it cannot be believed; "
            f"restore a copy of the file"
        )

    def _fits(self, what: str, data: bytes) -> None:
        limit = self._db.limit() - 1024  # the key and the row's header count too
        if len(data) > limit:
            raise StoreError(
                f"{what} has {len(data):,} bytes and a study file takes {limit:,} in one entry; split it, or "
                f"keep it in a folder and store its path"
            )


_STEP = "key, name, version, inputs, result, checksum, seconds, created"
