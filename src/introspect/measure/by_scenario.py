"""Choices taken apart by scenario, for questions that a pooled array cannot answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial_set import TrialSet
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.newton import fit_map

__all__ = ["ScenarioChoices", "alike", "by_scenario", "chosen_of", "fit_each"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScenarioChoices:
    """The trials of one scenario that were answered, options in the order shown.

    Attributes:
        scenario: Whose.
        values: Values shown, [n, J, A].
        encoded: Their predictors, each in [0, 1], [n, J, P].
        chosen: Option chosen, 0 for the first shown, [n].
        n_missing: Trials left out, since they have no usable choice.
        log_odds: Of the first of two options, [n], NaN where the answer did not show both; None where nothing is
            graded.
    """

    scenario: DecisionScenario
    values: Floats
    encoded: Floats
    chosen: NDArray[np.int64]
    n_missing: int
    log_odds: Floats | None = None

    @property
    def n(self) -> int:
        """Usable choices."""
        return len(self.chosen)

    @property
    def n_options(self) -> int:
        """Options per trial."""
        return int(self.encoded.shape[1])

    @cached_property
    def outcome(self) -> Floats:
        """1 where that option was chosen, for all options but the last, [n, J - 1]."""
        return np.asarray(self.chosen[:, None] == np.arange(self.n_options - 1), dtype=np.float64)

    @property
    def graded(self) -> bool:
        """Whether every answer shows the log-odds, so that they can stand for the choices."""
        return self.log_odds is not None and self.n > 0 and bool(np.isfinite(self.log_odds).all())

    @cached_property
    def share(self) -> Floats:
        """`outcome`, or the probability given where it is known, [n, J - 1]."""
        if self.log_odds is None:
            return self.outcome
        given = 0.5 + 0.5 * np.tanh(np.nan_to_num(self.log_odds) / 2.0)
        return np.where(np.isfinite(self.log_odds), given, self.outcome[:, 0])[:, None]

    def design(self, terms: Floats | None = None) -> Floats:
        """Differences to the last option, then a column per position but the last, [n, J - 1, Q].

        Args:
            terms: What options are described by, [n, J, K]; their predictors if not given.
        """
        described = self.encoded if terms is None else terms
        rivals = self.n_options - 1
        sides = np.broadcast_to(np.eye(rivals), (self.n, rivals, rivals))
        return np.concatenate([described[:, :-1] - described[:, -1:], sides], axis=2)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> ScenarioChoices:
        """Some of the trials."""
        log_odds = None if self.log_odds is None else self.log_odds[which]
        return ScenarioChoices(
            self.scenario, self.values[which], self.encoded[which], self.chosen[which], self.n_missing, log_odds
        )


def chosen_of(choices: ChoiceTable | TrialSet) -> tuple[TrialSet, NDArray[np.int8]]:
    """Trials and the option chosen in each: a table's choices, or the trials' labels."""
    if isinstance(choices, ChoiceTable):
        return choices.trials, choices.chosen
    return choices, choices.labels


def by_scenario(choices: ChoiceTable | TrialSet, *, graded: bool = True) -> list[ScenarioChoices]:
    """The usable choices of every scenario, in the order in which scenarios appear in the blocks.

    A scenario with trials of two sizes appears once for each.

    Args:
        choices: A model's choices, or trials with labels (-1 is missing).
        graded: Also take the log-odds of answers of two options that show both, above the list's floor.

    Example:
        >>> by_scenario(TrialSet())
        []
    """
    trials, chosen = chosen_of(choices)
    log_odds = _log_odds(choices) if graded and isinstance(choices, ChoiceTable) else None
    found, start = [], 0
    for block in trials.blocks:
        picks = np.asarray(chosen[start : start + block.n], dtype=np.int64)
        odds = None if log_odds is None or block.n_options != 2 else log_odds[start : start + block.n]
        start += block.n
        encoded = block.encoded()
        order = np.argsort(block.scenario_index, kind="stable")
        ends = np.cumsum(np.bincount(block.scenario_index, minlength=len(block.scenarios)))
        for scenario, rows in zip(block.scenarios, np.split(order, ends[:-1]), strict=True):
            kept = rows[picks[rows] >= 0]
            own = None if odds is None or np.isnan(odds[kept]).all() else odds[kept]
            found.append(
                ScenarioChoices(scenario, block.values[kept], encoded[kept], picks[kept], len(rows) - len(kept), own)
            )
    return found


def _log_odds(table: ChoiceTable) -> Floats | None:
    """Of the first two options, [n]; NaN where one is not shown, or not above the floor."""
    if table.logprob.shape[1] < 2 or np.isnan(table.logprob).all():
        return None
    both = table.logprob[:, :2]
    shown = np.isfinite(both) & ~(both <= table.logprob_floor[:, None])
    with np.errstate(invalid="ignore"):
        return np.where(shown.all(axis=1), both[:, 0] - both[:, 1], np.nan)


def alike(choices: Sequence[ScenarioChoices], at_once: int = 0) -> Iterator[list[int]]:
    """Places of scenarios whose designs have the same shape, so that they can be stacked.

    Args:
        choices: Scenarios; those without usable choices are left out.
        at_once: Most places that are given together; all if 0.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, part in enumerate(choices):
        if part.n:
            groups.setdefault(part.encoded.shape, []).append(place)
    for group in groups.values():
        size = at_once or len(group)
        yield from (group[first : first + size] for first in range(0, len(group), size))


def fit_each(choices: Sequence[ScenarioChoices], tau: float, intercept_sd: float) -> list[tuple[Floats, Floats]]:
    """The ridge logit of every scenario's answers: coefficients [Q], weights first, and their covariance [Q, Q].

    Args:
        choices: Scenarios. One without usable choices gets the prior.
        tau: Prior scale of the weights, in logits.
        intercept_sd: Prior scale of the intercepts.
    """

    def prior(part: ScenarioChoices) -> Floats:
        sides = part.n_options - 1
        return np.concatenate([np.full(part.encoded.shape[2], tau), np.full(sides, intercept_sd)])

    found = [(np.zeros(len(sd)), np.diag(sd**2)) for sd in map(prior, choices)]
    for group in alike(choices, at_once=1000):
        design = np.stack([choices[i].design() for i in group])
        fit = fit_map(design, np.stack([choices[i].share for i in group]), prior(choices[group[0]]))
        for row, i in enumerate(group):
            found[i] = fit.coef[row], fit.cov[row]
    return found
