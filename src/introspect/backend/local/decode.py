"""Writing replies: greedy or sampled, many at a time, each from its own random stream."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from introspect.backend.local.forward import Pass, call, past_of, takes

if TYPE_CHECKING:
    from introspect.backend.local.schemas import SchemaGuide

__all__ = ["Continuation", "continue_pass", "exact", "pick"]


@dataclass(frozen=True)
class Continuation:
    """Generated tokens, without the mark that ended them.

    Attributes:
        ids: The tokens.
        ended: Whether the model ended its turn within the limit.
    """

    ids: tuple[int, ...]
    ended: bool


def exact(logits: torch.Tensor) -> torch.Tensor:
    """In float64, or float32 on Apple's GPUs, which know no float64."""
    return logits.float() if logits.device.type == "mps" else logits.double()


def pick(logits: torch.Tensor, temperature: float, rng: np.random.Generator | None) -> int:
    """The next token: the likeliest at temperature 0, else a draw.

    Example:
        >>> pick(torch.tensor([0.0, 5.0, 1.0]), 0.0, None)
        1
    """
    if temperature == 0 or rng is None:
        return int(logits.argmax())
    cumulated = torch.softmax(exact(logits) / temperature, dim=-1).cumsum(0).cpu().numpy()
    # Drawn with numpy on the CPU: the draw depends on neither the batch nor the device.
    return int(min(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"), len(cumulated) - 1))


@torch.inference_mode()
def continue_pass(
    model: Any,
    begun: Pass,
    *,
    limits: Sequence[int],
    temperatures: Sequence[float],
    rngs: Sequence[np.random.Generator | None],
    stops: Collection[int],
    shrink: bool,
    guides: Sequence[SchemaGuide | None] = (),
) -> list[Continuation]:
    """Write on from a pass over prompts.

    Args:
        model: The model that made the pass.
        begun: The pass, with its cache.
        limits: Most tokens, per prompt.
        temperatures: 0 is greedy, per prompt.
        rngs: Random streams, per prompt.
        stops: Tokens that end a turn.
        shrink: Whether finished rows may be taken out of the cache.
        guides: What holds a reply to its schema, per prompt; empty where no reply has one.
    """
    written: list[list[int]] = [[] for _ in limits]
    ended = [False] * len(limits)
    rows = list(range(len(limits)))  # which prompt each row of the cache belongs to
    done: set[int] = set()
    stateful = "past_key_values" not in takes(model)  # such a model is told of padding once and then goes without
    logits, cache, mask, lengths = begun.logits[:, -1], begun.cache, begun.mask, begun.lengths
    while True:
        following = torch.zeros(len(rows), 1, dtype=torch.long)
        for row, prompt in enumerate(rows):
            if prompt in done:
                continue
            guide = guides[prompt] if guides else None
            seen = logits[row] if guide is None else guide.allow(logits[row])
            token = pick(seen, temperatures[prompt], rngs[prompt])
            if token in stops:
                ended[prompt] = True
                done.add(prompt)
                continue
            written[prompt].append(token)
            following[row] = token
            if guide is not None:
                guide.take(token)
                ended[prompt] = guide.finished
            if ended[prompt] or len(written[prompt]) >= limits[prompt]:
                done.add(prompt)
        alive = [row for row, prompt in enumerate(rows) if prompt not in done]
        if not alive:
            return [Continuation(tuple(ids), end) for ids, end in zip(written, ended, strict=True)]
        if shrink and len(alive) <= len(rows) // 2:
            kept = torch.tensor(alive, device=mask.device)
            cache.batch_select_indices(kept)
            mask, lengths, following = mask[kept], lengths[kept], following[alive]
            rows = [rows[row] for row in alive]
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        out = call(
            model,
            input_ids=following.to(mask.device),
            attention_mask=None if stateful else mask,
            position_ids=lengths[:, None],
            past_key_values=cache,
            cache_params=cache,  # the name for it where a state is kept
            use_cache=True,
            logits_to_keep=1,
        )
        logits, cache, lengths = out.logits[:, -1], past_of(out), lengths + 1
