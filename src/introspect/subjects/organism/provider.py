"""What the registry needs to open and train organisms."""

from __future__ import annotations

from introspect.backend import ModelBackend, ModelRef, Trainer
from introspect.backend.registry import Provider
from introspect.errors import MissingExtraError

__all__ = ["PROVIDER"]


def _need_torch() -> None:
    try:
        import safetensors
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "organism") from None
    del safetensors


def _open(ref: ModelRef) -> ModelBackend:
    _need_torch()
    from introspect.subjects.organism.backend import OrganismBackend

    return OrganismBackend(ref)


def _trainer() -> Trainer:
    _need_torch()
    from introspect.subjects.organism.trainer import OrganismTrainer

    return OrganismTrainer()


PROVIDER = Provider(open=_open, trainer=_trainer)
