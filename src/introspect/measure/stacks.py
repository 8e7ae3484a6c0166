"""Choices of many scenarios as padded arrays of one shape each, ready to be fitted together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

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
        outcome: 1 where that option was chosen, [C, N, J - 1]; its probability where answers are graded.
        case: 1 for a usable choice, 0 for a missing one and for padding, [C, N].
        n_trials: Usable choices, [C].
        n_missing: Trials without one, [C].
        rows: Number of each trial in the set that was stacked, [C, N]; -1 is padding.
        graded: What the outcomes are: "" for choices, "ols" for log-odds, "fractional" for probabilities.
        log_odds: Of the first option, where `graded` is "ols", [C, N].
        short: Answers were graded, but too few for least squares, so that choices are used.
    """

    scenario_ids: tuple[str, ...]
    predictors: tuple[tuple[str, ...], ...]
    design: Floats
    outcome: Floats
    case: Floats
    n_trials: NDArray[np.int64]
    n_missing: NDArray[np.int64]
    rows: NDArray[np.int64]
    graded: str = ""
    log_odds: Floats | None = None
    short: bool = False

    @property
    def n_weights(self) -> int:
        """Predictors per scenario."""
        return len(self.predictors[0])

    @property
    def n_intercepts(self) -> int:
        """Options less one; none where they were left out."""
        return int(self.design.shape[3]) - self.n_weights

    def select(self, where: NDArray[Any], **changes: Any) -> Stack:
        """Some of the scenarios (indices or mask), with other fields changed."""
        at = np.arange(len(self.scenario_ids))[where]
        arrays: dict[str, Any] = {
            name: getattr(self, name)[at] for name in ("design", "outcome", "case", "n_trials", "n_missing", "rows")
        }
        if self.log_odds is not None:
            arrays["log_odds"] = self.log_odds[at]
        return replace(
            self,
            scenario_ids=tuple(self.scenario_ids[i] for i in at),
            predictors=tuple(self.predictors[i] for i in at),
            **{**arrays, **changes},
        )


def stack_choices(trials: TrialSet, chosen: NDArray[np.integer], *, intercept: bool = True) -> list[Stack]:
    """Group scenarios by shape and roughly by number of trials, so that padding never more than doubles the
    work.

    Args:
        trials: What was shown.
        chosen: Option chosen in each trial, -1 where missing, [n].
        intercept: Give every position but the last a coefficient of its own.

    Raises:
        MeasureError: A scenario's trials differ in their number of options, or a choice is not among the
            options.
    """
    groups: dict[tuple[int, int, int], list[Stack]] = {}
    seen: dict[str, int] = {}
    start = 0
    for block in trials.blocks:
        picks = np.asarray(chosen[start : start + block.n])
        if picks.size and picks.max() >= block.n_options:
            raise MeasureError(f"option {picks.max()} was chosen among {block.n_options} options (0 is the first)")
        order = np.argsort(block.scenario_index, kind="stable")
        counts = np.bincount(block.scenario_index, minlength=len(block.scenarios))
        first = np.cumsum(counts) - counts
        present = np.flatnonzero(counts)
        for number in present:
            name = block.scenarios[number].id
            if name in seen:
                raise MeasureError(
                    f"scenario {name!r} has trials with {seen[name]} and {block.n_options} options; fit them apart"
                )
            seen[name] = block.n_options
        differences = _differences(block)
        bits = np.array([int(count - 1).bit_length() for count in counts[present]], dtype=np.int64)
        for size in np.unique(bits):
            members = present[bits == size]
            place = np.arange(counts[members].max())
            real = place < counts[members, None]
            rows = order[np.where(real, first[members, None] + place, 0)]
            part = _stack(block, members, differences, picks, rows, real, start, intercept)
            groups.setdefault((differences.shape[2], block.n_options, int(size)), []).append(part)
        start += block.n
    return [_merged(parts) for parts in groups.values()]


def _differences(block: TrialBlock) -> Floats:
    encoded = block.encoded()
    differences: Floats = encoded[:, :-1] - encoded[:, -1:]
    return differences


def _stack(
    block: TrialBlock,
    members: NDArray[np.intp],
    differences: Floats,
    picks: NDArray[np.integer],
    rows: NDArray[np.intp],
    real: NDArray[np.bool_],
    start: int,
    intercept: bool,
) -> Stack:
    n_rivals, n_weights = differences.shape[1:]
    design = np.empty((*rows.shape, n_rivals, n_weights + n_rivals * intercept))
    design[..., :n_weights] = differences[rows]
    if intercept:
        design[..., n_weights:] = np.eye(n_rivals)
    design[~real, :, :n_weights] = 0.0
    chosen = np.where(real, picks[rows], -1)
    used = chosen >= 0
    n_used = used.sum(axis=1)
    return Stack(
        scenario_ids=tuple(block.scenarios[i].id for i in members),
        predictors=tuple(block.scenarios[i].predictors for i in members),
        design=design,
        outcome=(chosen[..., None] == np.arange(n_rivals)).astype(np.float64),
        case=used.astype(np.float64),
        n_trials=n_used.astype(np.int64),
        n_missing=(real.sum(axis=1) - n_used).astype(np.int64),
        rows=np.where(real, rows + start, -1).astype(np.int64),
    )


def _merged(parts: list[Stack]) -> Stack:
    """One stack of several of the same shape, padded to the longest."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.case.shape[1] for part in parts)

    def joined(name: str, filler: float = 0) -> Any:
        arrays = [getattr(part, name) for part in parts]
        padded = [
            np.pad(a, [(0, 0), (0, longest - a.shape[1]), *[(0, 0)] * (a.ndim - 2)], constant_values=filler)
            for a in arrays
        ]
        return np.concatenate(padded)

    return Stack(
        scenario_ids=tuple(name for part in parts for name in part.scenario_ids),
        predictors=tuple(names for part in parts for names in part.predictors),
        design=joined("design"),
        outcome=joined("outcome"),
        case=joined("case"),
        n_trials=np.concatenate([part.n_trials for part in parts]),
        n_missing=np.concatenate([part.n_missing for part in parts]),
        rows=joined("rows", -1),
    )
