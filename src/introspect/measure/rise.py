"""The rise of accuracy between two sets of reports on the same contexts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from pydantic import JsonValue

from introspect._notebook import InNotebook
from introspect._random import RNG, root_seed, stream
from introspect.measure.intervals import difference_interval
from introspect.measure.moments import Moments, correlation
from introspect.measure.resampling import Interval, Resamples, p_value

__all__ = ["Rise", "common", "rise_between"]


@dataclass(frozen=True)
class Rise(InNotebook):
    """Pooled r before and after, on the contexts that both can be scored on.

    Attributes:
        before: Pooled r of the reports before.
        after: Pooled r of the reports after.
        rise: after minus before.
        interval: 95 % studentised paired bootstrap interval of the rise over the contexts of this training run.
        p: Two-sided p of the swap permutation (each context's two reports exchanged by a coin); never 0.
        n_contexts: Contexts compared.
        n_unpaired: Contexts that could be scored on one side only, and were left out.
        reasons: Name of an undefined number -> why it is undefined.
        moments: Per-context sums before and after, for intervals over several runs.
    """

    before: float
    after: float
    rise: float
    interval: Interval
    p: float
    n_contexts: int
    n_unpaired: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    moments: tuple[Moments, Moments] = field(
        default_factory=lambda: (Moments((), np.empty((0, 6))),) * 2, repr=False, compare=False
    )

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON: every NaN is null."""
        numbers = {name: getattr(self, name) for name in ("before", "after", "rise", "p")}
        return {
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "interval": [end if math.isfinite(end) else None for end in self.interval],
            "n_contexts": self.n_contexts,
            "n_unpaired": self.n_unpaired,
            "reasons": dict(self.reasons),
        }

    def sentences(self) -> list[str]:
        """The comparison in words."""
        lines = []
        if math.isfinite(self.rise):
            text = f"Over {self.n_contexts} contexts r went from {self.before:.2f} to {self.after:.2f}"
            if math.isfinite(self.interval.low):
                low, high = self.interval
                text += f", a change of {self.rise:+.2f} (95 % interval over the contexts of this training run "
                text += f"{low:+.2f} to {high:+.2f}, p = {self.p:.4f})"
            lines.append(text + ".")
        if self.n_unpaired:
            lines.append(f"{self.n_unpaired} contexts could be scored on one side only and were left out.")
        return lines + [f"{name} is undefined: {reason}." for name, reason in self.reasons.items()]


def common(first: Moments, second: Moments) -> tuple[Moments, Moments]:
    """Both restricted to the contexts that both have."""
    shared = tuple(sorted(set(first.ids) & set(second.ids)))
    return first.select(shared), second.select(shared)


def rise_between(first: Moments, second: Moments, *, n_boot: int, n_null: int, min_contexts: int, rng: RNG) -> Rise:
    """Rise of the pooled r from `first` to `second`, paired over their common contexts.

    Args:
        first: Sums before.
        second: Sums after.
        n_boot: Bootstrap resamples of contexts, the same for both sides.
        n_null: Swap permutations.
        min_contexts: Below this many common contexts no interval is given.
        rng: Seed.

    Example:
        >>> one = Moments.of(["k1"], [np.array([1.0, 2.0])], [np.array([2.0, 4.0])])
        >>> rise_between(one, one, n_boot=10, n_null=10, min_contexts=10, rng=0).rise
        0.0
    """
    seed = root_seed(rng)
    a, b = common(first, second)
    n = len(a)
    reasons: dict[str, str] = {}
    before, after = (a.pooled(), b.pooled()) if n else (math.nan, math.nan)
    rise = after - before
    if not n:
        reasons["rise"] = "no context could be scored on both sides"
    elif math.isnan(rise):
        reasons["rise"] = "one side does not vary at all"
    interval, p = Interval.undefined(), math.nan
    if math.isnan(rise):
        reasons["interval"] = reasons["p"] = "the rise itself is undefined"
    else:
        # A coin per context swaps its two reports: under "no change" every pattern of swaps is equally
        # likely.
        swaps = stream(seed, "rise", "swap").random((n_null, n)) < 0.5
        moved = swaps.astype(float) @ (b.sums - a.sums)
        null = correlation(b.sums.sum(axis=0) - moved) - correlation(a.sums.sum(axis=0) + moved)
        p = p_value(np.abs(null), abs(rise))
        resamples = Resamples.of(n, n_boot, stream(seed, "rise", "bootstrap"), min_contexts)
        if resamples.why:
            reasons["interval"] = resamples.why
        else:
            interval = difference_interval(a, b, resamples)
            if math.isnan(interval.low):
                reasons["interval"] = "undefined in every resample"
    return Rise(
        before=before,
        after=after,
        rise=rise,
        interval=interval,
        p=p,
        n_contexts=n,
        n_unpaired=len(set(first.ids) ^ set(second.ids)),
        reasons=reasons,
        moments=(a, b),
    )
