"""Looking at a model in training: accuracy, faithfulness and parse rate over steps are a result of their own."""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
from pydantic import JsonValue

from introspect.backend.protocol import JobRecorder, ModelBackend, Trainer
from introspect.errors import TrainingError

__all__ = ["TrainingWatch", "thinned", "trajectory", "watched"]

_TRAJECTORY = "trajectory.jsonl"
_LOSSES_KEPT = 200


class TrainingWatch(Protocol):
    """Looks at a model while it is trained."""

    @property
    def every(self) -> int:
        """Gradient steps between two looks."""
        ...

    def look(self, model: ModelBackend) -> dict[str, JsonValue]:
        """What is seen of the model as it is now. Keep no hold of it."""
        ...


def watched(trainer: Trainer, watch: TrainingWatch, jobs: JobRecorder) -> Trainer:
    """The trainer, with what is seen on the way appended to a file beside the weights."""
    begin: Any = getattr(trainer, "watched", None)
    if begin is None:
        raise TrainingError(
            f"{type(trainer).__name__} cannot be watched while it trains; open-weight models of the provider "
            f"'transformers' can"
        )

    def look(step: int, steps: int, model: ModelBackend) -> None:
        row = {"step": step, "steps": steps, **watch.look(model)}
        with (jobs.folder / _TRAJECTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    watching: Trainer = begin(watch.every, look)
    return watching


def trajectory(jobs: JobRecorder) -> tuple[dict[str, JsonValue], ...]:
    """What was seen, by step; of a step that was done twice, because of a kill, the later."""
    try:
        lines = (jobs.folder / _TRAJECTORY).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    rows: dict[int, dict[str, JsonValue]] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # cut off by a kill
            continue
        rows[int(row["step"])] = row
    return tuple(rows[step] for step in sorted(rows))


def thinned(losses: JsonValue) -> tuple[float, ...]:
    """A recorded list of losses, at most 200 of them, evenly spaced."""
    known = [float(x) for x in losses if isinstance(x, int | float)] if isinstance(losses, list) else []
    if len(known) <= _LOSSES_KEPT:
        return tuple(known)
    return tuple(known[int(k)] for k in np.linspace(0, len(known) - 1, _LOSSES_KEPT))
