"""A folder that remembers what a training run must not forget."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from pydantic import JsonValue

from introspect.errors import TrainingError

__all__ = ["FolderJobs"]

_STATE = "job.json"


class FolderJobs:
    """A `JobRecorder` over one folder: weights go into it, the state into ``job.json``.

    Args:
        folder: Made if it is not there. One folder per job: what is recalled is believed to be about this
            very job.
        on_progress: Called with (done, total, loss) as the training goes on.

    Raises:
        TrainingError: The folder cannot be made.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> FolderJobs(folder).record({"job": "ft-1"})
        >>> FolderJobs(folder).recall()
        {'job': 'ft-1'}
    """

    def __init__(self, folder: Path | str, on_progress: Callable[[int, int, float | None], None] | None = None) -> None:
        self._folder = Path(folder)
        self._on_progress = on_progress
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(
                f"cannot make the job folder {self._folder}: {error.strerror}. Give one that can be written to."
            ) from error

    @property
    def folder(self) -> Path:
        """Folder for weights."""
        return self._folder

    def recall(self) -> dict[str, JsonValue]:
        """What was recorded last, or nothing.

        Raises:
            TrainingError: The state file is there but is not a JSON object.
        """
        path = self._folder / _STATE
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"cannot read the job state {path}: {error}. Delete it to begin this job anew."
            ) from error
        if not isinstance(state, dict):
            raise TrainingError(
                f"the job state {path} holds a {type(state).__name__}, expected an object. "
                f"Delete it to begin this job anew."
            )
        return state

    def record(self, state: dict[str, JsonValue]) -> None:
        """Replace the state, whole or not at all, and only return once it is on disk.

        Raises:
            TrainingError: The state is not JSON, or the folder cannot be written to.
        """
        path = self._folder / _STATE
        partial = path.with_name(f"{_STATE}.{os.getpid()}.partial")
        try:
            text = json.dumps(state, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TrainingError(f"a job state must be plain JSON: {error}") from error
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(self._folder)
        except OSError as error:
            raise TrainingError(f"cannot write the job state {path}: {error}") from error

    def progress(self, done: int, total: int, loss: float | None = None) -> None:
        """Tell the person watching, if anyone is."""
        if self._on_progress is not None:
            self._on_progress(done, total, loss)


def _sync_folder(folder: Path) -> None:
    # A rename is durable only once its folder is; Windows has no such call, and no such need.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
