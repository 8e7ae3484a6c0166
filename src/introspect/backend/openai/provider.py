"""The provider "openai": models behind OpenAI's interface."""

from __future__ import annotations

from introspect.backend.openai.backend import OpenAIBackend
from introspect.backend.protocol import ModelBackend
from introspect.backend.registry import Provider
from introspect.backend.wire import ModelRef

__all__ = ["PROVIDER"]


def _open(ref: ModelRef) -> ModelBackend:
    return OpenAIBackend(ref)


PROVIDER = Provider(open=_open, hosted=True)
