"""A model whose weights were changed otherwise than by training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from introspect.backend.wire import ModelRef
from introspect.study.drawing import content_hash
from introspect.study.stages import Stages

__all__ = ["Edited", "edited"]


@dataclass(frozen=True)
class Edited:
    """The changed model, where a step would else hand on what a training made."""

    ref: ModelRef


def edited(
    stages: Stages, seed: int, name: str, base: ModelRef, edit: Callable[[ModelRef, Path], ModelRef], data: object
) -> Edited:
    """A change of a model's weights, made once.

    Args:
        stages: Where it is kept and found.
        seed: The study's seed.
        name: The step is called "train {name}", as the training is that it stands for.
        base: The model.
        edit: Makes the changed model in a folder.
        data: What is changed, as plain JSON.
    """
    inputs = [base.key, "edited", data]

    def compute() -> Any:
        return edit(base, stages.folder / content_hash(inputs)[:20]).model_dump(mode="json")

    labels = ("another base model", "another kind of change", "other contexts")
    return Edited(ModelRef.model_validate(stages.step(seed, f"train {name}", inputs, compute, labels)))
