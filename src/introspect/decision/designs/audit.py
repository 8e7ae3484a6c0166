"""Which trials repeat an earlier one with the options in the other order."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["audit_sources", "is_audit"]


def is_audit(n: int, share: float) -> NDArray[np.bool_]:
    """Which of n trials are repeats: the last of every 1 / share, so no prefix holds more than the share.

    Example:
        >>> is_audit(10, 0.2).nonzero()[0].tolist()
        [4, 9]
    """
    counts = [math.floor(share * t + 1e-9) for t in range(n + 1)]
    return np.diff(counts) > 0


def audit_sources(
    repeats: NDArray[np.bool_],
    flipped: NDArray[np.bool_],
    shunned: NDArray[np.bool_],
    counterbalanced: bool,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Which trial each trial shows: itself, or an earlier one that it repeats, [n]. None is repeated twice.

    Args:
        repeats: Which trials are repeats, [n], at most half of every prefix.
        flipped: How each trial is to be shown, [n]; a repeat's original was shown the other way.
        shunned: Trials that are repeated only if there is no other, [n].
        counterbalanced: Whether half of the trials are flipped; if not, `flipped` says nothing about repeats.
        rng: Decides among the originals that are possible.
    """
    n = len(repeats)
    source = np.arange(n)
    open_ = ~repeats
    for t in np.flatnonzero(repeats).tolist():
        coin = rng.random()
        possible = open_[:t] & (flipped[:t] != flipped[t]) if counterbalanced else open_[:t].copy()
        # Half of each prefix is shown either way, and at most half are repeats, so there always is one.
        better = possible & ~shunned[:t]
        choice = np.flatnonzero(better if better.any() else possible)
        source[t] = choice[min(int(coin * len(choice)), len(choice) - 1)]
        open_[source[t]] = False
    return source
