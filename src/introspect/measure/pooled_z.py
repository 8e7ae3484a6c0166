"""The published analysis of arXiv 2505.17120, for comparison with it: not the way to analyse new data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.newton import fit_map
from introspect.measure.report_table import ReportTable
from introspect.measure.resampling import Interval
from introspect.measure.stacks import stack_choices

__all__ = ["NAIVE", "PooledZ", "pooled_z"]

Floats = NDArray[np.float64]

NAIVE = "all points treated as exchangeable: too short"
"""What is wrong with the interval: the points of one context are not independent."""

FREE = 1e3
"""Prior standard deviation of the intercept, in logits: as good as none."""


@dataclass(frozen=True)
class PooledZ:
    """What the published analysis finds.

    Attributes:
        r: Pearson r of learned and mean reported weights over all points.
        slope: Slope of z-scored learned on z-scored reported weights. Equal to r where both sides hold the same
            contexts: learned weights are scored over all fitted contexts, reported ones over all reported.
        interval: 95 % interval of the slope from the regression, which takes all points for exchangeable; too
            short.
        n_contexts: Contexts compared.
        n_points: Points compared.
        weights: Learned weights, the largest magnitude of a context 100, in whole numbers.
        dropped: Reason -> ids of contexts left out for it.
        reasons: Name of an undefined number -> why it is undefined.
    """

    r: float
    slope: float
    interval: Interval
    n_contexts: int
    n_points: int
    weights: Mapping[str, Mapping[str, float]] = field(repr=False)
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON: every NaN is null."""
        return {
            "r": _plain(self.r),
            "slope": _plain(self.slope),
            "naive_ci_low": _plain(self.interval.low),
            "naive_ci_high": _plain(self.interval.high),
            "naive_ci": NAIVE,
            "n_scenarios": self.n_contexts,
            "n_points": self.n_points,
            "dropped": {reason: list(names) for reason, names in self.dropped.items()},
            "reasons": dict(self.reasons),
        }

    def sentence(self) -> str:
        """The result in words."""
        if math.isnan(self.r):
            return f"The published analysis gives no r: {self.reasons.get('r', 'it is undefined')}."
        text = (
            f"The published analysis gives r = {self.r:.3f} over {self.n_points} points of {self.n_contexts} contexts"
        )
        if math.isfinite(self.interval.low):
            text += f" (naive interval {self.interval.low:.2f} to {self.interval.high:.2f}; {NAIVE})"
        return text + "."


