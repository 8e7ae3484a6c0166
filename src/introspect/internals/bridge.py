"""Three routes to the same weights: what a model chooses, what it says, and what a linear probe reads in its stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from introspect._random import RNG, root_seed, stream
from introspect.errors import MeasureError
from introspect.internals.target import Target
from introspect.measure import AccuracyMetric, LearnedWeights, ReportTable
from introspect.measure.accuracy import Accuracy

__all__ = ["Bridge", "bridge", "probe_weights"]

Floats = npt.NDArray[np.float64]
_PENALTIES = (1e-2, 1e-1, 1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Bridge:
    """How three routes to a model's attribute weights agree, over the same contexts.

    Attributes:
        report_choices: What it says against what it chooses.
        probe_choices: What the probe reads, on contexts that it was not fitted to, against what the model chooses.
        probe_report: What the probe reads against what the model says.
        floor: The same probe fitted to the weights of other contexts, against what the model chooses.
        probe: The probe's weights by context.
        layers: The layer that each fold's training contexts chose.
    """

    report_choices: Accuracy
    probe_choices: Accuracy
    probe_report: Accuracy
    floor: Accuracy
    probe: dict[str, dict[str, float]]
    layers: tuple[int, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One row a pair of routes."""
        named = {"report, choices": self.report_choices, "probe, choices": self.probe_choices,
                 "probe, report": self.probe_report, "shuffled probe, choices": self.floor}  # fmt: skip
        return [
            {"routes": name, "r": one.pooled_r, "low": one.pooled_interval.low, "high": one.pooled_interval.high}
            for name, one in named.items()
        ]

    def sentences(self) -> list[str]:
        """The bridge in words."""
        return [f"{row['routes']}: r = {row['r']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]" for row in self.rows()]


def bridge(
    target: Target,
    texts: Mapping[str, Sequence[str]],
    choices: LearnedWeights,
    reports: ReportTable,
    *,
    layers: Sequence[int] | None = None,
    at: int | str = "last",
    folds: int = 10,
    rng: RNG = 0,
) -> Bridge:
    """Read a model's weights from its stream, and hold them against its choices and its reports.

    A ridge regression goes from the mean stream of a context's prompts to the weights that its choices reveal. It is
    scored on contexts that it was not fitted to; its layer and penalty are chosen within the others. It needs contexts
    with the same predictors in the same order, as organisms have.

    Args:
        target: The model; the one that chose and reported.
        texts: Prompts by context, such as choices between options.
        choices: Weights that the model's choices reveal.
        reports: What it says they are.
        layers: Where to look; all of them, and the embedding, by default.
        at: At which position of the prompts.
        folds: Groups of contexts.
        rng: Of the folds and the intervals.

    Raises:
        MeasureError: Contexts with different predictors, or fewer than `folds` of them.
    """
    seed = root_seed(rng)
    ids = tuple(name for name in choices.scenario_ids if name in texts)
    names = {choices.predictors[choices.index(name)] for name in ids}
    if len(names) != 1 or len(ids) < folds:
        raise MeasureError(
            f"a probe needs at least {folds} contexts with the same predictors; there are {len(ids)} contexts with "
            f"{len(names)} sets of predictors"
        )
    where = list(range(-1, target.n_layers)) if layers is None else list(layers)
    streams = np.stack([target.read(list(texts[name]), where, at).mean(0) for name in ids])
    goal = np.stack([_scaled(choices.coef[choices.index(name)]) for name in ids])
    told, chosen = probe_weights(streams, goal, folds=folds, seed=seed)
    shuffled, _ = probe_weights(streams, goal[stream(seed, "floor").permutation(len(goal))], folds=folds, seed=seed)
    predictors = next(iter(names))
    probe, floor = (
        {name: dict(zip(predictors, map(float, row), strict=True)) for name, row in zip(ids, made, strict=True)}
        for made in (told, shuffled)
    )
    learned = {name: dict(zip(predictors, map(float, row), strict=True)) for name, row in zip(ids, goal, strict=True)}
    metric = AccuracyMetric()
    said = reports.select(ids)
    return Bridge(
        metric.score(said, learned, seed), metric.score(probe, learned, seed), metric.score(probe, said.mean(), seed),
        metric.score(floor, learned, seed), probe, tuple(where[k] for k in chosen),
    )  # fmt: skip


def probe_weights(
    streams: npt.NDArray[np.float32], goal: Floats, *, folds: int = 10, seed: int = 0
) -> tuple[Floats, list[int]]:
    """Held-out ridge predictions of weights.

    Args:
        streams: [contexts, layers, width].
        goal: [contexts, predictors].
        folds: Groups of contexts.
        seed: Of the groups.

    Returns:
        Predictions, [contexts, predictors], and which layer each fold used.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(60, 1, 4)).astype(np.float32)
        >>> told, _ = probe_weights(x, x[:, 0, :2] * 2.0)
        >>> round(float(np.corrcoef(told.ravel(), 2 * x[:, 0, :2].ravel())[0, 1]), 2)
        1.0
    """
    group = stream(seed, "folds").permutation(len(goal)) % folds
    told, chosen = np.full(goal.shape, np.nan), []
    for fold in range(folds):
        train, test = np.flatnonzero(group != fold), np.flatnonzero(group == fold)
        judged = np.arange(len(train)) % 4 == 0
        best = min(
            ((layer, penalty) for layer in range(streams.shape[1]) for penalty in _PENALTIES),
            key=lambda pick: _error(streams[:, pick[0]], goal, train[~judged], train[judged], pick[1]),
        )
        chosen.append(best[0])
        told[test] = _ridge(streams[:, best[0]], goal, train, test, best[1])
    return told, chosen


def _error(x: npt.NDArray[np.float32], goal: Floats, train: Any, test: Any, penalty: float) -> float:
    return float(((_ridge(x, goal, train, test, penalty) - goal[test]) ** 2).mean())


def _ridge(x: npt.NDArray[np.float32], goal: Floats, train: Any, test: Any, penalty: float) -> Floats:
    known, asked = x[train].astype(np.float64), x[test].astype(np.float64)
    centre, spread = known.mean(0), known.std(0) + 1e-9
    known, asked = (known - centre) / spread, (asked - centre) / spread
    mean = goal[train].mean(0)
    gram = known.T @ known + penalty * len(train) * np.eye(known.shape[1])
    made: Floats = asked @ np.linalg.solve(gram, known.T @ (goal[train] - mean)) + mean
    return made


def _scaled(weights: Floats) -> Floats:
    most = float(np.abs(weights).max())
    return weights * (100.0 / most) if most > 0 else weights
