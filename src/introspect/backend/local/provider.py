"""The provider "transformers": open-weight chat models on this machine."""

from __future__ import annotations

from introspect.backend.protocol import ModelBackend, Trainer
from introspect.backend.registry import Provider
from introspect.backend.wire import ModelRef
from introspect.errors import MissingExtraError

__all__ = ["PROVIDER"]


def _open(ref: ModelRef) -> ModelBackend:
    try:
        from introspect.backend.local.backend import TransformersBackend
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "local") from error
    return TransformersBackend(ref)


def _trainer() -> Trainer:
    try:
        from introspect.backend.local.trainer import TransformersTrainer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "local") from error
    return TransformersTrainer()


PROVIDER = Provider(open=_open, trainer=_trainer)