def pooled_z(choices: ChoiceTable | TrialSet, reports: ReportTable) -> PooledZ:
    """Score reports as arXiv 2505.17120 does.

    Per context a logit of choosing the first option on range-scaled differences: unit-normal prior on the weights,
    free intercept, posterior mode (the paper's posterior mean, to rounding). Weights are divided by the largest
    magnitude, times 100, and rounded to whole numbers. A context's usable reports are averaged as given, without
    a check of their range. Both sides are z-scored once, over all contexts, and learned weights are regressed on
    reported ones with every weight of every context an independent point.

    Contexts whose choices all fall on one side are left out: with a free intercept their fit has no optimum.

    Args:
        choices: Choices, as letters: log-probabilities are not used.
        reports: Reports; only complete ones are averaged.

    Raises:
        MeasureError: No trials, or trials of more than two options.

    Example:
        >>> from introspect.decision import Attribute, DecisionScenario, TrialBlock
        >>> axes = [Attribute(name=n, low=0, high=10) for n in ("p", "q", "r")]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> values = np.random.default_rng(0).integers(0, 11, (60, 2, 3))
        >>> label = (values[:, 1] @ [3, 2, -1] > values[:, 0] @ [3, 2, -1]).astype(int)
        >>> trials = TrialSet([TrialBlock.of((k,), [0] * 60, values, label)])
        >>> found = pooled_z(trials, ReportTable.from_weights({"k": {"p": 100.0, "q": 50.0, "r": 40.0}}))
        >>> round(found.r, 2), found.weights["k"]["p"]
        (0.89, 100.0)
    """
    trials, chosen = (choices, choices.labels) if isinstance(choices, TrialSet) else (choices.trials, choices.chosen)
    weights, unusable = _weights(trials, chosen)
    means = reports.mean()
    dropped: dict[str, list[str]] = {}
    pairs: list[tuple[Floats, Floats]] = []
    for name in reports.scenario_ids:
        reason = unusable.get(name)
        if reason is None and name not in means:
            reason = "no valid report"
        if reason is None and name not in weights:
            reason = "no learned weights"
        if reason is None and set(means[name]) != set(weights[name]):
            reason = "attributes do not match"
        if reason is not None:
            dropped.setdefault(reason, []).append(name)
            continue
        order = list(weights[name])
        pairs.append((np.array([means[name][key] for key in order]), np.array([weights[name][key] for key in order])))
    said, learned = (np.concatenate([np.empty(0), *side]) for side in (zip(*pairs, strict=True) if pairs else ((), ())))
    r, slope, interval, reasons = _regression(
        said,
        learned,
        _spread([value for own in means.values() for value in own.values()]),
        _spread([value for own in weights.values() for value in own.values()]),
    )
    return PooledZ(
        r=r,
        slope=slope,
        interval=interval,
        n_contexts=len(pairs),
        n_points=len(said),
        weights=weights,
        dropped={reason: tuple(names) for reason, names in sorted(dropped.items())},
        reasons=reasons,
    )


def _weights(trials: TrialSet, chosen: NDArray[np.int8]) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Weights as published, and why other contexts have none."""
    if not len(trials):
        raise MeasureError("there are no trials to fit")
    if any(block.n_options != 2 for block in trials.blocks):
        raise MeasureError("the published analysis is of trials with two options")
    weights, unusable = {}, {}
    for stack in stack_choices(trials, chosen):
        width = stack.n_weights
        fit = fit_map(stack.design, stack.outcome, np.array([*[1.0] * width, FREE]), stack.case)
        first = (stack.case * stack.outcome[..., 0]).sum(axis=1)
        for c, name in enumerate(stack.scenario_ids):
            own = fit.coef[c, :width]
            largest = float(np.abs(own).max())
            if not stack.n_trials[c]:
                unusable[name] = "no usable choices"
            elif first[c] in (0, stack.n_trials[c]):
                unusable[name] = "all choices on one side"
            elif not largest > 0:
                unusable[name] = "learned weights all zero"
            else:
                scaled = np.rint(100.0 * own / largest) + 0.0  # never -0
                weights[name] = dict(zip(stack.predictors[c], scaled.tolist(), strict=True))
    return weights, unusable


def _regression(
    said: Floats, learned: Floats, said_sd: float, learned_sd: float
) -> tuple[float, float, Interval, dict[str, str]]:
    """r, slope of z-scores and its interval. The centres of the z-scores do not matter to any of them."""
    n = len(said)
    if n < 3 or not (np.ptp(said) > 0 and np.ptp(learned) > 0):
        why = "fewer than three points" if n < 3 else "one side does not vary at all"
        return math.nan, math.nan, Interval.undefined(), {"r": why}
    from scipy.special import stdtrit

    x, y = said - said.mean(), learned - learned.mean()
    sxx, syy, sxy = float(x @ x), float(y @ y), float(x @ y)
    r = min(1.0, max(-1.0, sxy / math.sqrt(sxx * syy)))
    ratio = said_sd / learned_sd
    slope = sxy / sxx * ratio
    error = math.sqrt(max(0.0, 1.0 - r * r) * syy / sxx / (n - 2)) * ratio
    half = float(stdtrit(n - 2, 0.975)) * error
    return r, slope, Interval(slope - half, slope + half), {}


def _spread(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
