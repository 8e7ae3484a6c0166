"""Choices of many scenarios as padded arrays of one shape each, ready to be fitted together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError

__all__ = ["Stack", "stack_choices"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stack:
    """Scenarios with equally many predictors and options.

    Attributes:
        scenario_ids: Names, [C].
        predictors: Predictor names of each scenario.
        design: Differences to the last option, weights' columns before intercepts', [C, N, J - 1, P + J - 1].
        outcome: 1 where that option was chosen, [C, N, J - 1].
        case: 1 for a usable choice, 0 for a missing one and for padding, [C, N].
        n_trials: Usable choices, [C].
        n_missing: Trials without one, [C].
    """

    scenario_ids: tuple[str, ...]
    predictors: tuple[tuple[str, ...], ...]
    design: Floats
    outcome: Floats
    case: Floats
    n_trials: NDArray[np.int64]
    n_missing: NDArray[np.int64]

    @property
    def n_weights(self) -> int:
        """Predictors per scenario."""
        return int(self.design.shape[3] - self.design.shape[2])

    @property
    def n_intercepts(self) -> int:
        """Options less one."""
        return int(self.design.shape[2])


def stack_choices(trials: TrialSet, chosen: NDArray[np.integer]) -> list[Stack]:
    """Group scenarios by shape and roughly by number of trials, so that padding never more than doubles the
    work.

    Args:
        trials: What was shown.
        chosen: Option chosen in each trial, -1 where missing, [n].

    Raises:
        MeasureError: A scenario's trials differ in their number of options, or a choice is not among the
            options.
    """
    groups: dict[tuple[int, int, int], list[tuple[str, tuple[str, ...], Floats, NDArray[np.integer]]]] = {}
    seen: dict[str, int] = {}
    start = 0
    for block in trials.blocks:
        picks = np.asarray(chosen[start : start + block.n])
        start += block.n
        if picks.size and picks.max() >= block.n_options:
            raise MeasureError(f"option {picks.max()} was chosen among {block.n_options} options (0 is the first)")
        differences = _differences(block)
        order = np.argsort(block.scenario_index, kind="stable")
        present, first = np.unique(block.scenario_index[order], return_index=True)
        for number, rows in zip(present, np.split(order, first[1:]), strict=True):
            scenario = block.scenarios[number]
            if scenario.id in seen:
                raise MeasureError(
                    f"scenario {scenario.id!r} has trials with {seen[scenario.id]} and {block.n_options} "
                    "options; fit them apart"
                )
            seen[scenario.id] = block.n_options
            key = (differences.shape[2], block.n_options, int(len(rows) - 1).bit_length())
            groups.setdefault(key, []).append((scenario.id, scenario.predictors, differences[rows], picks[rows]))
    return [_stack(members) for members in groups.values()]


def _differences(block: TrialBlock) -> Floats:
    encoded = block.encoded()
    differences: Floats = encoded[:, :-1] - encoded[:, -1:]
    return differences


def _stack(members: list[tuple[str, tuple[str, ...], Floats, NDArray[np.integer]]]) -> Stack:
    n_contexts, longest = len(members), max(len(picks) for *_, picks in members)
    n_rivals, n_weights = members[0][2].shape[1:]
    design = np.zeros((n_contexts, longest, n_rivals, n_weights + n_rivals))
    design[..., n_weights:] = np.eye(n_rivals)
    outcome = np.zeros((n_contexts, longest, n_rivals))
    case = np.zeros((n_contexts, longest))
    for c, (_, _, differences, picks) in enumerate(members):
        n = len(picks)
        design[c, :n, :, :n_weights] = differences
        outcome[c, :n] = picks[:, None] == np.arange(n_rivals)
        case[c, :n] = picks >= 0
    used = case.sum(axis=1).astype(np.int64)
    return Stack(
        scenario_ids=tuple(name for name, *_ in members),
        predictors=tuple(names for _, names, *_ in members),
        design=design,
        outcome=outcome,
        case=case,
        n_trials=used,
        n_missing=np.array([len(picks) for *_, picks in members], dtype=np.int64) - used,
    )
