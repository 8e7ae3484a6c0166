"""One process at a time on a study, and a word to the second about who has it."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType

from introspect.errors import StoreError

__all__ = ["FolderLock"]

_NAME = "study.lock"
_POLL = 0.2


class FolderLock:
    """Holds a folder for this process while the block runs.

    The operating system holds the lock, not the file's content: it falls with the process, however that dies, so there
    is no stale lock to clean away. The file says who holds it.

    Args:
        folder: What is held. It is made if it is not there.
        wait: Seconds to wait for whoever holds it.
        on_wait: Told once, in a sentence, that somebody else is waited for.

    Raises:
        StoreError: Somebody else holds it still (process, host and since when), or the folder cannot be written to.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with FolderLock(folder), FolderLock(folder):
        ...     pass
        Traceback (most recent call last):
        introspect.errors.StoreError: ... is in use by this very process ...
    """

    def __init__(self, folder: Path | str, wait: float = 0.0, on_wait: Callable[[str], None] | None = None) -> None:
        self.folder = Path(folder).expanduser()
        self._wait = wait
        self._on_wait = on_wait
        self._handle: int | None = None

    def __enter__(self) -> FolderLock:
        path = self.folder / _NAME
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreError(
                f"{self.folder} cannot be made or written to: {error.strerror} ({error.filename}); give another path"
            ) from error
        try:
            self._take(handle, path)
            os.ftruncate(handle, 0)
            os.write(
                handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}).encode()
            )
        except OSError as error:
            os.close(handle)
            raise StoreError(f"{path} cannot be locked or written: {error.strerror}") from error
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        _held.add(handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        handle, self._handle = self._handle, None
        if handle is not None and handle in _held:  # a forked child holds nothing
            _held.discard(handle)
            # The file stays: taking it away would let two processes lock two files of one name.
            with suppress(OSError):
                os.ftruncate(handle, 0)
            os.close(handle)

    def _take(self, handle: int, path: Path) -> None:
        until, told = time.monotonic() + self._wait, False
        while not _try_lock(handle):
            sentence = f"{self.folder} is in use by {_holder(path)}"
            left = until - time.monotonic()
            if left <= 0:
                raise StoreError(f"{sentence}; wait until it has ended, end it, or give another folder")
            if not told and self._on_wait is not None:
                self._on_wait(f"{sentence}; waiting for up to {self._wait:.0f} s")
            told = True
            time.sleep(min(_POLL, left))


# Handles of locks that this process holds. A forked child shares them, and would go on holding them after its parent
# has died; so it closes its own.
_held: set[int] = set()


def _leave_to_parent() -> None:
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _holder(path: Path) -> str:
    """Who wrote itself into the lock file."""
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))
        pid, host, since = int(seen["pid"]), str(seen["host"]), float(seen["since"])
        when = datetime.fromtimestamp(since).astimezone().isoformat(sep=" ", timespec="seconds")
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "another process, which does not say its name"
    here = host == socket.gethostname()
    who = "this very process" if here and pid == os.getpid() else f"process {pid}"
    return f"{who} on {host} since {when}"


if sys.platform == "win32":

    def _try_lock(handle: int) -> bool:
        import msvcrt

        # One byte far beyond the content, which others must be able to read.
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True

else:

    def _try_lock(handle: int) -> bool:
        import errno
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True
