"""What can be wrong with a scenario's choices, as codes and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from introspect.measure.detection import score_statistic, score_test
from introspect.measure.newton import MapFit
from introspect.measure.separation import separated
from introspect.measure.stacks import Stack

__all__ = ["ADVICE", "FLAGS", "UNUSABLE", "describe", "flags_of", "score_statistic"]

Floats = NDArray[np.float64]

FLAGS = {
    "no_choices": "no usable choice was made",
    "one_sided": "every choice fell on the same option position",
    "no_variation": "a predictor never differed between the options, so its weight is only the prior's",
    "few_trials": "fewer usable choices than three per weight",
    "undetected": "the choices are compatible with no preference at all (score test at 5 %)",
    "side_bias": "choices lean to a position beyond what the options explain",
    "separated": "the weights explain every single choice, so only the prior bounds their length",
    "not_converged": "the fit did not converge",
    "no_optimum": "the estimator has no finite optimum on these choices",
    "graded_short": "too few label probabilities for least squares, so that plain choices were fitted",
}
"""Code -> meaning. A scenario may have several."""

ADVICE = {
    "no_choices": "Read some raw replies; the scenario is left out of every comparison.",
    "one_sided": "Show the sides balanced and read some raw replies; the scenario is left out of every comparison.",
    "no_variation": "Draw trials in which every attribute differs, or leave that weight out of comparisons.",
    "few_trials": "Ask more trials, or read these weights with their intervals only.",
    "undetected": "Scaling makes +-100 out of noise there, so give r with and without them, or ask more trials.",
    "side_bias": "The intercept takes it up; keep sides balanced, and ask some pairs in both orders to see its size.",
    "separated": "Directions can be used, lengths cannot; compare weights only after scaling.",
    "not_converged": "Look for values far outside the declared ranges; do not use these weights.",
    "no_optimum": "Fit them with the default estimator; the scenario is left out of every comparison.",
    "graded_short": "Ask more trials than there are weights and intercepts, if log-probabilities are to be used.",
}
"""Code -> what to do about it."""

UNUSABLE = {
    "no_choices": "no usable choices",
    "one_sided": "all choices on one side",
    "no_optimum": "the estimator has no finite optimum on these choices",
}
"""The codes with which a scenario is left out of any comparison -> why."""

DETECTION_LEVEL = 0.05
SIDE_BIAS_Z = 2.58
SIDE_BIAS_LOGITS = 0.5
TRIALS_PER_WEIGHT = 3


def describe(
    scenario_ids: Sequence[str],
    flags: Sequence[Sequence[str]],
    intercepts: Sequence[Floats],
    n_trials: NDArray[np.int64],
    n_missing: NDArray[np.int64],
) -> list[str]:
    """The flags of all scenarios in sentences, naming a few scenarios for each.

    Example:
        >>> describe(["k1"], [["few_trials"]], [np.zeros(1)], np.array([4]), np.array([1]))[-1]
        'In 1 of 1 scenarios: fewer usable choices than three per weight (k1). Ask more trials, or read these weights
        with their intervals only.'
    """
    if not len(scenario_ids):
        return ["No scenario was fitted."]
    used, missing = int(n_trials.sum()), int(n_missing.sum())
    lines = [
        f"Fitted {used} choices in {len(scenario_ids)} scenarios ({n_trials.min()} to {n_trials.max()} "
        f"in each); {missing} trials had no usable choice and were left out."
    ]
    sides = np.array([b[0] for b in intercepts if len(b)])
    if sides.size:
        lines.append(f"The first position's average advantage is {sides.mean():+.2f} logits.")
    for code, meaning in FLAGS.items():
        named = [name for name, found in zip(scenario_ids, flags, strict=True) if code in found]
        if named:
            shown = ", ".join(named[:5]) + (", ..." if len(named) > 5 else "")
            lines.append(f"In {len(named)} of {len(scenario_ids)} scenarios: {meaning} ({shown}). {ADVICE[code]}")
    return lines


def flags_of(stack: Stack, fit: MapFit) -> list[tuple[str, ...]]:
    """Codes of what is remarkable in each scenario of a stack, in the order of `FLAGS`, C tuples."""
    shares = _shares(stack)
    sides = np.concatenate([shares, 1.0 - shares.sum(axis=1, keepdims=True)], axis=1)
    one_sided = (stack.n_trials > 0) & (sides.max(axis=1) >= 1.0)
    shown = np.abs(stack.design[..., : stack.n_weights]) * stack.case[..., None, None]
    detected = score_test(stack.design, stack.outcome, stack.case, stack.n_weights).p < DETECTION_LEVEL
    sd = np.sqrt(np.diagonal(fit.cov, axis1=1, axis2=2))[:, stack.n_weights :]
    known = np.asarray(np.isfinite(fit.coef).all(axis=1))
    lean = np.abs(fit.coef[:, stack.n_weights :])
    masks = {
        "no_choices": stack.n_trials == 0,
        "one_sided": one_sided,
        "no_variation": (stack.n_trials > 0) & (shown.max(axis=(1, 2)) == 0).any(axis=1),
        "few_trials": stack.n_trials < TRIALS_PER_WEIGHT * stack.n_weights,
        "undetected": ~detected,
        "side_bias": ((lean > SIDE_BIAS_LOGITS) & (lean > SIDE_BIAS_Z * sd)).any(axis=1),
        "separated": (stack.n_trials > 0) & ~one_sided & _separated(stack, fit),
        "not_converged": ~fit.converged & known,
        "no_optimum": ~known & (stack.n_trials > 0),
        "graded_short": np.full(len(known), stack.short),
    }
    return [tuple(code for code, mask in masks.items() if mask[c]) for c in range(len(stack.scenario_ids))]


def _shares(stack: Stack) -> Floats:
    """Share of the usable choices that fell on each option but the last, [C, J - 1]."""
    chosen = np.einsum("cn,cnk->ck", stack.case, stack.outcome)
    shares: Floats = chosen / np.maximum(stack.n_trials, 1)[:, None]
    return shares


def _separated(stack: Stack, fit: MapFit) -> NDArray[np.bool_]:
    """Whether some weights explain every choice; log-odds have an optimum whatever the choices are."""
    if stack.graded == "ols":
        return np.zeros(len(stack.scenario_ids), dtype=bool)
    return separated(stack.design, stack.outcome, stack.case, np.nan_to_num(fit.coef))
