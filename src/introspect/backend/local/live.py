"""A model that is being trained, behind the seam: asked between two steps, with the weights that it has just then."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch

from introspect.backend.local.backend import TransformersBackend
from introspect.backend.local.bases import Base
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.schemas import Schemas
from introspect.backend.local.sharing import find_sharing
from introspect.backend.wire import ModelRef

__all__ = ["LiveBackend", "live_base"]


class _Seat:
    """Wears what is being trained, whatever it is asked to wear."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def wear(self, folder: Path | None, digest: str | None) -> Any:
        """The model as it is now."""
        return self._model


class LiveBackend(TransformersBackend):
    """Asks a model in the middle of its training. Its identity is its base's: nothing of it may be cached.

    Args:
        ref: What is trained on.
        live: From `live_base`.
    """

    def __init__(self, ref: ModelRef, live: Base) -> None:
        self._live = live
        super().__init__(ref, device=str(live.device))

    def _base(self) -> Base:
        return self._live


def live_base(model: Any, codec: ChatCodec, device: torch.device) -> Base:
    """A base around a model that is being trained."""
    seat: Any = _Seat(model)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return Base(
        model=inner,
        codec=codec,
        context_length=getattr(model.config.get_text_config(), "max_position_embeddings", None),
        device=device,
        dtype=model.dtype,
        sharing=find_sharing(inner.eval(), device),
        schemas=Schemas(codec),
        seat=seat,
        lock=threading.Lock(),
    )
