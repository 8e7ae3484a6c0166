"""What a server serves, where it keeps its state, and how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from introspect.backend import ModelRef, TrainingSpec
from introspect.backend.secrets import Secret
from introspect.serve.naming import served_name

__all__ = ["Limits", "ServeConfig"]

_MB = 2**20


@dataclass(frozen=True)
class Limits:
    """How much one server takes before it says no, in OpenAI's error format.

    Attributes:
        body: Bytes of a JSON request.
        file: Bytes of an uploaded file.
        line: Bytes of one line of a JSON Lines file.
        lines: Lines of a JSON Lines file.
        files: Files kept.
        storage: Bytes of all files together.
        jobs: Fine-tuning jobs kept.
        waiting_jobs: Fine-tuning jobs that are not finished.
        batches: Batches kept.
        messages: Messages of one conversation.
        n: Choices of one request.
        max_tokens: Longest answer, in tokens.
        pending: Requests to models that may wait at once.
    """

    body: int = 8 * _MB
    file: int = 200 * _MB
    line: int = 4 * _MB
    lines: int = 200_000
    files: int = 2_000
    storage: int = 4_000 * _MB
    jobs: int = 2_000
    waiting_jobs: int = 100
    batches: int = 2_000
    messages: int = 1_000
    n: int = 128
    max_tokens: int = 32_768
    pending: int = 10_000


@dataclass(frozen=True)
class ServeConfig:
    """One server.

    Args:
        model: The base model.
        folder: Where files, jobs and trained weights are kept; a server that is started on it again goes on.
        name: What clients call the base model; from the reference where None.
        key: What clients must send as a bearer token; None for no key, on a loopback address only.
        spec: How to train where a job says "auto". ``learning_rate_multiplier`` multiplies its learning rate.
        limits: How much is taken.
        default_max_tokens: Longest answer where a request names none.
        parallel: Batches of requests that one model works on at once.

    """

    model: ModelRef
    folder: Path
    name: str = ""
    key: Secret | None = None
    spec: TrainingSpec | None = None
    limits: Limits = Limits()
    default_max_tokens: int = 256
    parallel: int = 2

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", served_name(self.model))

    @property
    def training(self) -> TrainingSpec:
        """The settings that "auto" stands for."""
        if self.spec is not None:
            return self.spec
        if self.model.provider == "organism":
            from introspect.study.presets import ORGANISM_PROTOCOL

            return ORGANISM_PROTOCOL.instil
        return TrainingSpec()
