"""Who is asked: models behind one seam, what crosses it, and what wraps around it.

Nothing here imports a model library: adapters are loaded when `open_model` needs them.
"""

from __future__ import annotations

from introspect.backend.cached import KEY_VERSION, Cached, ReplyStore, request_key
from introspect.backend.function import FunctionBackend
from introspect.backend.jobs import FolderJobs
from introspect.backend.portal import ask, collect, run_sync
from introspect.backend.protocol import JobRecorder, ModelBackend, Trainer
from introspect.backend.registry import Provider, known_providers, open_model, register, trainer_for
from introspect.backend.streaming import as_finished
from introspect.backend.training import TrainingExample, TrainingSet, TrainingSpec
from introspect.backend.wire import (
    Capabilities,
    Message,
    ModelInfo,
    ModelRef,
    Reply,
    ReplyStatus,
    Request,
    Usage,
)

__all__ = [
    "KEY_VERSION",
    "Cached",
    "Capabilities",
    "FolderJobs",
    "FunctionBackend",
    "JobRecorder",
    "Message",
    "ModelBackend",
    "ModelInfo",
    "ModelRef",
    "Provider",
    "Reply",
    "ReplyStatus",
    "ReplyStore",
    "Request",
    "Trainer",
    "TrainingExample",
    "TrainingSet",
    "TrainingSpec",
    "Usage",
    "as_finished",
    "ask",
    "collect",
    "known_providers",
    "open_model",
    "register",
    "request_key",
    "run_sync",
    "trainer_for",
]
