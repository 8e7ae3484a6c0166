"""Whether reports track where behaviour departs from something else that they could be read off from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from introspect.measure.intervals import pooled_interval
from introspect.measure.moments import Moments
from introspect.measure.nulls import null_draws
from introspect.measure.pairing import Pairing, WeightsLike
from introspect.measure.resampling import Interval, Resamples, p_value

__all__ = ["Partial", "partial_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Partial:
    """Correlation of reports and learned weights with a third vector held fixed.

    The third vector may be the preference that was taught ("does the report track where behaviour deviates from
    what was taught?") or another model's report ("does the model know more about itself than an onlooker?").

    Attributes:
        r: Partial correlation, pooled over the contexts that have all three vectors.
        interval: 95 % studentised bootstrap interval over the contexts of this training run.
        p: The larger of the two p values below; one-sided, never 0.
        p_shuffle: Against residual reports dealt out to other contexts.
        p_permutation: Against residual reports permuted among their own predictors.
        reported_r: r of the reports with the third vector.
        learned_r: r of the learned weights with the third vector.
        n_contexts: Contexts that have all three vectors.
        reasons: Name of an undefined number -> why it is undefined.
    """

    r: float = math.nan
    interval: Interval = field(default_factory=Interval.undefined)
    p: float = math.nan
    p_shuffle: float = math.nan
    p_permutation: float = math.nan
    reported_r: float = math.nan
    learned_r: float = math.nan
    n_contexts: int = 0
    reasons: dict[str, str] = field(default_factory=dict)


NAMES = ("r", "interval", "p", "p_shuffle", "p_permutation", "reported_r", "learned_r")


def partial_of(
    pairing: Pairing, third: WeightsLike, resamples: Resamples, n_null: int, seed: int, name: str
) -> Partial:
    """The partial correlation given a third side.

    What the third vector explains is taken out of both sides over all contexts together: its weights t, t |t| and t
    times the context's mean |t|, with an intercept. The bends matter, since scaling to the largest weight makes what
    is said and what is done depend on the other weights, too: with t alone, reports and behaviour that have nothing
    in common but t kept an r of .01, with the bends .002 (weights with errors of .35 and .4 on a scale of 1).

    The interval and the nulls are those of the pooled r, on what is left of both sides. The nulls move what is left
    of the reports.

    Args:
        pairing: The two sides.
        third: The third.
        resamples: Bootstrap resamples of the pairing's contexts.
        n_null: Draws from each null.
        seed: Seed.
        name: Stream of the nulls.

    Source: D. Freedman and D. Lane, Journal of Business & Economic Statistics 1 (1983), for permuting residuals.

    Example:
        >>> from introspect.measure.pairing import pair
        >>> rng = np.random.default_rng(0)
        >>> taught = rng.normal(size=(60, 5))
        >>> own = taught + rng.normal(0, 0.5, taught.shape)                # behaviour departs from what was taught
        >>> side = lambda values: {f"k{i:02d}": dict(zip("pqrst", row)) for i, row in enumerate(values)}
        >>> recites, looks = (pair(side(said + rng.normal(0, 0.3, said.shape)), side(own)) for said in (taught, own))
        >>> none = Resamples(None)                                          # no interval
        >>> [round(partial_of(each, side(taught), none, 99, 0, "doc").r, 1) + 0 for each in (recites, looks)]
        [0.1, 0.9]
    """
    vectors = pairing.beside(third)
    rows = np.array([i for i, vector in enumerate(vectors) if vector is not None], dtype=np.intp)
    if not len(rows):
        return Partial(reasons=dict.fromkeys(NAMES, "no scored context has such a vector"))
    part = pairing.take(rows)
    control = [vector for vector in vectors if vector is not None]
    reported, learned = (Moments.of(part.ids, side, control).pooled() for side in (part.said, part.learned))
    residual = _residuals(part, control)
    r = residual.moments.pooled() if residual is not None else math.nan
    found = Partial(r=r, reported_r=reported, learned_r=learned, n_contexts=len(rows))
    reasons: dict[str, str] = {}
    for key, value in (("reported_r", reported), ("learned_r", learned)):
        if math.isnan(value):
            reasons[key] = "one side does not vary at all"
    if residual is None or math.isnan(r):
        why = "one side does not vary, or is the third vector itself"
        return replace(found, reasons=dict.fromkeys(NAMES[:5], why) | reasons)
    draws = null_draws(residual, n_null, seed, name)
    p_shuffle, p_permutation = p_value(draws.shuffle, r), p_value(draws.permutation, r)
    if math.isnan(p_shuffle):
        reasons["p_shuffle"] = reasons["p"] = "needs two contexts with equally many predictors"
    lost: dict[str, str] = {}
    interval = pooled_interval(residual.moments, resamples.take(rows), "z-t", lost)
    if lost:
        reasons["interval"] = lost["pooled_interval"]
    return replace(
        found,
        interval=interval,
        p=float(np.maximum(p_shuffle, p_permutation)),
        p_shuffle=p_shuffle,
        p_permutation=p_permutation,
        reasons=reasons,
    )


def _residuals(pairing: Pairing, control: list[Floats]) -> Pairing | None:
    """What is left of both sides; None where nothing is left of one."""
    t = np.concatenate(control)
    level = np.concatenate([np.full(len(vector), np.abs(vector).mean()) for vector in control])
    design = np.column_stack([np.ones(len(t)), t, t * np.abs(t) / 100.0, t * level / 100.0])
    cuts = np.cumsum([len(vector) for vector in control])[:-1]
    sides = []
    for side in (pairing.said, pairing.learned):
        values = np.concatenate(side)
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        if left @ left <= 1e-12 * (values @ values):
            return None
        sides.append(tuple(np.split(left, cuts)))
    return replace(pairing, said=sides[0], learned=sides[1])
