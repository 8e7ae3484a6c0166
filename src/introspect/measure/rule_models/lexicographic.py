"""The order of attributes, their directions and the just noticeable difference that explain most choices."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from introspect.decision.rules.lexicographic import ROUNDING, Criterion, LexicographicRule
from introspect.errors import MeasureError
from introspect.measure.by_scenario import ScenarioChoices
from introspect.measure.rule_models.common import RulePart

__all__ = ["fit_lexicographic"]

Floats = NDArray[np.float64]

THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
BLIND = (0.03, 0.12, 0.3)
"""Shares of blind picks under which orders are compared; the share itself is profiled afterwards."""


def fit_lexicographic(choices: ScenarioChoices, cases: Floats) -> RulePart:
    """The lexicographic rule of greatest likelihood, one threshold for all its turns.

    With two options the set of attributes that had their turn, whatever the order among them, says which trials
    are still open; so the best order is found exactly, set by set, for any number of attributes. With more
    options turns are added greedily. Each turn must earn half a logarithm of the number of choices.

    Args:
        choices: The scenario.
        cases: Training cases, [F, n].

    Raises:
        MeasureError: No attribute has an order.

    Example:
        >>> from introspect.decision import RuleSampler, TrialGenerator, label, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> contexts = organism_scenarios(1)
        >>> rules = RuleSampler(kind="lexicographic").sample(contexts, rng=0)
        >>> part = by_scenario(label(TrialGenerator().trials(contexts, 100, rng=0), rules, rng=0))[0]
        >>> found, true = fit_lexicographic(part, np.ones((1, 100))).rule.order, rules[part.scenario.id].order
        >>> [turn.attribute for turn in found][:2] == [turn.attribute for turn in true][:2]
        True
    """
    axes = [k for k, a in enumerate(choices.scenario.attributes) if a.kind != "categorical"]
    if not axes:
        raise MeasureError(f"scenario {choices.scenario.id!r} has no attribute with an order")
    good = np.stack([choices.scenario.attributes[k].encode(choices.values[..., k]) for k in axes], axis=2)
    search = _exact if choices.n_options == 2 else _greedy
    orders = search(good, choices.chosen, cases)
    names = [choices.scenario.attributes[k].name for k in axes]
    probability = np.stack([_probability(good, turns, threshold) for turns, threshold in orders])
    turns, threshold = orders[0]
    ends: tuple[Literal["low", "high"], ...] = ("low", "high")
    rule = LexicographicRule(
        scenario_id=choices.scenario.id,
        order=tuple(Criterion(attribute=names[k], better=ends[up], threshold=threshold) for k, up in turns),
    )
    return RulePart(rule, probability, len(turns) + 1.0)


Turns = list[tuple[int, int]]
"""(attribute, 1 if high is better), most important first."""


def _probability(good: Floats, turns: Turns, threshold: float) -> Floats:
    """Even shares among the options that remain, [n, J]."""
    left = np.ones(good.shape[:2], dtype=np.bool_)
    for k, up in turns:
        left = _keep(left, good[..., k] if up else -good[..., k], threshold)
    return np.asarray(left / left.sum(axis=1, keepdims=True))


def _keep(left: NDArray[np.bool_], good: Floats, threshold: float) -> NDArray[np.bool_]:
    best = np.where(left, good, -np.inf).max(axis=1, keepdims=True)
    return np.asarray(left & (good >= best - threshold - ROUNDING))


def _exact(good: Floats, chosen: NDArray[np.int64], cases: Floats) -> list[tuple[Turns, float]]:
    n, width = good.shape[0], good.shape[2]
    lead = (good[:, 0] - good[:, 1]) * np.where(chosen == 0, 1.0, -1.0)[:, None]
    sets = np.arange(2**width)
    member = (sets[:, None] >> np.arange(width)) & 1
    blind = np.array(BLIND)
    # Log-likelihood of a choice that the rule foretells, contradicts, or leaves open; with shares in a row.
    win, lose, tie = np.log(1 - blind / 2), np.log(blind / 2), np.log(0.5)
    cost = 0.5 * np.log(np.maximum(cases.sum(axis=1), 2.0))[:, None]
    best, pick = np.full(len(cases), -np.inf), [(list[tuple[int, int]](), 0.0) for _ in cases]
    for threshold in THRESHOLDS:
        decided = np.abs(lead) > threshold + ROUNDING
        unsettled = (member @ decided.T == 0).astype(float)  # [sets, n]
        right = [unsettled @ (cases[:, :, None] * (decided & side)).transpose(1, 0, 2).reshape(n, -1)
                 for side in (lead < 0, lead > 0)]  # fmt: skip
        # [sets, F, width]: foretold among the newly decided if low, if high, is better.
        low, high = (part.reshape(len(sets), len(cases), width) for part in right)
        value = np.full((len(sets), len(cases), len(blind)), -np.inf)
        value[0] = 0.0
        came = np.zeros((len(sets), len(cases), len(blind)), dtype=np.intp)
        for known in sets:
            for k in range(width):
                if known >> k & 1:
                    continue
                hit, miss = np.maximum(low[known, :, k], high[known, :, k]), np.minimum(
                    low[known, :, k], high[known, :, k]
                )  # fmt: skip
                fresh = value[known] + hit[:, None] * (win - tie) + miss[:, None] * (lose - tie) - cost
                at = known | 1 << k
                better = fresh > value[at]
                value[at] = np.where(better, fresh, value[at])
                came[at] = np.where(better, k, came[at])
        value[0] = -np.inf  # a rule has at least one turn
        flat = value.transpose(1, 0, 2).reshape(len(cases), -1)
        for f in np.flatnonzero(flat.max(axis=1) > best):
            best[f] = flat[f].max()
            at, b = np.unravel_index(int(flat[f].argmax()), (len(sets), len(blind)))
            turns: Turns = []
            while at:
                k = int(came[at, f, b])
                at = at & ~(1 << k)
                turns.append((k, int(high[at, f, k] >= low[at, f, k])))
            pick[f] = (turns[::-1], threshold)
    return pick


def _greedy(good: Floats, chosen: NDArray[np.int64], cases: Floats) -> list[tuple[Turns, float]]:
    n, n_options, width = good.shape
    here = np.arange(n)
    found = []
    for case in cases:
        best: tuple[float, Turns, float] = (-np.inf, [], 0.0)
        cost = 0.5 * np.log(max(case.sum(), 2.0))
        for threshold in THRESHOLDS:
            for blind in BLIND:
                turns: Turns = []
                left, value = np.ones((n, n_options), dtype=np.bool_), -np.inf
                while len(turns) < width:
                    steps = []
                    for k in set(range(width)) - {k for k, _ in turns}:
                        for up in (0, 1):
                            rest = _keep(left, good[..., k] if up else -good[..., k], threshold)
                            own = rest[here, chosen] / rest.sum(axis=1)
                            fit = float((case * np.log((1 - blind) * own + blind / n_options)).sum())
                            steps.append((fit - cost * (len(turns) + 1), k, up, rest))
                    gain, k, up, rest = max(steps, key=lambda step: step[0])
                    if gain <= value:
                        break
                    value, left = gain, rest
                    turns.append((k, up))
                if value > best[0]:
                    best = (value, turns, threshold)
        found.append((best[1], best[2]))
    return found
