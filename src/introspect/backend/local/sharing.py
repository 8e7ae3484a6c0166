"""How far prompts may be run together on a model: asked of its configuration, then of the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from introspect.backend.local.forward import run_prompts
from introspect.backend.local.tree import Trunk, run_tree

__all__ = ["Sharing", "find_sharing", "kinds"]

_CLOSE = 0.02  # of the difference between prompts: a wrong mask moves logits by as much as another prompt does
_LONGEST_WINDOW = 64  # a window longer than this is not reached in the check


@dataclass(frozen=True)
class Sharing:
    """What the model was seen to allow.

    Attributes:
        mode: "tree": beginnings are shared; "padded": prompts of any lengths side by side; "equal": only prompts of
            one length side by side.
        windows: How far each kind of layer sees; None is everything.
        reason: Why no more is allowed, in words; None for a tree.
    """

    mode: Literal["tree", "padded", "equal"]
    windows: dict[str, int | None]
    reason: str | None = None


def kinds(model: Any) -> tuple[dict[str, int | None], str | None]:
    """Kinds of attention layers and how far each sees, or why a tree cannot be laid over them."""
    try:
        from transformers import DynamicCache
        from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

        layers = DynamicCache(config=model.config).layers
    except (ImportError, TypeError, AttributeError, KeyError, ValueError) as error:
        return {}, f"its cache is of a kind of its own ({type(error).__name__})"
    attention = getattr(model.config, "_attn_implementation", None)
    if attention not in ("sdpa", "eager"):
        return {}, f"its attention is {attention!r}, which takes no mask of our own"
    windows: dict[str, int | None] = {}
    for layer in layers:
        if type(layer) is DynamicLayer:
            windows["full_attention"] = None
        elif type(layer) is DynamicSlidingWindowLayer:
            windows["sliding_attention"] = int(layer.sliding_window)
        else:
            return {}, f"a layer keeps its past as {type(layer).__name__} and not as keys and values of all tokens"
    return (windows, None) if windows else ({}, "it keeps no keys and values")


@torch.inference_mode()
def find_sharing(model: Any, device: torch.device) -> Sharing:
    """Run a few short prompts together and alone, and allow what gives the same.

    Args:
        model: A causal language model in evaluation mode.
        device: Where it takes its tokens.
    """
    windows, reason = kinds(model)
    vocabulary = int(model.get_input_embeddings().num_embeddings)
    window = min((w for w in windows.values() if w is not None), default=0)
    long = window + 6 if window <= _LONGEST_WINDOW else 6
    ids = [(7 + 37 * k) % vocabulary for k in range(long + 12)]
    first = tuple(ids[:long])
    prompts = [(*first, *ids[long : long + 5]), (*first, *ids[long + 5 : long + 8]), tuple(ids[long + 8 :])]
    alone = torch.cat([_padded(model, [p], device) for p in prompts])
    scale = (alone - alone.roll(1, 0)).abs().mean()
    if reason is None:
        try:
            trunk = Trunk()
            run_tree(model, prompts[:1], windows=windows, trunk=trunk, cache=False, device=device)
            together = run_tree(model, prompts, windows=windows, trunk=trunk, cache=False, device=device)
            if _same(together.logits[:, 0].float(), alone, scale):
                return Sharing("tree", windows)
            reason = "prompts run as a tree came out otherwise than alone"
        except Exception as error:  # whatever another architecture makes of a mask of ours
            reason = f"it does not take prompts as a tree ({type(error).__name__})"
    try:
        if _same(_padded(model, prompts, device), alone, scale):
            return Sharing("padded", windows, reason)
        reason += "; nor side by side with padding"
    except Exception as error:
        reason += f"; nor side by side with padding ({type(error).__name__})"
    return Sharing("equal", windows, reason)


def _padded(model: Any, prompts: list[tuple[int, ...]], device: torch.device) -> torch.Tensor:
    return run_prompts(model, prompts, prefix=0, keep=1, cache=False, device=device).logits[:, -1].float()


def _same(found: torch.Tensor, wanted: torch.Tensor, scale: torch.Tensor) -> bool:
    return bool((found - wanted).abs().mean() <= _CLOSE * scale)
