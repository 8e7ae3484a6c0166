"""One SQLite connection that threads share, that a fork renews and whose errors say what to do."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from introspect.errors import StoreError
from introspect.store.schema import APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION

__all__ = ["Connection", "Durability"]

Durability = Literal["kill", "full"]
"""What a commit is safe against: the death of the process, or a loss of power too (one sync of the disk each)."""

_MAGIC = b"SQLite format 3\0"
_BUSY = "another process has been writing to it for too long; end that process or try again"
_ADVICE = {
    "SQLITE_NOTADB": "it is not a study file; give another path",
    "SQLITE_CORRUPT": "the file is damaged or was cut short; restore a copy, or delete it and begin anew",
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_FULL": "the disk is full; make room and run again, what was stored is kept",
    "SQLITE_IOERR": "the disk reported an error; what was stored before is kept",
    "SQLITE_CANTOPEN": "the file cannot be opened or made; check the path and the rights of its folder",
    "SQLITE_READONLY": "the file or its folder cannot be written to; check their rights",
    "SQLITE_TOOBIG": "one entry is larger than SQLite allows (about 1 GB); split it",
}

# Connections that a forked child inherited. Closing them there could damage the file under its parent, so
# they are kept for good.
_inherited: list[sqlite3.Connection] = []


class Connection:
    """An open study file. Every statement commits by itself, except inside `transaction`.

    Args:
        path: Where the file is.
        timeout: Seconds to wait for another process's write.
        durability: What a commit is safe against.

    Raises:
        StoreError: The file cannot be opened, is not ours, is damaged or was written by a newer version.
    """

    def __init__(self, path: Path, timeout: float, durability: Durability = "kill") -> None:
        self.path = path
        self.durability = durability
        self._timeout = timeout
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._open: sqlite3.Connection | None = self._connect()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and fetch all it returns."""
        with self._ready() as connection:
            return connection.execute(sql, values).fetchall()

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for many rows; call it inside `transaction`."""
        with self._ready() as connection:
            connection.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside becomes visible at once, or not at all."""
        with self._ready() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def absorb(self, path: Path, statements: Sequence[str]) -> None:
        """Run statements with another file beside this one, under the name ``other``; all or none."""
        with self._ready() as connection:
            connection.execute("ATTACH DATABASE ? AS other", (str(path),))
            try:
                with self.transaction():
                    for statement in statements:
                        connection.execute(statement)
            finally:
                connection.execute("DETACH DATABASE other")

    def limit(self) -> int:
        """The largest entry that SQLite takes, in bytes."""
        with self._ready() as connection:
            return connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)

    def close(self) -> None:
        """Fold the write-ahead log into the one file and close it. Closing twice is harmless."""
        if os.getpid() != self._pid:
            self._renew()
        with self._lock:
            if self._open is not None:
                connection, self._open = self._open, None
                with self._explained():
                    connection.close()

    @contextmanager
    def _ready(self) -> Iterator[sqlite3.Connection]:
        if os.getpid() != self._pid:
            self._renew()
        with self._lock:
            if self._open is None:
                raise StoreError(f"{self.path}: the store was closed; open it again with Store.open")
            with self._explained():
                yield self._open

    def _renew(self) -> None:
        # The lock may have been held by a thread that the fork left behind.
        self._lock = threading.RLock()
        self._pid = os.getpid()
        if self._open is not None:
            _inherited.append(self._open)
            self._open = self._connect()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as error:
            # Extended names such as SQLITE_IOERR_WRITE begin with the primary one.
            name = getattr(error, "sqlite_errorname", "")
            primary = "_".join(name.split("_")[:2])
            advice = _ADVICE.get(primary, "what was stored before is kept")
            raise StoreError(f"{self.path}: {advice} (SQLite: {error})") from error

    def _connect(self) -> sqlite3.Connection:
        if self.path.exists():
            self.look(self.path)
        with self._explained():
            connection = sqlite3.connect(
                self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    @staticmethod
    def look(path: Path) -> None:
        """Refuse a file that SQLite would take for an empty database, and write over; an empty one is fine."""
        try:
            with path.open("rb") as file:
                head = file.read(512)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}; check its rights") from error
        if head and not head.startswith(_MAGIC):
            raise StoreError(f"{path}: {_ADVICE['SQLITE_NOTADB']}")
        if 0 < len(head) < 512:
            raise StoreError(f"{path}: {_ADVICE['SQLITE_CORRUPT']}")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        def one(sql: str) -> Any:
            return connection.execute(sql).fetchone()[0]

        # Looked at before anything is written: a file that is not ours must stay as it is.
        blank = one("SELECT count(*) FROM sqlite_master") == 0 and one("PRAGMA application_id") == 0
        if not blank:
            self._check(one("PRAGMA application_id"), one("PRAGMA user_version"))
        # In the write-ahead log a commit costs no sync; only a loss of power, not a kill, may take the last
        # ones back. With "full" each commit is synced.
        _patiently(self._timeout, lambda: one("PRAGMA journal_mode=WAL"))
        connection.execute(f"PRAGMA synchronous={'FULL' if self.durability == 'full' else 'NORMAL'}")
        if self.durability == "full":
            connection.execute("PRAGMA fullfsync=ON")  # Apple's ordinary sync leaves data in the drive's own cache
        # A file may come from someone else: nothing in it may call functions or be built upon.
        connection.execute("PRAGMA trusted_schema=OFF")
        if blank:
            connection.execute("BEGIN IMMEDIATE")
            if one("SELECT count(*) FROM sqlite_master") == 0:  # else another process was quicker
                for statement in SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("COMMIT")
            self._check(one("PRAGMA application_id"), one("PRAGMA user_version"))
        if one("PRAGMA user_version") < SCHEMA_VERSION:
            connection.execute("BEGIN IMMEDIATE")
            version = one("PRAGMA user_version")  # another process may have been quicker
            try:
                for number in range(version + 1, SCHEMA_VERSION + 1):
                    for statement in MIGRATIONS[number]:
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def _check(self, application: int, version: int) -> None:
        if application != APPLICATION_ID:
            raise StoreError(
                f"{self.path} is a SQLite database of another program, not a study file; give another path"
            )
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path} was written by a newer introspect (schema {version}; this one knows up to "
                f"{SCHEMA_VERSION}); install a newer introspect, or give another path"
            )
        if version < 1:
            raise StoreError(f"{self.path} says that its schema is {version}, which never was; it is damaged")


def _patiently(timeout: float, action: Any) -> None:
    """Changing the journal mode does not wait for other processes by itself."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
