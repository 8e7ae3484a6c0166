"""State on disk: written whole or not at all, and used by one server at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from introspect.errors import ConfigError

__all__ = ["held", "read_states", "write_state"]


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Replace a JSON file; it is on disk once this returns."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        json.dump(state, file, ensure_ascii=False, allow_nan=False, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    if os.name == "posix":  # the rename lasts only once its folder does
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_states(folder: Path, pattern: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """All states that a pattern matches, by their ``order`` (nanoseconds, for a second holds many).

    Raises:
        ConfigError: One is not what `write_state` wrote.
    """
    found = []
    for path in folder.glob(pattern):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            found.append((int(state["order"]), str(path), state))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is damaged ({error}); move it away and start the server again") from None
    for _, name, state in sorted(found, key=lambda item: item[:2]):
        yield Path(name), state


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for this process.

    Raises:
        ConfigError: The folder cannot be written to, or another server holds it.
    """
    lock = folder / "server.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be used: {error.strerror}. Give another one.") from None
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # not POSIX: nothing to hold it with
            pass
        except OSError:
            file.seek(0)
            who = file.read(40).strip() or "unknown"
            raise ConfigError(
                f"another server (process {who}) works on {folder}. Stop it, or give another folder."
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
