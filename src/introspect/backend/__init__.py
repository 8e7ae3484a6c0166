"""Who is asked: models behind one seam, what crosses it, and what wraps around it.

Nothing here imports a model library: adapters are loaded when `open_model` needs them.
"""

from __future__ import annotations

from introspect.backend.budgeted import Budget, Budgeted, Price, load_prices
from introspect.backend.cached import KEY_VERSION, Cached, ReplyStore, request_key
from introspect.backend.failures import Failure
from introspect.backend.function import FunctionBackend
from introspect.backend.jobs import FolderJobs
from introspect.backend.limited import Limited
from introspect.backend.portal import ask, collect, run_sync
from introspect.backend.protocol import JobRecorder, ModelBackend, Trainer
from introspect.backend.recorded import Recorded
from introspect.backend.registry import Provider, known_providers, open_model, register, trainer_for
from introspect.backend.retrying import Retrying
from introspect.backend.secrets import Secret, scrub
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
from introspect.backend.wrapping import Wrapper

__all__ = [
    "KEY_VERSION",
    "Budget",
    "Budgeted",
    "Cached",
    "Capabilities",
    "Failure",
    "FolderJobs",
    "FunctionBackend",
    "JobRecorder",
    "Limited",
    "Message",
    "ModelBackend",
    "ModelInfo",
    "ModelRef",
    "Price",
    "Provider",
    "Recorded",
    "Reply",
    "ReplyStatus",
    "ReplyStore",
    "Request",
    "Retrying",
    "Secret",
    "Trainer",
    "TrainingExample",
    "TrainingSet",
    "TrainingSpec",
    "Usage",
    "Wrapper",
    "as_finished",
    "ask",
    "collect",
    "known_providers",
    "load_prices",
    "open_model",
    "register",
    "request_key",
    "run_sync",
    "scrub",
    "trainer_for",
]
