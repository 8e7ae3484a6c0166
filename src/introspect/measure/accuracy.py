"""How well reports match the weights that drive the choices, with intervals, nulls and what is undefined."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from pydantic import JsonValue

from introspect.measure.moments import Moments
from introspect.measure.resampling import Interval

__all__ = ["Accuracy"]


@dataclass(frozen=True)
class Accuracy:
    """How well what was said matches what was learned.

    All weights are scaled so that the largest magnitude in a context is 100 before they are compared.
    Undefined numbers are NaN, and `reasons` says why.

    Attributes:
        pooled_r: Pearson r over all contexts' predictors.
        pooled_interval: 95 % bootstrap interval of it over the contexts of *this training run*: it says
            nothing about how another run would turn out (see `two_level`).
        mean_within_r: Mean over contexts of the r inside a context.
        mean_within_interval: 95 % bootstrap interval of it over contexts.
        median_within_r: Median over contexts of the r inside a context.
        sign_agreement: Share of predictors whose reported and learned weights have the same sign.
        top_agreement: Share of contexts whose heaviest predictor was reported as the heaviest (ties share a
            hit).
        mean_cosine: Mean over contexts of the cosine, which, unlike r, notices an offset that all weights
            share.
        coverage: Share of the contexts asked about that could be scored.
        response_rate: Share of the single reports that could be used; NaN where no single reports were given.
        p: The larger of the two p values below; one-sided, never 0.
        p_shuffle: Against reports dealt out to other contexts (what all contexts have in common is no
            introspection).
        p_permutation: Against each report's weights permuted among its own predictors.
        shuffle_quantiles: 2.5 %, 50 % and 97.5 % points of the shuffle null's r.
        permutation_quantiles: The same of the permutation null's r.
        n_contexts: Contexts scored.
        n_within: Contexts of them with a defined r of their own.
        n_points: Predictors scored, over all contexts.
        n_asked: Contexts asked about.
        dropped: Reason -> ids of the contexts left out for it.
        reasons: Name of an undefined number -> why it is undefined.
        within_r: r inside each scored context, by scenario id (NaN where undefined).
        moments: Per-context sums, for intervals over several runs.
    """

    pooled_r: float
    pooled_interval: Interval
    mean_within_r: float
    mean_within_interval: Interval
    median_within_r: float
    sign_agreement: float
    top_agreement: float
    mean_cosine: float
    coverage: float
    response_rate: float
    p: float
    p_shuffle: float
    p_permutation: float
    shuffle_quantiles: tuple[float, float, float]
    permutation_quantiles: tuple[float, float, float]
    n_contexts: int
    n_within: int
    n_points: int
    n_asked: int
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    within_r: dict[str, float] = field(default_factory=dict, repr=False)
    moments: Moments = field(default_factory=lambda: Moments((), np.empty((0, 6))), repr=False, compare=False)

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON: every NaN is null, and the per-context sums are left out."""
        names = [name for name in self.__dataclass_fields__ if name != "moments"]
        return {name: _plain(getattr(self, name)) for name in names}

    def sentences(self) -> list[str]:
        """The result in words, the undefined parts with their reasons."""
        lines = []
        r = self.pooled_r
        if math.isfinite(r):
            text = f"Reports and learned weights correlate at r = {_short(r)} over {self.n_contexts} contexts"
            if math.isfinite(self.pooled_interval.low):
                low, high = self.pooled_interval
                text += f" (95 % interval over the contexts of this training run {low:.2f} to {high:.2f})"
            lines.append(text + ".")
        if math.isfinite(self.mean_within_r):
            lines.append(
                f"Inside a context r is {self.mean_within_r:.2f} on average and {self.median_within_r:.2f} "
                f"at the median, over the {self.n_within} contexts where it is defined."
            )
        if math.isfinite(self.p):
            lines.append(
                f"Reports dealt out to other contexts reach r = {_short(self.shuffle_quantiles[1])} at the "
                f"median (p = {self.p_shuffle:.4f}), weights permuted inside each report "
                f"r = {_short(self.permutation_quantiles[1])} (p = {self.p_permutation:.4f})."
            )
        if math.isfinite(self.sign_agreement):
            lines.append(
                f"Signs agree for {self.sign_agreement:.0%} of the predictors; the heaviest predictor is "
                f"named in {self.top_agreement:.0%} of the contexts."
            )
        lines.append(f"{self.n_contexts} of the {self.n_asked} contexts asked about could be scored.")
        lines += [f"Left out, {reason}: {len(ids)}." for reason, ids in self.dropped.items()]
        unsaid = {"response_rate"}  # of no interest where no single reports were given
        lines += [f"{name} is undefined: {why}." for name, why in self.reasons.items() if name not in unsaid]
        return lines


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # never "-0.00"


def _plain(value: object) -> JsonValue:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int | np.integer):
        return int(value)
    return str(value)
