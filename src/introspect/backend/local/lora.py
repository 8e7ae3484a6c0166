"""Where an adapter goes on a network: a new one, or the one that the base wears."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import JsonValue

from introspect.backend.local.adapters import intact, load_adapter, verify_adapter
from introspect.backend.local.bases import Weights
from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.errors import TrainingError

__all__ = ["alpha_of", "with_lora"]


def with_lora(plain: Any, base: ModelRef, weights: Weights, spec: TrainingSpec, extra: dict[str, Any]) -> Any:
    """The network wearing what is to be trained; the plain one is changed in place until the adapter is unloaded, and
    not at all where that fails.

    Raises:
        TrainingError: The base wears an adapter of another shape, or LoRA cannot be put on it.
        BackendError: The adapter's files are not those that the reference names, or cannot be loaded.
    """
    from peft import LoraConfig, get_peft_model

    if weights.adapter is not None and weights.digest is not None:
        verify_adapter(weights.adapter, weights.digest)
        model = load_adapter(plain, weights.adapter, trainable=True)
        worn = model.active_peft_config
        if (worn.r, worn.lora_alpha) != (spec.lora_rank, alpha_of(spec)):
            model.unload().requires_grad_(False)
            raise TrainingError(
                f"{base} wears an adapter of rank {worn.r} and alpha {worn.lora_alpha}, which this training would "
                f"go on with; the settings ask for rank {spec.lora_rank} and alpha {alpha_of(spec)}. "
                f"Use the same in all trainings of a lineage."
            )
        return model
    config = LoraConfig(
        r=spec.lora_rank,
        lora_alpha=alpha_of(spec),
        lora_dropout=extra["dropout"],
        target_modules=_targets(plain, extra),
        layers_to_transform=_layers(plain, extra["layers"]),
        task_type="CAUSAL_LM",
    )
    try:
        with intact(plain):
            return get_peft_model(plain, config)
    except ValueError as error:
        raise TrainingError(f"LoRA cannot be put on {base}: {error}") from error


def _layers(model: Any, asked: JsonValue) -> list[int] | None:
    """Numbers of the layers to change: all, a list of them, or a half.

    Raises:
        TrainingError: It is none of these, or the model has no such layer.
    """
    if asked is None:
        return None
    n = int(model.config.get_text_config().num_hidden_layers)
    if isinstance(asked, str):
        halves = {"first half": range(n // 2), "second half": range(n // 2, n)}
        if asked not in halves:
            raise TrainingError(f"layers must be a list of numbers or one of {', '.join(halves)}, got {asked!r}")
        return list(halves[asked])
    wrong = [k for k in asked if not isinstance(k, int) or not 0 <= k < n] if isinstance(asked, list) else [asked]
    if wrong or not asked:
        raise TrainingError(f"layers {asked!r}: expected numbers from 0 to {n - 1}, for the model has {n} layers")
    return [int(k) for k in asked]  # type: ignore[union-attr, arg-type]


def alpha_of(spec: TrainingSpec) -> int:
    """LoRA's scale: twice the rank, unless the settings say otherwise."""
    return 2 * spec.lora_rank if spec.lora_alpha is None else spec.lora_alpha


def _targets(model: Any, extra: dict[str, Any]) -> Any:
    """PEFT takes "all-linear" only for all layers, so for some the names are spelled out."""
    if extra["target_modules"] != "all-linear" or extra["layers"] is None:
        return extra["target_modules"]
    head = model.get_output_embeddings()
    linear = (n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return sorted({name.rpartition(".")[2] for name in linear})
