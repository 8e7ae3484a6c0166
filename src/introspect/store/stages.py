"""When each stage of a study ran, in which process, and how it ended."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from introspect.errors import StoreError
from introspect.store.connection import Connection

__all__ = ["StageLog", "StageRecord"]

Outcome = Literal["running", "finished", "failed"]


@dataclass(frozen=True)
class StageRecord:
    """One attempt at a stage. The results themselves are steps.

    Attributes:
        name: The stage.
        step: Key of the step that it computes.
        process: ``pid@host``.
        began: When, in seconds since 1970.
        ended: When, or None: it runs, or its process died.
        outcome: "running" also where the process died.
        error: What kind of error ended it. Its message may quote what no file should hold, and is not kept.
    """

    name: str
    step: str
    process: str
    began: float
    ended: float | None
    outcome: Outcome
    error: str | None


class StageLog:
    """Attempts at stages, in a study file."""

    def __init__(self, connection: Connection) -> None:
        self._db = connection

    @contextmanager
    def attempt(self, name: str, step: str) -> Iterator[None]:
        """Note that a stage begins, and how it ended."""
        (number,) = self._db.rows(
            "INSERT INTO stages (step, name, process, began, outcome) VALUES (?, ?, ?, ?, 'running') RETURNING number",
            (step, name, f"{os.getpid()}@{socket.gethostname()}", time.time()),
        )[0]
        try:
            yield
        except BaseException as error:
            # What went wrong matters more than that it could not be noted down.
            with suppress(StoreError):
                self._end(number, "failed", type(error).__name__)
            raise
        self._end(number, "finished", None)

    def records(self) -> tuple[StageRecord, ...]:
        """All attempts, in the order in which they began."""
        rows = self._db.rows("SELECT name, step, process, began, ended, outcome, error FROM stages ORDER BY number")
        return tuple(StageRecord(*row) for row in rows)

    def _end(self, number: int, outcome: Outcome, error: str | None) -> None:
        self._db.rows(
            "UPDATE stages SET ended = ?, outcome = ?, error = ? WHERE number = ?",
            (time.time(), outcome, error, number),
        )
