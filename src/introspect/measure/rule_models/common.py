"""What all estimators of rules share: a rule's part in the choices, blind picks for the rest, held-out scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.decision.rules.base import ChoiceRule
from introspect.measure.by_scenario import ScenarioChoices

__all__ = ["RuleFit", "RulePart", "both_ways", "fold_cases", "judge"]

Floats = NDArray[np.float64]

BLIND_SHARES = np.array([0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6])
"""Shares of blind picks that are tried. The least of them is a floor: no rule is sure of anything."""


@dataclass(frozen=True, eq=False)
class RulePart:
    """What an estimator found from each of F sets of training cases; row 0 is all of them.

    Attributes:
        rule: Fitted to all cases.
        probability: Of every option under the rule alone, without blind picks, [F, n, J].
        n_parameters: Of the fit to all cases, shrunken ones counted by how far the choices determine them.
    """

    rule: ChoiceRule
    probability: Floats
    n_parameters: float


@dataclass(frozen=True, eq=False)
class RuleFit:
    """One rule fitted to one scenario's choices.

    Attributes:
        kind: "linear", "interaction", "screening" or "lexicographic".
        rule: As fitted, weights scaled to a largest magnitude of 100.
        lapse: Share of blind picks that fits best, at least .01.
        log_likelihood: Of all choices, at the fit.
        n_parameters: The rule's and one for the blind picks.
        n: Choices.
        scores: Log score (natural logarithm of the probability given) of each choice, by a fit without its
            fold, [n]; of a graded answer the mean over both choices, as probable as it says.
    """

    kind: str
    rule: ChoiceRule
    lapse: float
    log_likelihood: float
    n_parameters: float
    n: int
    scores: Floats

    @property
    def bic(self) -> float:
        """Bayesian information criterion, smaller is better."""
        return self.n_parameters * math.log(self.n) - 2.0 * self.log_likelihood

    @property
    def held_out(self) -> float:
        """Mean log score of held-out choices; -log J is guessing."""
        return float(self.scores.mean())


def fold_cases(n: int, n_folds: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    """Training cases [1 + n_folds, n], the first row all ones, and the fold of each choice, [n]."""
    fold = np.empty(n, dtype=np.intp)
    fold[rng.permutation(n)] = np.arange(n) % n_folds
    return np.concatenate([np.ones((1, n)), fold != np.arange(n_folds)[:, None]]), fold


def both_ways(choices: ScenarioChoices) -> tuple[ScenarioChoices, Floats]:
    """Graded answers as two choices each, one either way, and how much each of them weighs, [2 n].

    An estimator that counts cases is then fitted to the probabilities themselves. What is not graded stays as it is.
    """
    if choices.log_odds is None:
        return choices, np.ones(choices.n)
    twice = np.concatenate([np.arange(choices.n)] * 2)
    first = choices.share[:, 0]
    split = ScenarioChoices(
        choices.scenario, choices.values[twice], choices.encoded[twice], np.repeat([0, 1], choices.n), choices.n_missing
    )
    return split, np.concatenate([first, 1.0 - first])


def judge(
    kind: str, choices: ScenarioChoices, part: RulePart, cases: Floats, fold: NDArray[np.intp], weight: Floats
) -> RuleFit:
    """Mix a rule with blind picks (at the sides' own rates) and score it on the choices it was not fitted to.

    Args:
        kind: Name of the rule.
        choices: The scenario.
        part: The rule's part.
        cases: Training cases, [F, n].
        fold: Held-out fold of each choice, [n].
        weight: Of each choice, as `both_ways` gives it, [n].
    """
    here = np.arange(choices.n)
    own = part.probability[:, here, choices.chosen]
    taken = choices.chosen[:, None] == np.arange(choices.n_options)
    sides = (cases @ taken + 1.0) / (cases.sum(axis=1, keepdims=True) + choices.n_options)
    blind = sides[:, choices.chosen]
    log = np.log((1.0 - BLIND_SHARES[:, None, None]) * own + BLIND_SHARES[:, None, None] * blind)
    best = (log * cases).sum(axis=2).argmax(axis=0)
    log = log[best, np.arange(len(cases))]
    n = round(float(weight.sum()))
    return RuleFit(
        kind,
        part.rule,
        float(BLIND_SHARES[best[0]]),
        float(log[0] @ weight),
        part.n_parameters + 1.0,
        n,
        (log[1 + fold, here] * weight).reshape(-1, n).sum(axis=0),
    )
