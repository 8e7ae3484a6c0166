"""The provider "tinker"."""

from __future__ import annotations

from introspect.backend.protocol import ModelBackend, Trainer
from introspect.backend.registry import Provider
from introspect.backend.tinker.backend import TinkerBackend
from introspect.backend.tinker.trainer import TinkerTrainer
from introspect.backend.wire import ModelRef

__all__ = ["PROVIDER"]


def _open(ref: ModelRef) -> ModelBackend:
    return TinkerBackend(ref)


def _trainer() -> Trainer:
    return TinkerTrainer()


PROVIDER = Provider(open=_open, trainer=_trainer, hosted=True)
