"""Splits by group, and balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from introspect._random import stream
from introspect.internals.row_table import Row

__all__ = ["balanced", "split_by_group"]


def split_by_group(rows: Sequence[Row], test: float, seed: int) -> list[Row]:
    """Put a share of the groups on the test side; a group is never torn.

    Example:
        >>> rows = [Row(str(i), str(i % 4), "", {}, "x") for i in range(8)]
        >>> [row.split for row in split_by_group(rows, 0.5, 0)].count("test")
        4
    """
    groups = sorted({row.group for row in rows})
    order = stream(seed, "split").permutation(len(groups))
    held = {groups[i] for i in order[: max(1, round(test * len(groups)))]}
    return [replace(row, split="test" if row.group in held else "train") for row in rows]


def balanced(rows: Sequence[Row], seed: int, most: float = 2.0) -> list[Row]:
    """At most `most` times as many changed rows as unchanged ones within each part, or the other way round.

    Example:
        >>> rows = [Row(str(i), "g", "", {}, "x", changed=i < 1, part="p") for i in range(9)]
        >>> len(balanced(rows, 0))
        3
    """
    kept: set[str] = set()
    for part in sorted({row.part for row in rows}):
        sides = [[row for row in rows if row.part == part and row.changed is side] for side in (True, False)]
        fewest = min(map(len, sides))
        for side in sides:
            order = stream(seed, "balance", part, str(side[0].changed) if side else "").permutation(len(side))
            limit = len(side) if fewest == 0 else int(np.floor(most * fewest))
            kept |= {side[i].key for i in order[:limit]}
    return [row for row in rows if row.key in kept]
