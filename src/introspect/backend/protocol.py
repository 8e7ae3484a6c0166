"""The seam: what a model must offer to be studied, and what a trainer must offer to change it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from pydantic import JsonValue

from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import Capabilities, ModelInfo, ModelRef, Reply, Request

__all__ = ["JobRecorder", "ModelBackend", "Trainer"]


@runtime_checkable
class ModelBackend(Protocol):
    """A model that answers requests.

    `generate` is given a *sequence*, so that an API adapter may ask concurrently and a local one may sort and batch;
    it yields ``(index, reply)`` in any order, as they finish, exactly once per index. A request that fails yields a
    Reply with status "failed"; only an error that dooms every further call is raised (FatalBackendError).
    """

    @property
    def info(self) -> ModelInfo: ...

    async def probe(self) -> Capabilities: ...

    def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]: ...

    async def aclose(self) -> None: ...


class JobRecorder(Protocol):
    """Where a trainer leaves what must outlive the process."""

    @property
    def folder(self) -> Path:
        """Folder for weights. Write to a temporary name and rename: a half-written file is never believed."""
        ...

    def recall(self) -> dict[str, JsonValue]:
        """What an earlier, interrupted attempt at this very job recorded (empty if none)."""
        ...

    def record(self, state: dict[str, JsonValue]) -> None:
        """Remember this, durably (for example a hosted job's id)."""
        ...

    def progress(self, done: int, total: int, loss: float | None = None) -> None:
        """Tell the person watching."""
        ...


@runtime_checkable
class Trainer(Protocol):
    """Turns a base model and a training set into a new model reference."""

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef: ...
