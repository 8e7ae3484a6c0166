"""The order of examples when some belong together."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

__all__ = ["TogetherSampler"]


class TogetherSampler(Sampler[int]):
    """Every example once an epoch: groups of neighbours in random order, each group in its own order.

    With a trial and its mirror image in one batch, a liking for a side earns nothing in any step; spread over batches,
    it earns something in each, and the letter swings to and fro before anything else is learned.

    Args:
        n: Examples.
        size: Neighbours that stay together; where `n` is no multiple, the last few come at the end of every epoch.
        seed: The order follows from it and from the epoch.

    Example:
        >>> order = list(TogetherSampler(6, size=2, seed=0))
        >>> sorted(order), [order[i + 1] - order[i] for i in (0, 2, 4)]
        ([0, 1, 2, 3, 4, 5], [1, 1, 1])
    """

    def __init__(self, n: int, size: int, seed: int) -> None:
        self._n, self._size, self._seed, self._epoch = n, size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch is drawn next; the training loop tells."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        whole = self._n // self._size
        for group in torch.randperm(whole, generator=generator).tolist():
            yield from range(group * self._size, (group + 1) * self._size)
        yield from range(whole * self._size, self._n)
