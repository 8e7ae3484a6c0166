"""Texts as padded tokens, with a way to name positions that padding cannot move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from introspect.errors import MeasureError

__all__ = ["At", "Roles", "TokenBatch", "roles_of"]

At = int | str | Sequence[int]
"""A position in every text: a number (negative from the end), "last", "all", a role, or one number per text."""
Roles = Mapping[str, tuple[int, ...]]
"""Token positions of named parts of one text."""


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of several texts.

    Attributes:
        inputs: What the model is called with.
        ids: Token ids, [texts, columns].
        mask: Which columns are real, [texts, columns].
        roles: Named positions of each text, counted without padding.
    """

    inputs: dict[str, Any]
    ids: torch.Tensor
    mask: torch.Tensor
    roles: tuple[Roles, ...] = field(default=())

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    @property
    def width(self) -> int:
        """Columns, padding included."""
        return int(self.ids.shape[1])

    @property
    def lengths(self) -> torch.Tensor:
        """Real tokens of each text."""
        return self.mask.sum(-1)

    @cached_property
    def _extents(self) -> list[tuple[int, int]]:
        """First column and length of each text; kept, since every write and every read asks for them."""
        starts, lengths = self.mask.int().argmax(-1).tolist(), self.lengths.tolist()
        return [(int(start), int(length)) for start, length in zip(starts, lengths, strict=True)]

    def columns(self, at: At) -> list[list[int]]:
        """Which columns a position means in each row; a role's are all its tokens.

        Raises:
            MeasureError: A text has no such position or role.

        Example:
            >>> mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
            >>> TokenBatch({}, torch.zeros_like(mask), mask).columns("last"), TokenBatch({}, mask, mask).columns(0)
            ([[2], [2]], [[1], [0]])
        """
        found = []
        for row, (start, length) in enumerate(self._extents):
            places = self._places(at, row, length)
            wrong = [p for p in places if not -length <= p < length]
            if wrong or not places:
                raise MeasureError(
                    f"text {row} has {length} tokens and no position {at if not wrong else wrong[0]!r}; roles: "
                    f"{', '.join(self.roles[row]) if self.roles else 'none'}"
                )
            found.append([start + (p if p >= 0 else length + p) for p in places])
        return found

    def _places(self, at: At, row: int, length: int) -> Sequence[int]:
        if isinstance(at, int):
            return (at,)
        if at == "last":
            return (length - 1,)
        if at == "all":
            return range(length)
        if isinstance(at, str):
            known = self.roles[row] if self.roles else {}
            if at not in known:
                raise MeasureError(f"text {row} has no role {at!r}; it has {', '.join(known) or 'none'}, last and all")
            return known[at]
        if len(at) != len(self):
            raise MeasureError(f"{len(at)} positions for {len(self)} texts: give one for each")
        return (int(at[row]),)


def roles_of(offsets: Sequence[tuple[int, int]], spans: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    """Tokens that overlap with spans of characters.

    Args:
        offsets: First character and the one after the last, of each token.
        spans: The same of each named part.

    Example:
        >>> roles_of([(0, 0), (0, 3), (3, 9)], {"subject": (4, 9)})
        {'subject': (2,)}
    """
    return {
        name: tuple(i for i, (a, b) in enumerate(offsets) if a < end and b > start and b > a)
        for name, (start, end) in spans.items()
    }
