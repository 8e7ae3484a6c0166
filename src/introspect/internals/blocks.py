"""The blocks of a decoder, found by structure: no list of architectures."""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import Any

import torch
from torch import nn

from introspect.errors import CapabilityError

__all__ = ["find_blocks", "find_embedding", "hidden_of", "weights_hash", "with_hidden"]


def find_blocks(model: nn.Module) -> tuple[nn.Module, ...]:
    """The stack of residual blocks: of all outermost module lists, the one that holds most parameters.

    Args:
        model: A decoder, with adapters or without.

    Raises:
        CapabilityError: The model has no list of modules.

    Example:
        >>> class Decoder(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.heads = nn.ModuleList([nn.Linear(2, 2)])
        ...         self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        >>> len(find_blocks(Decoder()))
        3
    """
    lists: dict[str, nn.ModuleList] = {
        name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)
    }
    outermost = {name: m for name, m in lists.items() if not any(name.startswith(other + ".") for other in lists)}
    if not outermost:
        raise CapabilityError(
            f"{type(model).__name__} holds no list of blocks (torch.nn.ModuleList), so there is no layer to read or "
            f"write; give a decoder whose blocks are in one"
        )
    most = max(outermost, key=lambda name: sum(p.numel() for p in outermost[name].parameters()))
    return tuple(outermost[most])


def find_embedding(model: nn.Module) -> nn.Module | None:
    """The module that turns token ids into vectors, where the model names one."""
    get = getattr(model, "get_input_embeddings", None)
    found = get() if callable(get) else None
    return found if isinstance(found, nn.Module) else None


def weights_hash(model: nn.Module) -> str:
    """`sha256:` over every parameter and buffer: name, type, shape and bytes, tied ones once.

    Example:
        >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> weights_hash(one) == weights_hash(one), weights_hash(one) == weights_hash(other)
        (True, False)
    """
    whole = hashlib.sha256()
    for name, value in sorted(chain(model.named_parameters(), model.named_buffers()), key=lambda pair: pair[0]):
        plain = value.detach().cpu().contiguous()
        whole.update(f"{name}\0{plain.dtype}\0{tuple(plain.shape)}\0".encode())
        whole.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256:{whole.hexdigest()}"


def hidden_of(output: Any) -> torch.Tensor:
    """The residual stream in what a block returns, [batch, columns, width]: the tensor, or the first of a tuple."""
    found = output[0] if isinstance(output, tuple | list) else output
    if not isinstance(found, torch.Tensor) or found.dim() != 3:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise CapabilityError(f"a block returned {shape}, expected a stream of [batch, columns, width]")
    return found


def with_hidden(output: Any, hidden: torch.Tensor) -> Any:
    """What the block returned, with another stream in it."""
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    if isinstance(output, list):
        return [hidden, *output[1:]]
    return hidden
