"""Trials shown in more than one order: does the choice follow the option or the side?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.measure.by_scenario import ScenarioChoices, fit_each
from introspect.measure.dominance import chances

__all__ = ["OrderAudit", "order_audit"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OrderAudit:
    """How choices between the same options change with the order in which they are shown.

    Attributes:
        n: Comparisons: two trials with the same options in different orders.
        inconsistent: Share in which another option was taken; NaN without comparisons.
        expected: Share that the fitted weights and intercepts predict.
        noise: Share that the same weights predict without any intercept: choice noise alone.
        side: Share that the intercepts predict without any weights: a chooser who sees only the side.
        first: Inconsistent comparisons of two options in which both times the first shown was taken.
        last: ... in which both times the last shown was taken.
        p: Exact two-sided binomial p that `first` and `last` are equally likely; NaN without either.
    """

    n: int
    inconsistent: float
    expected: float
    noise: float
    side: float
    first: int
    last: int
    p: float


def order_audit(
    choices: list[ScenarioChoices], tau: float = 5.0, intercept_sd: float = 5.0
) -> tuple[OrderAudit, dict[str, OrderAudit]]:
    """Order consistency over all scenarios, and in each that shows some options in two orders.

    Trials are matched by their sets of options. Ask a part of the trials a second time the other way round
    (a tenth is enough): `TrialSet.concat([trials, trials.take(audit).swapped()])`.

    Args:
        choices: Scenarios.
        tau: Prior scale of the fit behind the predictions, in logits.
        intercept_sd: Prior scale of its intercepts.

    Example:
        >>> from introspect.decision import TrialGenerator, TrialSet, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> trials = TrialGenerator().trials(organism_scenarios(2), 20, rng=0)
        >>> both = TrialSet.concat([trials, trials.take(slice(0, 40, 4)).swapped()])
        >>> always_first = both.with_labels(np.zeros(50, dtype=int))
        >>> audit, _ = order_audit(by_scenario(always_first))
        >>> audit.n, audit.inconsistent, audit.first
        (10, 1.0, 10)
    """
    matched = [(c, pairs) for c in choices if (pairs := _matched(c.values))]
    fits = fit_each([c for c, _ in matched], tau, intercept_sd)
    rows = {c.scenario.id: _rows(c, pairs, coef) for (c, pairs), (coef, _) in zip(matched, fits, strict=True)}
    pooled = np.concatenate(list(rows.values())) if rows else np.empty((0, 6))
    return _summary(pooled), {name: _summary(row) for name, row in rows.items()}


def _rows(choices: ScenarioChoices, pairs: list[tuple[int, int, NDArray[np.intp]]], coef: Floats) -> Floats:
    """One row per comparison: inconsistent, expected, noise, side, both first, both last."""
    design = choices.design()
    is_weight = np.arange(len(coef)) < design.shape[2] - (choices.n_options - 1)
    predicted = [chances(design, c) for c in (coef, np.where(is_weight, coef, 0), np.where(is_weight, 0, coef))]
    found = []
    for i, j, place in pairs:  # place[k]: where the second trial shows the option that the first shows at k
        a, b = int(choices.chosen[i]), int(choices.chosen[j])
        differs = float(place[a] != b)
        two = choices.n_options == 2
        found.append(
            [
                differs,
                *(1.0 - float(chance[i] @ chance[j][place]) for chance in predicted),
                differs * (two and a == b == 0),
                differs * (two and a == b == 1),
            ]
        )
    return np.array(found)


def _matched(values: Floats) -> list[tuple[int, int, NDArray[np.intp]]]:
    """Trials with the same options in another order, each with its matching of places."""
    sets: dict[tuple[bytes, ...], list[int]] = {}
    options = [[option.tobytes() for option in trial + 0.0] for trial in values]
    for i, shown in enumerate(options):
        sets.setdefault(tuple(sorted(shown)), []).append(i)
    pairs = []
    for group in sets.values():
        for at, i in enumerate(group):
            others = [j for j in group[at + 1 :] if options[i] != options[j]]
            pairs += [(i, j, np.array([options[j].index(option) for option in options[i]])) for j in others]
    return pairs


def _summary(rows: Floats) -> OrderAudit:
    if not len(rows):
        return OrderAudit(0, *(math.nan,) * 4, 0, 0, math.nan)
    inconsistent, expected, noise, side = rows[:, :4].mean(axis=0).tolist()
    first, last = (int(total) for total in rows[:, 4:].sum(axis=0))
    return OrderAudit(len(rows), inconsistent, expected, noise, side, first, last, _coin(first, last))


def _coin(a: int, b: int) -> float:
    """Exact two-sided p of a fair coin that fell a and b times."""
    from scipy.special import bdtr

    if not a + b:
        return math.nan
    return min(1.0, 2.0 * float(bdtr(min(a, b), a + b, 0.5)))
