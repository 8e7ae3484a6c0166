"""Greedy D-optimal trials: each is the candidate that adds most to the determinant of the information."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.decision.designs.candidates import values_at
from introspect.decision.designs.information import Information, PairInformation, SetInformation
from introspect.decision.designs.pool import Pool, PoolSource
from introspect.errors import ScenarioError

__all__ = ["DOptimal", "best_of", "due"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PICKS_PER_POOL = 12
"""A pool is used for a twelfth as many trials as it has candidates: 50 of 600. Then a fresh one is drawn, so
that the choice never runs thin, and the first n of N trials do not depend on N."""

_CHUNK = 1 << 17
_POOLS = 200


@dataclass(frozen=True)
class DOptimal:
    """Settings of the design.

    Attributes:
        n_candidates: Candidates per pool.
        interior_share: Least share of trials with middle values, kept by every prefix.
        close_share: Largest share of close calls, kept by every prefix. None: no limit, and none sought.
        max_dominated: Largest share of trials with an option that is best on everything, kept by every prefix.
            None: no limit.
    """

    n_candidates: int = 600
    interior_share: float = 0.2
    close_share: float | None = None
    max_dominated: float | None = None

    def draw(self, sources: Sequence[PoolSource], flipped: Bools) -> Floats:
        """Values of trials, in the order drawn: [C, n, J, K].

        Args:
            sources: Candidates of scenarios with equal numbers of attributes and predictors.
            flipped: Which trials will be shown in reverse, [C, n]; it decides what they tell about sides.

        Raises:
            ScenarioError: A scenario's candidates cannot give n trials within the limits.
        """
        n = flipped.shape[1]
        first = sources[0]
        out = np.empty((*flipped.shape, first.n_options, first.scenario.n_attributes))
        # Arrays of one size each, and no more scenarios at a time than fit into the processor's cache.
        sizes: dict[int, list[int]] = {}
        for c, source in enumerate(sources):
            sizes.setdefault(source.size, []).append(c)
        for size, members in sizes.items():
            step = max(1, _CHUNK // (size * (first.scenario.n_predictors + 4))) if first.n_options == 2 else 1
            for start in range(0, len(members), step):
                rows = members[start : start + step]
                chosen = _Chunk(self, [sources[c] for c in rows], flipped[rows])
                for t in range(n):
                    chosen.choose(t)
                for c, index in zip(rows, chosen.index, strict=True):
                    out[c] = values_at(sources[c].grids, index)
        return out


class _Chunk:
    """Scenarios whose trials are chosen together."""

    def __init__(self, settings: DOptimal, sources: Sequence[PoolSource], flipped: Bools) -> None:
        first, n = sources[0], flipped.shape[1]
        size, width = first.size, first.scenario.n_predictors
        self._settings, self._sources, self._flipped = settings, sources, flipped
        self._information: Information = (
            PairInformation(len(sources), size, width)
            if first.n_options == 2
            else SetInformation(len(sources), width, first.n_options)
        )
        self._pools: list[Pool] = [source.draw() for source in sources]
        self._rows = np.arange(len(sources))
        self._free = np.zeros((len(sources), size), dtype=np.bool_)
        self._interior, self._close, self._dominated = (np.zeros_like(self._free) for _ in range(3))
        self._codes = np.zeros((len(sources), n), dtype=np.uint64)
        self._n_dominated = np.zeros(len(sources), dtype=np.int64)
        self._n_close = np.zeros(len(sources), dtype=np.int64)
        self.index = np.empty((len(sources), n, first.n_options, first.scenario.n_attributes), dtype=np.int64)
        for c in range(len(sources)):
            self._take(c, 0)
        self._information.load(np.stack([pool.encoded for pool in self._pools]), slice(None))

    def choose(self, t: int) -> None:
        """Trial number t of every scenario."""
        every = max(1, self._settings.n_candidates // PICKS_PER_POOL)
        if t and t % every == 0:
            for c, source in enumerate(self._sources):
                if not source.complete:
                    self._renew(c, t)
        allowed = self._allowed(t)
        for c in np.flatnonzero(~allowed.any(axis=1)).tolist():
            for _ in range(0 if self._sources[c].complete else _POOLS):
                self._renew(c, t)
                allowed[c] = self._allowed(t)[c]
                if allowed[c].any():
                    break
            else:
                raise ScenarioError(self._too_few(c, t))
        wanted = allowed
        if due(self._settings.interior_share, t):
            wanted = _narrowed(wanted, self._interior)
        if self._settings.close_share:
            behind = self._n_close < math.floor(self._settings.close_share * (t + 1) + 1e-9)
            wanted = _narrowed(wanted, self._close & behind[:, None])
        flips = self._flipped[:, t]
        picked = best_of(self._information.gains(flips), wanted)
        self._information.add(picked, flips)
        self._free[self._rows, picked] = False
        self._n_dominated += self._dominated[self._rows, picked]
        self._n_close += self._close[self._rows, picked]
        for c, pick in enumerate(picked.tolist()):
            pool = self._pools[c]
            self._codes[c, t] = pool.code[pick]
            self.index[c, t] = pool.index[pick]

    def _allowed(self, t: int) -> Bools:
        """Candidates that are new and break no limit."""
        allowed = self._free
        if self._settings.max_dominated is not None:
            full = self._n_dominated + 1 > self._settings.max_dominated * (t + 1)
            allowed = allowed & ~(self._dominated & full[:, None])
        if self._settings.close_share is not None:
            full = self._n_close + 1 > self._settings.close_share * (t + 1) + 1e-9
            allowed = allowed & ~(self._close & full[:, None])
        return allowed

    def _take(self, c: int, t: int) -> None:
        pool = self._pools[c]
        self._free[c] = pool.usable & ~np.isin(pool.code, self._codes[c, :t])
        self._interior[c], self._close[c], self._dominated[c] = pool.interior, pool.close, pool.dominated

    def _renew(self, c: int, t: int) -> None:
        self._pools[c] = self._sources[c].draw()
        self._take(c, t)
        self._information.load(self._pools[c].encoded[None], np.array([c]))

    def _too_few(self, c: int, t: int) -> str:
        limits = []
        if self._settings.max_dominated is not None:
            limits.append(f"max_dominated={self._settings.max_dominated:g}")
        if self._settings.close_share is not None:
            limits.append(f"close_share={self._settings.close_share:g}")
        within = f" within {' and '.join(limits)}" if limits else ""
        return (
            f"scenario {self._sources[c].scenario.id!r}: found only {t} of {self._flipped.shape[1]} distinct "
            f"trials{within}; use smaller steps, fewer trials or wider limits"
        )


def best_of(gains: Floats, allowed: Bools) -> NDArray[np.intp]:
    """The first allowed candidate of the highest gain in each row; equal up to rounding counts as equal."""
    masked = np.where(allowed, gains, -np.inf)
    best = masked.max(axis=1, keepdims=True)
    return np.asarray((masked >= best - 1e-9 * np.maximum(np.abs(best), 1.0)).argmax(axis=1))


def due(share: float, t: int) -> bool:
    """Whether trial number t (from 0) is one of a share spread evenly, so that every prefix holds the share.

    Example:
        >>> [t for t in range(12) if due(0.2, t)]
        [0, 5, 10]
    """
    return math.ceil(share * (t + 1) - 1e-9) > math.ceil(share * t - 1e-9)


def _narrowed(allowed: Bools, wished: Bools) -> Bools:
    """The wished ones among the allowed, where there are any."""
    both = allowed & wished
    return np.where(both.any(axis=1, keepdims=True), both, allowed)
