"""What can be wrong with a scenario's choices, as codes and in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLAGS", "UNUSABLE", "describe", "score_statistic"]

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
}
"""Code -> meaning. A scenario may have several."""

UNUSABLE = {
    "no_choices": "no usable choices",
    "one_sided": "all choices on one side",
}
"""The codes with which a scenario is left out of any comparison -> why."""

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
        'In 1 of 1 scenarios: fewer usable choices than three per weight (k1).'
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
            lines.append(f"In {len(named)} of {len(scenario_ids)} scenarios: {meaning} ({shown}).")
    return lines


def score_statistic(design: Floats, outcome: Floats, case: Floats, chance: Floats, n_weights: int) -> Floats:
    """Score test that all weights are 0 with the intercepts free, [C]: chi-square with n_weights degrees of
    freedom.

    It needs no fit of the weights, so it holds its level where few trials make likelihood ratios too large.

    Args:
        design: Differences to the last option, [C, N, J - 1, Q], weights before intercepts.
        outcome: Chosen or not, [C, N, J - 1].
        case: Case weights, [C, N].
        chance: Probability of each option but the last at any trial under the null, [C, J - 1].
        n_weights: How many of the Q coefficients are weights.
    """
    _, _, n_rivals, n_coef = design.shape
    residual = case[..., None] * (outcome - chance[:, None, :])
    score = np.einsum("cnk,cnkq->cq", residual, design)[:, :n_weights]
    spread = np.einsum("ck,kl->ckl", chance, np.eye(n_rivals)) - np.einsum("ck,cl->ckl", chance, chance)
    information = np.einsum("cn,cnkq,ckl,cnlr->cqr", case, design, spread, design, optimize=True)
    w = slice(0, n_weights)
    b = slice(n_weights, n_coef)
    # Pseudo-inverses, so that a predictor that never varies costs its degree of freedom and nothing else.
    cross = information[:, w, b]
    known = np.linalg.pinv(information[:, b, b], rcond=1e-10, hermitian=True)
    efficient = information[:, w, w] - cross @ known @ np.swapaxes(cross, 1, 2)
    inverse = np.linalg.pinv(efficient, rcond=1e-10, hermitian=True)
    return np.asarray(np.einsum("cq,cqr,cr->c", score, inverse, score))
