"""Which of the trials that were drawn are used, and for what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from introspect.backend.wire import canonical
from introspect.decision import TrialSet

__all__ = ["content_hash", "first_of_each", "unseen"]


def content_hash(value: object) -> str:
    """Hash of plain JSON."""
    return "sha256:" + hashlib.sha256(canonical(value).encode()).hexdigest()


def first_of_each(trials: TrialSet, n: int) -> NDArray[np.bool_]:
    """Which are among the first n of their scenario."""
    seen: dict[str, int] = {}
    keep = []
    for name in trials.scenario_ids.tolist():
        seen[name] = seen.get(name, 0) + 1
        keep.append(seen[name] <= n)
    return np.array(keep, bool)


def unseen(trials: TrialSet, seen: TrialSet, n: int) -> TrialSet:
    """The first n trials of each scenario whose options, in whatever order, are not among those seen."""
    known = set(_shown(seen))
    left = dict.fromkeys((s.id for s in trials.scenarios), n)
    keep = []
    for pair in _shown(trials):
        fresh = pair not in known and left[pair[0]] > 0
        left[pair[0]] -= fresh
        keep.append(fresh)
    return trials.take(np.array(keep))


def _shown(trials: TrialSet) -> Iterator[tuple[str, frozenset[tuple[float, ...]]]]:
    """Scenario and set of options of each trial."""
    for block in trials.blocks:
        for index, options in zip(block.scenario_index, block.values.tolist(), strict=True):
            yield block.scenarios[index].id, frozenset(map(tuple, options))
