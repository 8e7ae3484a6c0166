"""What a local training leaves in its job folder, and how it is found again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from introspect.backend.local.adapters import folder_hash
from introspect.backend.local.chat import ChatCodec
from introspect.backend.protocol import JobRecorder
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef, canonical

__all__ = ["TRAINER_VERSION", "finished", "job_key", "save_weights", "tuned_from"]

TRAINER_VERSION = 1  # raised by hand when the same inputs would train another model


def job_key(base: ModelRef, data: TrainingSet, spec: TrainingSpec) -> str:
    """What a training is known by: its base, its examples, its settings and who trains."""
    what = {"base": base.identity(), "data": data.hash, "spec": spec.model_dump(mode="json"), "v": TRAINER_VERSION}
    return hashlib.sha256(canonical(what).encode()).hexdigest()


def finished(job: str, jobs: JobRecorder) -> tuple[str, Path] | None:
    """The result of an earlier run of this very job, if it is still whole."""
    state = jobs.recall()
    digest, name = state.get("adapter"), state.get("folder")
    if state.get("job") != job or not isinstance(digest, str) or not isinstance(name, str):
        return None
    folder = jobs.folder / name
    return (digest, folder) if folder.is_dir() and folder_hash(folder) == digest else None


def tuned_from(base: ModelRef, digest: str, folder: Path) -> ModelRef:
    """The reference to what was trained from a base."""
    return base.model_copy(update={"adapter": digest, "parent": base, "location": str(folder.absolute())})


def save_weights(model: Any, codec: ChatCodec, spec: TrainingSpec, base: ModelRef, folder: Path) -> None:
    """Write what was trained, the same bytes for the same weights."""
    if spec.method == "full":
        model.save_pretrained(folder)
        codec.tokenizer.save_pretrained(folder)
        return
    # The base by name: a path would make the adapter's hash depend on where the base happens to lie.
    model.active_peft_config.base_model_name_or_path = base.model
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
