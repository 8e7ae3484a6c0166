"""The provider "openai": models behind OpenAI's interface."""

from __future__ import annotations

from introspect.backend.openai.backend import OpenAIBackend
from introspect.backend.openai.trainer import OpenAITrainer
from introspect.backend.protocol import ModelBackend, Trainer
from introspect.backend.registry import Provider
from introspect.backend.wire import ModelRef

__all__ = ["PROVIDER"]


def _open(ref: ModelRef) -> ModelBackend:
    return OpenAIBackend(ref)


def _trainer() -> Trainer:
    return OpenAITrainer()


PROVIDER = Provider(open=_open, trainer=_trainer, hosted=True)
