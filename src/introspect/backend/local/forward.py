"""One pass of a causal language model over left-padded prompts whose shared beginning is run only once."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

__all__ = ["Pass", "can_share", "run_prompts"]


@dataclass
class Pass:
    """What a pass over prompts leaves behind.

    Attributes:
        logits: At the last `keep` positions, [batch, keep, vocabulary]; the prompts all end in the last column.
        cache: Keys and values, to go on from; None where they were not asked for.
        mask: Which columns of the cache are real, [batch, columns].
        lengths: Real tokens so far, [batch].
    """

    logits: torch.Tensor
    cache: Any
    mask: torch.Tensor
    lengths: torch.Tensor


def can_share(model: Any) -> bool:
    """Whether the model keeps plain keys and values, which can be computed for one prompt and handed to many."""
    try:
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer

        layers = DynamicCache(config=model.config).layers
    except (ImportError, TypeError, AttributeError):
        return False
    return all(type(layer) is DynamicLayer for layer in layers)


def run_prompts(
    model: Any, prompts: Sequence[Sequence[int]], *, prefix: int, keep: int, cache: bool, device: torch.device
) -> Pass:
    """Run prompts side by side. Gradients flow through all of it, the shared beginning included.

    Args:
        model: A causal language model, with or without an adapter.
        prompts: Token ids, none empty.
        prefix: Leading tokens that all prompts share; only where `can_share`.
        keep: Logits are made for so many last positions: the vocabulary is large, and only answers are read.
        cache: Keep keys and values of all positions.
        device: Where the model lives.
    """
    rests = [list(p[prefix:]) for p in prompts]
    width = max(map(len, rests))
    ids = torch.zeros(len(rests), width, dtype=torch.long)
    mask = torch.zeros(len(rests), width, dtype=torch.long)
    for row, rest in enumerate(rests):
        ids[row, width - len(rest) :] = torch.tensor(rest)
        mask[row, width - len(rest) :] = 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0) + prefix
    past = None
    if prefix:
        from transformers import DynamicCache

        past = DynamicCache(config=model.config)
        head = torch.tensor([list(prompts[0][:prefix])], device=device)
        call(model, input_ids=head, past_key_values=past, use_cache=True, logits_to_keep=1)
        past.batch_repeat_interleave(len(rests))
        mask = torch.cat([torch.ones(len(rests), prefix, dtype=torch.long), mask], dim=1)
    mask = mask.to(device)
    out = call(
        model,
        input_ids=ids.to(device),
        attention_mask=mask,
        position_ids=positions.to(device),
        past_key_values=past,
        use_cache=cache or past is not None,
        logits_to_keep=keep,
    )
    return Pass(out.logits[:, -keep:], past_of(out) if cache else None, mask, mask.sum(-1))


def past_of(out: Any) -> Any:
    """What a model gives to go on from: keys and values, or the state of one that keeps a state instead."""
    found = getattr(out, "past_key_values", None)
    return found if found is not None else getattr(out, "cache_params", None)


def takes(model: Any) -> frozenset[str]:
    """Names of what a model's forward takes; not every architecture knows every input."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    function = getattr(inner.forward, "__func__", None)
    return _named(function) if function is not None else frozenset(inspect.signature(inner.forward).parameters)


@lru_cache(maxsize=64)
def _named(function: Any) -> frozenset[str]:
    # Kept by the class's function: a signature takes as long to read as a block of a small model takes to run.
    return frozenset(inspect.signature(function).parameters) - {"self"}


def call(model: Any, **inputs: Any) -> Any:
    """Call a model with what its forward takes."""
    known = takes(model)
    return model(**{k: v for k, v in inputs.items() if k in known and v is not None})
