"""An organism as a target: its network read and written like any other decoder's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from introspect.backend.wire import ModelRef
from introspect.errors import MeasureError
from introspect.internals.target import Target
from introspect.internals.token_batch import TokenBatch, roles_of
from introspect.subjects.organism import organism_ref
from introspect.subjects.organism.backend import load_organism
from introspect.subjects.organism.state import Organism
from introspect.subjects.organism.tokens import OUTPUTS, encode

__all__ = ["OrganismTarget"]


class OrganismTarget(Target):
    """Texts are lines of the organisms' language; a token is a word, and position 0 is the mark of a beginning.

    Args:
        organism: In memory.
        ref: What it is.

    Example:
        >>> target = Target.open("organism")
        >>> target.n_layers, target.generate(["choose n0007 A p100 q50 r50 s50 t50 B p0 q50 r50 s50 t50 :"])[0] in "AB"
        (2, True)
    """

    def __init__(self, organism: Organism, ref: ModelRef | None = None) -> None:
        network = organism.clone().network  # the shipped one may be asked elsewhere meanwhile
        super().__init__(network, None, ref)
        self.organism = organism
        self.embedding = None

    @classmethod
    def open(cls, model: ModelRef | str, *, device: str | None = None, dtype: str | None = None) -> OrganismTarget:
        """The organism of a reference, or "organism:NAME"."""
        del device, dtype  # an organism is small, and float32
        ref = organism_ref(model.partition(":")[2] or "shared") if isinstance(model, str) else model
        return cls(load_organism(ref), ref)

    @property
    def width(self) -> int:
        """Numbers in a vector of the residual stream."""
        return int(self.organism.config.width)

    def encode(
        self,
        texts: Sequence[str | Sequence[int]],
        spans: Sequence[Mapping[str, tuple[int, int]]] | None = None,
        *,
        left: bool = False,
    ) -> TokenBatch:
        """Encode lines of words; they are padded on the right, where a causal network does not look."""
        if not texts or not all(isinstance(t, str) and t for t in texts):
            raise MeasureError("an organism reads lines of words; give at least one, none empty")
        lines = [str(t) for t in texts]
        made = encode(lines)
        parts = torch.from_numpy(np.stack(made.parts))
        mask = (torch.arange(parts.shape[2])[None] < torch.from_numpy(made.length)[:, None]).long()
        roles = []
        for i, line in enumerate(lines):
            offsets, start = [(0, 0)], 0
            for word in line.split():
                start = line.index(word, start)
                offsets.append((start, start + len(word)))
                start += len(word)
            roles.append(roles_of(offsets, spans[i]) if spans is not None else {})
        inputs = {"parts": parts, "rows": self.organism.row_table(made.keys), "lines": lines}
        return TokenBatch(inputs, parts[0].clamp(min=0), mask, tuple(roles))

    def _tokenise(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        raise MeasureError("an organism's words have no numbers: hand in lines")

    def read(self, texts: Any, layers: Sequence[int], at: Any = "last", **more: Any) -> Any:
        """As `Target.read`; all lines in one batch."""
        more.pop("tokens", None)
        return super().read(self._batch(texts), layers, at, **more)

    def run(self, batch: TokenBatch, keep: int = 0, **more: Any) -> Any:
        """Logits over what an organism can say."""
        logits = self.model(batch.inputs["parts"], batch.inputs["rows"])
        return SimpleNamespace(logits=logits[:, -keep:] if keep else logits)

    def continue_(
        self, batch: TokenBatch, max_new_tokens: int, stop: Sequence[int] = (), first: list[torch.Tensor] | None = None
    ) -> list[list[int]]:
        """Greedy words (as places in `OUTPUTS`); the network keeps nothing, so each step runs the whole line."""
        lines, said = list(batch.inputs["lines"]), [list[int]() for _ in range(len(batch))]
        open_ = set(range(len(lines)))
        for _ in range(max_new_tokens):
            now = self.encode(lines)
            logits = self.run(now).logits[torch.arange(len(lines)), now.lengths - 1]
            if first is not None and not first:
                first.append(logits)
            for row, word in enumerate(logits.argmax(-1).tolist()):
                if row in open_ and word != 0:
                    said[row].append(word)
                    lines[row] += f" {OUTPUTS[word]}"
                else:
                    open_.discard(row)
            if not open_:
                break
        return said

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Words."""
        return [" ".join(OUTPUTS[i] for i in row) for row in rows]
