"""One file that holds all a study has paid for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy.typing as npt

from introspect._notebook import short_repr
from introspect.errors import StoreError
from introspect.store.connection import Connection, Durability
from introspect.store.jobs import Jobs
from introspect.store.keys import checksum, dumps, loads, step_key
from introspect.store.manifest import Manifest
from introspect.store.replies import ReplyTables
from introspect.store.stages import StageLog, StageRecord
from introspect.store.tables import pack_columns, unpack_columns

__all__ = ["StepRecord", "Store"]


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


class Store(ReplyTables):
    """A study file: replies, steps, stages, jobs, tables, blobs and a manifest in one SQLite database.

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

    @classmethod
    def open(
        cls, path: Path | str, *, create: bool = True, timeout: float = 30.0, durability: Durability = "kill"
    ) -> Store:
        """Open a study file, or make it. A file of an older version is brought up to date.

        Args:
            path: Where it is. Missing folders are made.
            create: Whether a missing file is made, or an error.
            timeout: Seconds to wait for another process's write.
            durability: "kill": what a call has stored survives the death of the process; a loss of power may take
                back the last commits, never a part of one. "full": it survives a loss of power too, at the price of
                one sync of the disk per commit.

        Raises:
            StoreError: The path cannot be written to, or the file is not a study file, is damaged or cut
                short, or was written by a newer introspect.
        """
        if durability not in ("kill", "full"):
            raise StoreError(f'durability must be "kill" or "full", got {durability!r}')
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
        return cls(Connection(target, timeout, durability))

    def __repr__(self) -> str:
        return short_repr(self, str(self.path))

    @staticmethod
    def check(path: Path | str) -> None:
        """See whether a file looks like a study file, without opening it.

        Raises:
            StoreError: It is missing, empty, cut short or something else.
        """
        Connection.look(Path(path))

    @property
    def manifest(self) -> Manifest:
        """Names to JSON values, like a dict."""
        return Manifest(self._db)

    @property
    def jobs(self) -> Jobs:
        """States of jobs by their key, like a dict: what trainings and batches must not forget."""
        return Jobs(self._db)

    @property
    def durability(self) -> Durability:
        """What a commit is safe against."""
        return self._db.durability

    def close(self) -> None:
        """Close the file. Closing twice is harmless; using a closed store is a StoreError."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        with StageLog(self._db).attempt(name, key):
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

    def find_step(self, name: str, inputs: Any, version: int) -> StepRecord | None:
        """The finished step with this name, these inputs and this version, or None."""
        return self._step(step_key(name, inputs, version))

    def steps(self) -> tuple[StepRecord, ...]:
        """All finished steps in the order in which they were stored."""
        return tuple(self._record(row) for row in self._db.rows(f"SELECT {_STEP} FROM steps ORDER BY number"))

    def stages(self) -> tuple[StageRecord, ...]:
        """All attempts at steps, in the order in which they began: when, in which process, how they ended."""
        return StageLog(self._db).records()

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

    def absorb(self, path: Path | str, replies: bool = True) -> None:
        """Take over what another study file holds and this one does not: steps, attempts at them, tables and blobs.

        All or nothing. What both hold stays as it is here; entries are checked against their hashes when they are read.

        Args:
            path: The other file, which no process writes to meanwhile.
            replies: Its replies and failed replies too.

        Raises:
            StoreError: The other file cannot be read.

        Example:
            >>> import tempfile
            >>> folder = tempfile.mkdtemp()
            >>> with Store.open(f"{folder}/one.db") as one, Store.open(f"{folder}/two.db") as two:
            ...     _ = one.step("sum", [1, 2], version=1, compute=lambda: 3)
            ...     two.absorb(one.path)
            ...     two.step("sum", [1, 2], version=1, compute=lambda: 1 / 0)
            3
        """
        Store.open(path, create=False).close()  # refused if it is none of ours, brought up to date if it is older
        self._db.absorb(Path(path), _ABSORBED + (_WORDS if replies else ()))

    def _step(self, key: str) -> StepRecord | None:
        found = self._db.rows(f"SELECT {_STEP} FROM steps WHERE key = ?", (key,))
        return self._record(found[0]) if found else None

    def _record(self, row: tuple[Any, ...]) -> StepRecord:
        key, name, version, inputs, result, digest, seconds, created = row
        what = f"step {name!r}"
        self._believe(what, digest, key, inputs, result)
        return StepRecord(key, name, version, loads(inputs, what), loads(result, what), float(seconds), float(created))

    def _fits(self, what: str, data: bytes) -> None:
        limit = self._db.limit() - 1024  # the key and the row's header count too
        if len(data) > limit:
            raise StoreError(
                f"{what} has {len(data):,} bytes and a study file takes {limit:,} in one entry; split it, or "
                f"keep it in a folder and store its path"
            )


_STEP = "key, name, version, inputs, result, checksum, seconds, created"

# What is taken over from another file: content-addressed rows as they are, attempts where they are not known yet.
_ABSORBED = (
    *(
        f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM other.{table} ORDER BY {order}"
        for table, columns, order in (
            ("steps", _STEP, "number"),
            ("tables", "key, npz, checksum, created", "key"),
            ("blobs", "digest, data, created", "digest"),
        )
    ),
    "INSERT INTO main.stages (step, name, process, began, ended, outcome, error) "
    "SELECT step, name, process, began, ended, outcome, error FROM other.stages AS o WHERE NOT EXISTS "
    "(SELECT 1 FROM main.stages AS m WHERE m.step = o.step AND m.process = o.process AND m.began = o.began) "
    "ORDER BY number",
)
_WORDS = tuple(
    f"INSERT OR IGNORE INTO main.{table} ({columns}) SELECT {columns} FROM other.{table} ORDER BY {order}"
    for table, columns, order in (
        ("models", "key, model", "key"),
        ("replies", "key, request, reply, model_key, checksum, created", "number"),
        ("failures", "key, request, reply, model_key, checksum, created", "key"),
    )
)
