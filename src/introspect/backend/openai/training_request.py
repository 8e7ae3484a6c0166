"""A `TrainingSpec` as a fine-tuning service's request, as far as the service has words for it."""

from __future__ import annotations

import hashlib
from typing import Any

from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef, canonical
from introspect.errors import TrainingError

__all__ = ["JOB_KEY", "SPEC_KEY", "file_name", "job_key", "request_of", "same_job"]

SPEC_KEY = "introspect_training"
"""Metadata under which a server of this library is sent the whole spec."""
JOB_KEY = "introspect_job"
"""Metadata by which a job is found again whose id was lost with the process that created it."""
_DATA_KEY = "introspect_data"
_OURS = ("learning_rate_multiplier", "suffix")
_MAX_EPOCHS, _MAX_BATCH, _MAX_VALUE = 50, 256, 512


def job_key(base: ModelRef, data: TrainingSet, spec: TrainingSpec) -> str:
    """What makes a training this training: equal inputs, equal key."""
    whole = canonical([base.identity(), data.hash, spec.model_dump(mode="json")])
    return hashlib.sha256(whole.encode()).hexdigest()[:40]


def file_name(data: TrainingSet) -> str:
    """A name by which equal training data is recognised on the server."""
    return f"introspect-{data.hash.removeprefix('sha256:')}.jsonl"


def request_of(
    model: str, file: str, data: TrainingSet, spec: TrainingSpec, key: str, *, whole: bool
) -> dict[str, Any]:
    """The arguments of the SDK's ``fine_tuning.jobs.create``.

    Args:
        model: Name of the base.
        file: Id of the training file.
        data: What is in it.
        spec: How to train.
        key: From `job_key`.
        whole: Whether the server understands a whole spec (a server of this library does).

    Raises:
        TrainingError: The spec asks for what the service cannot be told.
    """
    multiplier, suffix = (spec.extra.get(name) for name in _OURS)
    hyperparameters: dict[str, Any] = {}
    if spec.epochs <= _MAX_EPOCHS:
        hyperparameters["n_epochs"] = spec.epochs
    if spec.batch_size <= _MAX_BATCH:
        hyperparameters["batch_size"] = spec.batch_size
    metadata = {JOB_KEY: key, _DATA_KEY: data.hash}
    if whole:
        sent = spec.model_copy(update={"extra": {k: v for k, v in spec.extra.items() if k not in _OURS}})
        metadata[SPEC_KEY] = sent.model_dump_json(exclude_defaults=True)
        if len(metadata[SPEC_KEY]) > _MAX_VALUE:
            raise TrainingError(f"the settings are longer than the {_MAX_VALUE} characters that can be sent with a job")
    else:
        _check(spec)
        if multiplier is not None:
            hyperparameters["learning_rate_multiplier"] = multiplier
    request: dict[str, Any] = {
        "model": model,
        "training_file": file,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "seed": spec.seed % 2**31,
        "metadata": metadata,
    }
    return request if suffix is None else {**request, "suffix": str(suffix)}


def same_job(job: Any, key: str, request: dict[str, Any]) -> bool:
    """Whether a job on the server is the one that this request makes."""
    metadata = getattr(job, "metadata", None) or {}
    if metadata or "metadata" in request:
        return bool(metadata.get(JOB_KEY) == key)
    # A service without metadata: equal data lie in one file, so file, model and seed are as good as a key.
    return (job.training_file, job.model, job.seed) == (request["training_file"], request["model"], request["seed"])


def _check(spec: TrainingSpec) -> None:
    unknown = sorted(set(spec.extra) - set(_OURS))
    problems = [f"the extra setting {name!r}" for name in unknown]
    if spec.epochs > _MAX_EPOCHS:
        problems.append(f"{spec.epochs} epochs (at most {_MAX_EPOCHS})")
    if spec.batch_size > _MAX_BATCH:
        problems.append(f"batches of {spec.batch_size} (at most {_MAX_BATCH})")
    if spec.max_steps is not None:
        problems.append("max_steps")
    if spec.method == "full":
        problems.append('method "full"')
    if problems:
        raise TrainingError(
            f"a hosted fine-tuning service cannot be told {', '.join(problems)}. It takes epochs, batch_size, seed and "
            f'extra={{"learning_rate_multiplier": ..., "suffix": ...}}; the rest it decides itself'
        )
