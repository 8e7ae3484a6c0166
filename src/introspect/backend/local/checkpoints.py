"""What a killed training goes on from: trained weights, the optimiser's moments and the trainer's state, no pickle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from introspect.errors import MissingExtraError

__all__ = ["clear", "latest", "load_moments", "load_weights", "save", "tell", "told"]

_FILE, _TOLD = "trained.safetensors", "told.json"
_WEIGHT, _MOMENT = "weight/", "moment/"


def save(
    folder: Path, job: str, step: int, model: Any, optimizer: torch.optim.Optimizer, more: Callable[[Path], None]
) -> Path:
    """Keep a step, whole or not at all, and forget the one before.

    Args:
        folder: Where checkpoints lie.
        job: Key of the job, for the inputs of another one must not be gone on with.
        step: Gradient steps done.
        model: Its trainable parameters are kept.
        optimizer: Its moments are kept.
        more: Writes what else belongs to it into the new folder.
    """
    target = folder / f"{_prefix(job)}{step:09d}"
    partial = folder / f".partial-{target.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    tensors = {}
    for name, parameter in _trained(model).items():
        tensors[_WEIGHT + name] = parameter.detach().contiguous()
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_MOMENT}{key}/{name}"] = torch.as_tensor(value).detach().contiguous()
    _safetensors().save_file(tensors, partial / _FILE)
    more(partial)
    before = latest(folder, job)
    partial.replace(target)
    if before is not None and before != target:
        shutil.rmtree(before, ignore_errors=True)
    return target


def latest(folder: Path, job: str) -> Path | None:
    """The furthest checkpoint of this job, if there is one."""
    found = sorted(p for p in folder.glob(f"{_prefix(job)}*") if p.is_dir())
    return found[-1] if found else None


def load_weights(checkpoint: Path, model: Any) -> None:
    """Put the trained weights back."""
    tensors = _safetensors().load_file(checkpoint / _FILE)
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(tensors[_WEIGHT + name])


def load_moments(checkpoint: Path, model: Any, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimiser's moments back."""
    parameters = _trained(model)
    for place, value in _safetensors().load_file(checkpoint / _FILE).items():
        if place.startswith(_MOMENT):
            key, _, name = place.removeprefix(_MOMENT).partition("/")
            # The step counter stays on the CPU, as AdamW makes it.
            optimizer.state[parameters[name]][key] = value if key == "step" else value.to(parameters[name].device)


def tell(checkpoint: Path, told: Mapping[str, JsonValue]) -> None:
    """Write down what is told of a run besides its weights: losses and warnings up to here."""
    (checkpoint / _TOLD).write_text(json.dumps(told), encoding="utf-8")


def told(checkpoint: Path) -> dict[str, Any]:
    """What `tell` wrote; nothing where the checkpoint is older than that, or damaged: the weights are what counts."""
    try:
        found = json.loads((checkpoint / _TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def clear(folder: Path, job: str) -> None:
    """Remove all checkpoints of this job."""
    for path in folder.glob(f"{_prefix(job)}*"):
        shutil.rmtree(path, ignore_errors=True)


def _trained(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _prefix(job: str) -> str:
    return f"checkpoint-{job[:16]}-"


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingExtraError("safetensors", "local") from error
    return safetensors.torch
