"""Vectors put into a prompt in the place of tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from introspect.errors import ConfigError, MeasureError
from introspect.internals.soft_map import SoftMap
from introspect.internals.target import Target
from introspect.internals.token_batch import TokenBatch
from introspect.internals.write import Write, Writer, hooked

__all__ = ["MARK", "SoftToken", "with_placeholders"]

MARK = "⟦v⟧"
"""Where a vector goes in the text of a prompt."""


@dataclass(frozen=True)
class SoftToken:
    """How a vector enters the explainer.

    Attributes:
        layer: "embedding", in place of the placeholder's embedding; a number: after that block; "middle": after the
            block at two fifths of the depth, which is where planted directions and features are read by default.
        mode: "raw": as it is; "unit": scaled to length one; "norm": scaled to the length of what it replaces (in the
            embedding: to the median length of the vocabulary's).
        scale: Times this.
        add: Added to the stream at the placeholder, not in its place.
    """

    layer: int | Literal["embedding", "middle"] = "embedding"
    mode: Literal["raw", "unit", "norm"] = "raw"
    scale: float = 1.0
    add: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("raw", "unit", "norm"):
            raise ConfigError(f"mode must be raw, unit or norm, got {self.mode!r}")
        if self.layer not in ("embedding", "middle") and type(self.layer) is not int:
            raise ConfigError(f'layer must be "embedding", "middle" or the number of a block, got {self.layer!r}')

    @contextmanager
    def injecting(
        self,
        target: Target,
        batch: TokenBatch,
        places: Sequence[Sequence[int]],
        vectors: torch.Tensor,
        learned: SoftMap | None = None,
    ) -> Iterator[None]:
        """Whatever the model runs on this batch inside the block has the vectors in it; gradients reach the map.

        Args:
            target: The explainer's network.
            batch: Prompts with placeholders.
            places: Positions of the placeholders in each prompt, equally many in each.
            vectors: [prompts, placeholders, width].
            learned: A map applied to the (scaled) vectors.

        Raises:
            MeasureError: The numbers of prompts, places and vectors do not agree.
        """
        counts = {len(row) for row in places}
        if vectors.dim() != 3 or len(counts) != 1 or vectors.shape[:2] != (len(batch), next(iter(counts))):
            raise MeasureError(
                f"vectors are {tuple(vectors.shape)} for {len(batch)} prompts with {sorted(counts)} placeholders; "
                f"expected [prompts, placeholders, width]"
            )
        made = vectors.to(target.device, torch.float32)
        if self.mode != "raw":
            made = made / made.norm(dim=-1, keepdim=True).clamp(min=1e-8)
        made = made * self.scale if self.mode != "norm" else made
        made = made if learned is None else learned(made)
        module, side = self._site(target)
        local = self._usual(target) if self.mode == "norm" else None

        def writer(k: int) -> Writer:
            def value(before: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
                vector = made[rows.to(made.device), k]
                if self.mode == "norm":
                    length = before.norm(dim=-1, keepdim=True) if local is None else local
                    vector = vector / vector.norm(dim=-1, keepdim=True).clamp(min=1e-8) * length * self.scale
                return vector

            return Writer(Write((0,), value, [row[k] for row in places], "add" if self.add else "replace"), batch)

        with hooked([(module, side, writer(k)) for k in range(vectors.shape[1])]):
            yield

    def _site(self, target: Target) -> tuple[nn.Module, str]:
        if self.layer == "embedding":
            return (target.blocks[0], "in") if target.embedding is None else (target.embedding, "out")
        return target._place(target.middle if self.layer == "middle" else self.layer)

    def _usual(self, target: Target) -> float | None:
        if self.layer != "embedding" or target.embedding is None:
            return None
        table: torch.Tensor = target.embedding.weight  # type: ignore[assignment]
        some = torch.arange(0, len(table), max(1, len(table) // 2000), device=table.device)
        with torch.no_grad():
            return float(target.embedding(some).float().norm(dim=-1).median())


def with_placeholders(target: Target, text: str) -> tuple[list[int], list[int]]:
    """Token ids of a text whose `MARK` places hold a placeholder, and where those are.

    The pieces between the marks are tokenised apart, so that no mark can melt into its neighbours, and the placeholder
    is a token of the vocabulary that the text itself does not hold: what stands there is replaced anyway.

    Example:
        >>> from introspect.internals.tiny import tiny_target
        >>> ids, places = with_placeholders(tiny_target(), f"the word {MARK} means")
        >>> places == [len("the word ")], len(ids) == len("the word  means") + 1
        (True, True)
    """
    pieces = text.split(MARK)
    ids: list[int] = []
    places: list[int] = []
    for i, piece in enumerate(pieces):
        if i:
            places.append(len(ids))
            ids.append(_HOLE)
        if piece:
            ids += target.tokenizer(piece, add_special_tokens=i == 0)["input_ids"]
    taken = set(ids)
    spare = next(t for t in range(len(taken) + 1) if t not in taken)
    return [spare if t == _HOLE else t for t in ids], places


_HOLE = -1
