"""What a job tells of its gradient steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["as_csv", "metrics"]


def metrics(steps: Sequence[tuple[int, float | None]]) -> dict[str, Any]:
    """Of the last step, as OpenAI's checkpoints tell it.

    Example:
        >>> metrics([(1, 0.9), (2, 0.5)])
        {'step': 2, 'train_loss': 0.5}
    """
    if not steps:
        return {"step": 0}
    step, loss = steps[-1]
    return {"step": step} if loss is None else {"step": step, "train_loss": loss}


def as_csv(path: Path, steps: Sequence[tuple[int, float | None]]) -> Path:
    """Every step and its loss, in a file."""
    lines = [f"{step},{'' if loss is None else format(loss, '.6g')}" for step, loss in steps]
    path.write_text("\n".join(["step,train_loss", *lines]) + "\n", encoding="utf-8")
    return path
