"""The organisms' network: a small decoder-only transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from introspect.subjects.organism.config import OrganismConfig
from introspect.subjects.organism.tokens import FIRST_NUMBER, GRAMMAR, LETTERS, OUTPUTS

__all__ = ["MAX_LENGTH", "OrganismNetwork"]

MAX_LENGTH = 64


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """The stream after this block, from position `start` on (earlier positions are only attended to)."""
        n, length, width = x.shape
        inner = self.norm1(x)
        q = self.query(inner[:, start:]).view(n, length - start, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(inner).view(n, length, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = torch.ones(length - start, length, dtype=torch.bool, device=x.device).tril(start)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = x[:, start:] + self.out(mixed.transpose(1, 2).reshape(n, length - start, width))
        # A gated layer multiplies its inputs, which is what "weight times value" needs.
        gate, value = self.up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * value)  # type: ignore[no-any-return]


class OrganismNetwork(nn.Module):
    """Words in, log-odds of the next word out.

    Numbers have a linear component in their embeddings on both sides, so that 41 is near 42 before any training.
    Context rows are not part of the module: they are handed in, since the vocabulary is open.

    Args:
        config: Width, layers and heads are read from it.
    """

    def __init__(self, config: OrganismConfig) -> None:
        super().__init__()
        width = config.width
        self.n_shared = round(config.row_sharing * config.row_width)
        # Row 0 of each table is zero and stands for "this token lacks the part".
        self.word = nn.Embedding(len(GRAMMAR) + 1, width, padding_idx=0)
        self.letter = nn.Embedding(len(LETTERS) + 1, width, padding_idx=0)
        self.value = nn.Embedding(102, width, padding_idx=0)
        self.value_line = nn.Parameter(torch.randn(width))
        self.weight = nn.Embedding(202, width, padding_idx=0)
        self.weight_line = nn.Parameter(torch.randn(width))
        self.row_in = nn.Linear(config.row_width, width, bias=False)
        self.position = nn.Embedding(MAX_LENGTH, width)
        self.blocks = nn.ModuleList(_Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.say = nn.Linear(width, len(OUTPUTS), bias=False)
        self.say_number = nn.Linear(width, 2, bias=False)
        with torch.no_grad():
            for table in (self.word, self.letter, self.position):
                table.weight[int(table is not self.position) :].normal_(std=0.3)
            for table in (self.value, self.weight):
                table.weight[1:].normal_(std=0.02)
            self.say.weight.normal_(std=0.02)
            self.row_in.weight.normal_(std=0.3)
        self._number: Tensor
        self._value_line: Tensor
        self._weight_line: Tensor
        line = torch.arange(-100, 101) / 100
        self.register_buffer("_number", torch.stack([line, line**2 - 1 / 3]), persistent=False)
        self.register_buffer("_value_line", torch.arange(-51, 51) / 50 * (torch.arange(102) > 0), persistent=False)
        self.register_buffer("_weight_line", torch.arange(-101, 101) / 100 * (torch.arange(202) > 0), persistent=False)

    def train_from(self, block: int) -> None:
        """Let only blocks from this one on, and what reads them out, learn; 0 lets everything learn."""
        upper = [*self.blocks[block:], self.norm, self.say, self.say_number]
        kept = {id(p) for module in upper for p in module.parameters()}
        for parameter in self.parameters():
            parameter.requires_grad_(block == 0 or id(parameter) in kept)

    def forward(self, parts: Tensor, rows: Tensor, start: int = 0) -> Tensor:
        """Logits of every next word.

        Args:
            parts: [6, n, length] integers as `encode` makes them.
            rows: [n_rows, row_width] context rows that the last two parts index.
            start: First position whose logits are wanted.

        Returns:
            [n, length - start, len(OUTPUTS)] logits.
        """
        return self.read_out(self.states(parts, rows, start))

    def states(self, parts: Tensor, rows: Tensor, start: int = 0) -> Tensor:
        """The residual stream after the last block and norm, [n, length - start, width]."""
        word, letter, value, weight, shared, private = parts + 1
        x = self.word(word) + self.letter(letter) + self.position.weight[: word.shape[1]]
        # Numbers as one look-up each: the straight line and what was learned on top of it.
        x = x + F.embedding(value, self.value.weight + self._value_line[:, None] * self.value_line, padding_idx=0)
        x = x + F.embedding(weight, self.weight.weight + self._weight_line[:, None] * self.weight_line, padding_idx=0)
        padded = F.pad(rows, (0, 0, 1, 0))
        x = x + self.row_in(torch.cat([padded[shared, : self.n_shared], padded[private, self.n_shared :]], dim=-1))
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, start))  # type: ignore[no-any-return]

    def read_out(self, states: Tensor) -> Tensor:
        """Logits from states, [..., len(OUTPUTS)]."""
        return self.say(states) + F.pad(self.say_number(states) @ self._number, (FIRST_NUMBER, 0))  # type: ignore[no-any-return]
