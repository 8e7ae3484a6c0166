"""Who is told how a study goes on."""

from __future__ import annotations

import io
import sys
from typing import Never, Protocol, TextIO

from tqdm.auto import tqdm

__all__ = ["ProgressWatcher", "SilentWatcher", "Watcher"]


class Watcher(Protocol):
    """Who is told how a study goes on."""

    def stage(self, name: str, done: bool) -> None:
        """A stage begins (or, with done, was found finished in the store)."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Part of the current stage is done."""


class SilentWatcher:
    """Says nothing."""

    def stage(self, name: str, done: bool) -> None:
        """Ignored."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Ignored."""


class ProgressWatcher:
    """A line and a bar per stage.

    Args:
        file: Where to write; standard error, so that standard output stays clean.
        opening: Said before the first stage, so that a study that cannot begin says nothing but why.
    """

    def __init__(self, file: TextIO | None = None, opening: str = "") -> None:
        # A process may have been started without standard error.
        self._file = file or sys.stderr or io.StringIO()
        self._opening = opening
        self._bar: tqdm[Never] | None = None

    def stage(self, name: str, done: bool) -> None:
        """A new bar, or a line that the stage was finished before."""
        self.close()
        if self._opening:
            print(self._opening, file=self._file)
            self._opening = ""
        if done:
            print(f"{name}: done before", file=self._file)
        else:
            self._bar = tqdm(desc=name, file=self._file, mininterval=0.5, dynamic_ncols=True)

    def progress(self, done: int, total: int, unit: str) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.total, self._bar.unit = total, f" {unit}"
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Close the last bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
