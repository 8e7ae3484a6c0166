"""What clients send about fine-tuning jobs and batches."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from introspect.backend import TrainingSpec
from introspect.errors import ConfigError
from introspect.serve.errors import ApiError, bad_request, of_validation

__all__ = ["SPEC_KEY", "BatchBody", "JobBody", "parsed", "shown_hyperparameters", "spec_of"]

SPEC_KEY = "introspect_training"
"""Metadata key under which a whole `TrainingSpec` travels, as JSON: OpenAI's own fields cannot say most of it."""

Body = TypeVar("Body", bound=BaseModel)
_Auto = Literal["auto"]
_MAX_EPOCHS, _MAX_BATCH = 50, 256


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Hyperparameters(_Body):
    n_epochs: _Auto | Annotated[int, Field(ge=1, le=_MAX_EPOCHS)] = "auto"
    batch_size: _Auto | Annotated[int, Field(ge=1, le=_MAX_BATCH)] | None = "auto"
    learning_rate_multiplier: _Auto | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"


class _Supervised(_Body):
    hyperparameters: _Hyperparameters | None = None


class _Method(_Body):
    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: _Supervised | None = None
    dpo: JsonValue = None
    reinforcement: JsonValue = None


def _metadata(given: dict[str, str] | None) -> dict[str, str] | None:
    if given is not None:
        if len(given) > 16:
            raise ValueError(f"at most 16 entries, got {len(given)}")
        if any(len(key) > 64 or len(value) > 512 for key, value in given.items()):
            raise ValueError("keys have at most 64 characters and values at most 512")
    return given


class JobBody(_Body):
    """A request for a fine-tuning job."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: _Method | None = None
    hyperparameters: _Hyperparameters | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: dict[str, str] | None = None
    integrations: list[JsonValue] | None = None

    _sizes = field_validator("metadata")(_metadata)


class _Expiry(_Body):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2592000)]


class BatchBody(_Body):
    """A request for a batch."""

    input_file_id: str
    endpoint: str
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None
    output_expires_after: _Expiry | None = None

    _sizes = field_validator("metadata")(_metadata)


def parsed(kind: type[Body], raw: object) -> Body:
    """A request's body as what it should be.

    Raises:
        ApiError: It is not.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise of_validation(error) from None


def spec_of(body: JobBody, auto: TrainingSpec) -> TrainingSpec:
    """How to train: the whole settings that our own client sends, or the few that OpenAI's description has.

    Args:
        body: The request.
        auto: What "auto" stands for.

    Raises:
        ApiError: Another method than supervised; settings that contradict each other or are none.
    """
    method = body.method
    if method is not None and (method.type != "supervised" or method.dpo or method.reinforcement):
        raise ApiError(
            400, "only supervised fine-tuning is done here; method.type is 'supervised'", "unsupported_value", "method"
        )
    if body.integrations:
        raise ApiError(400, "this server has no integrations", "unsupported_parameter", "integrations")
    asked = _Hyperparameters()
    inner = None if method is None or method.supervised is None else method.supervised.hyperparameters
    for given in (body.hyperparameters, inner):
        if given is not None:
            asked = asked.model_copy(update={k: v for k, v in given.model_dump().items() if v not in ("auto", None)})
    wish: dict[str, Any] = {}
    if asked.n_epochs != "auto":
        wish["epochs"] = asked.n_epochs
    if isinstance(asked.batch_size, int):
        wish["batch_size"] = asked.batch_size
    if body.seed is not None:
        wish["seed"] = body.seed
    whole = (body.metadata or {}).get(SPEC_KEY)
    if whole is None:
        if asked.learning_rate_multiplier != "auto":
            rate = auto.learning_rate * asked.learning_rate_multiplier
            if not math.isfinite(rate):
                raise bad_request("learning_rate_multiplier is too large", "learning_rate_multiplier")
            wish["learning_rate"] = rate
        return auto.model_copy(update=wish)
    try:
        spec = TrainingSpec.model_validate_json(whole)
    except ConfigError as error:
        raise bad_request(f"metadata.{SPEC_KEY} holds no training settings: {error}", "metadata") from None
    for name, value in wish.items():
        # OpenAI's seeds are shorter than ours.
        if getattr(spec, name) != value and not (name == "seed" and spec.seed % 2**31 == value):
            raise bad_request(f"{name} is {value} here and {getattr(spec, name)} in metadata.{SPEC_KEY}", "metadata")
    return spec


def shown_hyperparameters(spec: TrainingSpec, auto: TrainingSpec) -> dict[str, Any]:
    """A job's settings as far as OpenAI's description can say them."""
    shown: dict[str, Any] = {
        "n_epochs": spec.epochs if spec.epochs <= _MAX_EPOCHS else "auto",
        "batch_size": spec.batch_size if spec.batch_size <= _MAX_BATCH else "auto",
        "learning_rate_multiplier": spec.learning_rate / auto.learning_rate or "auto",
    }
    return shown
