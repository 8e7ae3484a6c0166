"""A study file as the memory of trainings and batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import JsonValue

from introspect.backend.jobs import FolderJobs
from introspect.errors import StoreError
from introspect.store import Store

__all__ = ["StoredJobs"]


class StoredJobs:
    """A `JobRecorder` whose state is kept in a `Store`, and whose weights lie in a folder.

    Args:
        store: Where the state is kept.
        key: The job's, given by the hash of what it is made of: what is recalled is believed to be about this very job.
        folder: For weights; made if it is not there.
        on_progress: Called with (done, total, loss) as the work goes on.

    Raises:
        TrainingError: The folder cannot be made.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with Store.open(f"{folder}/study.db") as store:
        ...     StoredJobs(store, "3f2a", f"{folder}/3f2a").record({"job": "ftjob-1"})
        ...     StoredJobs(store, "3f2a", f"{folder}/3f2a").recall()
        {'job': 'ftjob-1'}
    """

    def __init__(
        self,
        store: Store,
        key: str,
        folder: Path | str,
        on_progress: Callable[[int, int, float | None], None] | None = None,
    ) -> None:
        self._store = store
        self._key = key
        self._folder = FolderJobs(folder, on_progress)

    @property
    def folder(self) -> Path:
        """Folder for weights."""
        return self._folder.folder

    def recall(self) -> dict[str, JsonValue]:
        """What was recorded last, or nothing.

        Raises:
            StoreError: The state cannot be believed.
        """
        state = self._store.jobs.get(self._key)
        if state is None:
            return self._folder.recall()  # where version 1 kept it
        if not isinstance(state, dict):
            raise StoreError(f"{self._store.path}: job {self._key} holds a {type(state).__name__}, expected an object")
        return state

    def record(self, state: dict[str, JsonValue]) -> None:
        """Replace the state, and only return once it is committed.

        Raises:
            StoreError: The state is not JSON, or cannot be written.
        """
        self._store.jobs[self._key] = state

    def progress(self, done: int, total: int, loss: float | None = None) -> None:
        """Tell the person watching, if anyone is."""
        self._folder.progress(done, total, loss)
