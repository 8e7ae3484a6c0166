"""Named random streams.

Everything random in the library takes an explicit ``rng``: an int seed or a numpy Generator. From it, *named* streams
are derived (``stream(seed, "design", scenario_id)``), so that the labels do not move when the design does, and the
trials of one context do not depend on how many other contexts there are.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["RNG", "root_seed", "stream"]

RNG = int | np.random.Generator


def root_seed(rng: RNG) -> int:
    """The integer that all streams of one call derive from (a Generator is advanced by one draw).

    Example:
        >>> root_seed(7)
        7
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(0, 2**63))
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(f"rng must be an int seed or a numpy Generator, not {type(rng).__name__}")
    if rng < 0:
        raise ValueError(f"rng must not be negative, got {rng}")
    return int(rng)


def stream(rng: RNG, *names: str | int) -> np.random.Generator:
    """An independent generator for this seed and these names, the same in every process.

    Example:
        >>> a, b = stream(1, "design", "k1"), stream(1, "design", "k1")
        >>> bool(a.random() == b.random())
        True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, names)).encode(), digest_size=16).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(root_seed(rng), spawn_key=words)))
