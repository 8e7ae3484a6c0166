"""Which prompts to run in one pass, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.backend.local.tree import common

__all__ = ["plan_padded", "plan_tree"]


def plan_tree(prompts: Sequence[Sequence[int]], *, tokens: int, size: int) -> list[tuple[int, ...]]:
    """Split prompts into packs in the order of their tokens: each has as many new tokens as the budget allows.

    A token counts once, with the first prompt that brings it, for a pack goes on from what its first prompt shares
    with the last one of the pack before.

    Args:
        prompts: Token ids, none empty.
        tokens: Most new tokens a pack; a longer prompt is a pack of its own.
        size: Most prompts a pack.

    Returns:
        Packs of places in `prompts`.

    Example:
        >>> plan_tree([[1] * 50 + [5], [2, 2, 2], [1] * 50 + [6]], tokens=52, size=8)
        [(0, 2), (1,)]
    """
    packs: list[list[int]] = []
    before: Sequence[int] = ()
    filled = 0
    for place in sorted(range(len(prompts)), key=lambda i: (tuple(prompts[i]), i)):
        new = len(prompts[place]) - common(before, prompts[place])
        if not packs or len(packs[-1]) >= size or filled + new > tokens:
            packs.append([])
            filled, new = 0, max(new, 1)
        packs[-1].append(place)
        filled += new
        before = prompts[place]
    return [tuple(pack) for pack in packs]


def plan_padded(
    prompts: Sequence[Sequence[int]], *, tokens: int, size: int, equal: bool = False
) -> list[tuple[int, ...]]:
    """Split prompts into batches of like length whose padded size stays within the budget.

    Args:
        prompts: Token ids, none empty.
        tokens: Most tokens a batch, padding included; a longer prompt is a batch of its own.
        size: Most prompts a batch.
        equal: Only prompts of one length together.

    Returns:
        Batches of places in `prompts`, the longest prompts first: what does not fit is found out at once.

    Example:
        >>> plan_padded([[1] * 9, [1] * 3, [1] * 8, [1] * 3], tokens=18, size=8)
        [(0, 2), (1, 3)]
    """
    batches: list[list[int]] = []
    longest = 0
    for place in sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i)):
        length = len(prompts[place])
        if (
            not batches
            or len(batches[-1]) >= size
            or (len(batches[-1]) + 1) * longest > tokens
            or (equal and length != longest)
        ):
            batches.append([])
            longest = length
        batches[-1].append(place)
    return [tuple(batch) for batch in batches]
