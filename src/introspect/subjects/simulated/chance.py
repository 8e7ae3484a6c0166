"""Randomness as a function of names: an agent's replies do not depend on order, batch or process."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

__all__ = ["gumbel", "normal", "unit"]

_STANDARD = NormalDist()


def unit(*names: str | int) -> float:
    """A number strictly between 0 and 1, uniform over names and always the same for the same ones.

    Example:
        >>> unit("a", 1) == unit("a", 1), 0 < unit("a", 2) < 1
        (True, True)
    """
    # Hashing is several times cheaper than a numpy generator for each reply, and equal on every platform.
    digest = hashlib.blake2b("\x1f".join(map(str, names)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") // 2048 + 0.5) / 2.0**53


def normal(*names: str | int) -> float:
    """A standard normal number of these names."""
    return _STANDARD.inv_cdf(unit(*names))


def gumbel(*names: str | int) -> float:
    """A standard Gumbel number: the option with the largest logit + gumbel is a draw from the softmax."""
    return -math.log(-math.log(unit(*names)))
