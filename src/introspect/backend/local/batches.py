"""Which prompts to run together: prompts that begin alike share the computation of their beginning."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["plan_batches", "shared_prefix"]

_CALL = 24  # what starting a batch costs, in tokens
_WORTH = 8  # a shared beginning shorter than this is not worth a second call


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Leading tokens that all prompts share, leaving at least one token of each; 0 where it is not worth it.

    Example:
        >>> shared_prefix([list(range(20)), [*range(12), 99]])
        12
    """
    if len(prompts) < 2:
        return 0
    # What the first and the last in sorted order share, all between them share too.
    return _usable(_common(min(prompts, key=tuple), max(prompts, key=tuple)), min(map(len, prompts)))


def plan_batches(prompts: Sequence[Sequence[int]], *, size: int, share: bool = True) -> list[tuple[int, ...]]:
    """Split prompts into batches such that the fewest tokens are computed.

    Prompts are sorted by their tokens, so that those which begin alike are neighbours; where to cut is found by
    dynamic programming over the cost of every batch of neighbours: its shared beginning once, and the rest padded to
    the longest.

    Args:
        prompts: Token ids, none empty.
        size: Most prompts a batch.
        share: Whether the model can share beginnings. If not, prompts are batched by length.

    Returns:
        Batches of places in `prompts`.

    Example:
        >>> plan_batches([[1] * 90 + [5], [2, 2, 2], [1] * 90 + [6]], size=8)
        [(0, 2), (1,)]
    """
    if not share:
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        return [tuple(order[i : i + size]) for i in range(0, len(order), size)]
    order = sorted(range(len(prompts)), key=lambda i: (tuple(prompts[i]), i))
    lengths = [len(prompts[i]) for i in order]
    common = [_common(prompts[a], prompts[b]) for a, b in pairwise(order)]
    best, cut = [0.0], [0]
    for end in range(1, len(order) + 1):
        cheapest, where = float("inf"), end - 1
        shared, longest, shortest = 1 << 30, 0, 1 << 30
        for start in range(end - 1, max(end - 1 - size, -1), -1):
            if start < end - 1:
                shared = min(shared, common[start])
            longest, shortest = max(longest, lengths[start]), min(shortest, lengths[start])
            prefix = _usable(shared, shortest) if end - start > 1 else 0
            cost = best[start] + (_CALL if prefix else 0) + _CALL + prefix + (end - start) * (longest - prefix)
            if cost < cheapest:
                cheapest, where = cost, start
        best.append(cheapest)
        cut.append(where)
    batches: list[tuple[int, ...]] = []
    end = len(order)
    while end:
        batches.append(tuple(order[cut[end] : end]))
        end = cut[end]
    return batches[::-1]


def _usable(shared: int, shortest: int) -> int:
    prefix = min(shared, shortest - 1)
    return prefix if prefix >= _WORTH else 0


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    for place, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return place
    return min(len(a), len(b))
