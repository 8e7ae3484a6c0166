"""Many prompts in one pass: every distinct beginning is computed once, whatever branches off it.

The prompts of a pack are laid out as a tree, in one row without padding. A mask lets each token see the tokens before
it in its own prompt and nothing else, so that what comes out is what each prompt alone would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from introspect.backend.local.forward import Pass, call

__all__ = ["Layout", "Trunk", "common", "lay_out", "run_tree"]


@dataclass(frozen=True)
class Layout:
    """Where the tokens of a pack lie. Columns are those of the carried beginning, then those of the new tokens.

    Attributes:
        ids: New tokens, [new].
        positions: Of each column in its own prompt, [columns].
        seen: Which columns each new token sees, [new, columns].
        paths: For each prompt, the columns of its tokens in order.
    """

    ids: np.ndarray
    positions: np.ndarray
    seen: np.ndarray
    paths: tuple[np.ndarray, ...]


@dataclass
class Trunk:
    """Keys and values of the prompt that was run last: the next pack goes on from what it shares with it.

    Attributes:
        tokens: The prompt.
        layers: Keys and values of each layer, [1, heads, tokens, width].
    """

    tokens: tuple[int, ...] = ()
    layers: list[tuple[torch.Tensor, torch.Tensor]] = field(default_factory=list)

    def forget(self) -> None:
        """Let go of the memory."""
        self.tokens, self.layers = (), []


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two prompts share.

    Example:
        >>> common([1, 2, 3], [1, 2, 4, 5])
        2
    """
    for place, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return place
    return min(len(a), len(b))


def lay_out(prompts: Sequence[Sequence[int]], carried: int = 0) -> Layout:
    """Lay prompts out as a tree.

    Args:
        prompts: Token ids in sorted order, none empty.
        carried: Leading tokens of the first prompt that are computed already, fewer than it has.

    Example:
        >>> layout = lay_out([[7, 8], [7, 9]])
        >>> layout.ids.tolist(), layout.positions.tolist()
        ([7, 8, 9], [0, 1, 1])
        >>> layout.seen.astype(int).tolist()
        [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
        >>> layout.paths[1].tolist()
        [0, 2]
    """
    ids: list[int] = []
    positions: list[np.ndarray] = [np.arange(carried)]
    paths: list[np.ndarray] = []
    segments: list[tuple[int, int]] = []  # first new column of each prompt, and how many tokens it shares
    path, before = np.arange(carried), prompts[0][:carried]
    for prompt in prompts:
        depth = common(before, prompt)
        first = carried + len(ids)
        ids += prompt[depth:]
        positions.append(np.arange(depth, len(prompt)))
        path = np.concatenate([path[:depth], np.arange(first, carried + len(ids))])
        segments.append((first, depth))
        paths.append(path)
        before = prompt
    seen = np.zeros((len(ids), carried + len(ids)), dtype=bool)
    for (first, depth), path in zip(segments, paths, strict=True):
        new = len(path) - depth
        rows = slice(first - carried, first - carried + new)
        seen[rows, path[:depth]] = True
        seen[rows, first : first + new] = np.tri(new, dtype=bool)
    return Layout(np.array(ids), np.concatenate(positions), seen, tuple(paths))


def run_tree(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    windows: dict[str, int | None],
    trunk: Trunk,
    cache: bool,
    device: torch.device,
) -> Pass:
    """Run prompts as one tree, going on from the trunk, which is left at the last prompt in sorted order.

    Args:
        model: A causal language model, with or without an adapter, whose attention takes a mask of four dimensions.
        prompts: Token ids, none empty.
        windows: How far each kind of layer sees, from `sharing.kinds`.
        trunk: What an earlier pack of the same model left.
        cache: Return keys and values of every prompt, padded on the left, to go on from.
        device: Where the model takes its tokens.

    Returns:
        Logits at the last token of each prompt, [batch, 1, vocabulary].
    """
    from transformers import DynamicCache

    order = sorted(range(len(prompts)), key=lambda i: tuple(prompts[i]))
    rows = [tuple(prompts[i]) for i in order]
    carried = min(common(trunk.tokens, rows[0]), len(rows[0]) - 1)
    layout = lay_out(rows, carried)
    kept = DynamicCache([(k[:, :, :carried], v[:, :, :carried]) for k, v in trunk.layers] if carried else None)
    trunk.forget()
    new = layout.positions[carried:]
    ends = torch.tensor([int(path[-1]) - carried for path in layout.paths], device=device)
    out = call(
        model,
        input_ids=torch.from_numpy(layout.ids)[None].to(device),
        attention_mask=_masks(layout, carried, windows, model.dtype, device),
        position_ids=torch.from_numpy(new)[None].to(device),
        past_key_values=kept,
        use_cache=True,
        logits_to_keep=ends,
    )
    logits = out.logits[0]
    if len(logits) != len(ends):  # an architecture that makes logits everywhere
        logits = logits[ends]
    back = torch.tensor(np.argsort(order), device=logits.device)
    last = torch.from_numpy(layout.paths[-1])
    trunk.tokens = rows[-1]
    trunk.layers = [_columns(layer.keys, layer.values, last) for layer in kept.layers]
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    if not cache:
        return Pass(logits[back][:, None], None, torch.empty(0), lengths)
    paths = [layout.paths[i] for i in np.argsort(order)]
    width = max(map(len, paths))
    columns = torch.zeros(len(paths), width, dtype=torch.long)
    mask = torch.zeros(len(paths), width, dtype=torch.long)
    for row, path in enumerate(paths):
        columns[row, width - len(path) :] = torch.from_numpy(path)
        mask[row, width - len(path) :] = 1
    spread = DynamicCache([_spread(layer.keys, layer.values, columns) for layer in kept.layers])
    return Pass(logits[back][:, None], spread, mask.to(device), lengths)


def _masks(
    layout: Layout, carried: int, windows: dict[str, int | None], dtype: torch.dtype, device: torch.device
) -> Any:
    """What is added to attention scores: one mask, or one for each kind of layer where kinds are mixed."""
    new = layout.positions[carried:]
    made = {}
    for kind, window in windows.items():
        seen = layout.seen
        if window is not None:
            seen = seen & (new[:, None] - layout.positions[None, :] < window)
        hidden = torch.from_numpy(~seen).to(device)
        made[kind] = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, torch.finfo(dtype).min)[
            None, None
        ]
    return made if len(made) > 1 else next(iter(made.values()))


def _columns(keys: torch.Tensor, values: torch.Tensor, path: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    there = path.to(keys.device)
    return keys.index_select(2, there), values.index_select(2, there)


def _spread(keys: torch.Tensor, values: torch.Tensor, columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    there = columns.to(keys.device)
    return keys[0, :, there].transpose(0, 1).contiguous(), values[0, :, there].transpose(0, 1).contiguous()
