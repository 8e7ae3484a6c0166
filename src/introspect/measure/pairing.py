"""Two sets of weights side by side: aligned, normalised, and what had to be left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.moments import Moments
from introspect.measure.report_table import ReportTable

__all__ = ["Pairing", "WeightsLike", "max_scaled", "pair"]

Floats = NDArray[np.float64]

WeightsLike = LearnedWeights | ReportTable | Mapping[str, object]
"""What can be scored: fitted weights, a table of reports, or a mapping scenario_id -> {predictor: weight}."""


@dataclass(frozen=True)
class Pairing:
    """Reports and weights of the contexts that can be compared, each scaled so that its largest magnitude is
    100.

    Attributes:
        ids: Scenario ids, sorted.
        said: One vector of reported weights per context.
        learned: One vector of learned weights per context, predictors in the same order.
        n_asked: Contexts on the reporting side, comparable or not.
        dropped: Reason -> ids of the contexts that were left out for it.
        signed: Whether reports say signs; without, magnitudes are compared.
        predictors: Names of each context's predictors, in the order of the vectors.
    """

    ids: tuple[str, ...]
    said: tuple[Floats, ...]
    learned: tuple[Floats, ...]
    n_asked: int
    dropped: dict[str, tuple[str, ...]] = field(default_factory=dict)
    signed: bool = True
    predictors: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def moments(self) -> Moments:
        """Sums that the correlations and their resamples are computed from."""
        return Moments.of(self.ids, self.said, self.learned)

    def by_width(self) -> list[tuple[Floats, Floats]]:
        """The two sides as arrays [C, P], one pair of arrays per number of predictors."""
        return [(said, learned) for _, said, learned in self.groups()]

    def groups(self) -> list[tuple[NDArray[np.intp], Floats, Floats]]:
        """Contexts with equally many predictors together: their places, and the two sides as arrays [C, P]."""
        widths = np.array([len(vector) for vector in self.said])
        places = [np.flatnonzero(widths == width) for width in np.unique(widths)]
        return [(at, np.stack([self.said[i] for i in at]), np.stack([self.learned[i] for i in at])) for at in places]

    def beside(self, side: WeightsLike) -> list[Floats | None]:
        """A third side's vector for each of the contexts, predictors in the same order, scaled like the others.

        None where it has none that can be compared: missing, incomplete or all zero.
        """
        vectors, _ = _vectors(side)
        found: list[Floats | None] = []
        for name, order in zip(self.ids, self.predictors, strict=True):
            own = vectors.get(name, {})
            vector = np.array([float(own.get(predictor, np.nan)) for predictor in order])
            if not self.signed:
                vector = np.abs(vector)
            found.append(max_scaled(vector) if np.isfinite(vector).all() and vector.any() else None)
        return found

    def take(self, rows: NDArray[np.intp]) -> Pairing:
        """Some of the contexts, by increasing places."""
        return Pairing(
            ids=tuple(self.ids[i] for i in rows),
            said=tuple(self.said[i] for i in rows),
            learned=tuple(self.learned[i] for i in rows),
            n_asked=len(rows),
            signed=self.signed,
            predictors=tuple(self.predictors[i] for i in rows),
        )


def pair(reports: WeightsLike, weights: WeightsLike) -> Pairing:
    """Align what was said with what was learned.

    Contexts that were asked about and cannot be compared are left out *with a reason*, never scored as 0.

    Args:
        reports: What was said; the contexts in it are the ones that were asked about.
        weights: What was learned. Contexts that were not asked about are ignored.

    Raises:
        MeasureError: A scenario's predictors have different names on the two sides.

    Example:
        >>> both = pair({"k1": {"price": -40, "age": 20}}, {"k1": {"price": -2.0, "age": 0.5}})
        >>> both.said[0], both.learned[0]
        (array([-100.,   50.]), array([-100.,   25.]))
    """
    said, problems = _vectors(reports)
    learned, flagged = _vectors(weights)
    signed = all(side.signed for side in (reports, weights) if isinstance(side, ReportTable))
    asked = sorted({*said, *problems})
    kept: list[tuple[str, Floats, Floats]] = []
    dropped: dict[str, list[str]] = {}
    for name in asked:
        reason = problems.get(name) or flagged.get(name)
        if reason is None and name not in learned:
            reason = "no learned weights"
        if reason is None:
            outcome = _compare(name, said[name], learned[name], signed)
            if isinstance(outcome, str):
                reason = outcome
            else:
                kept.append((name, *outcome))
        if reason is not None:
            dropped.setdefault(reason, []).append(name)
    return Pairing(
        ids=tuple(name for name, _, _ in kept),
        said=tuple(a for _, a, _ in kept),
        learned=tuple(b for _, _, b in kept),
        n_asked=len(asked),
        dropped={reason: tuple(names) for reason, names in sorted(dropped.items())},
        signed=signed,
        predictors=tuple(tuple(learned[name]) for name, _, _ in kept),
    )


def max_scaled(vectors: Floats) -> Floats:
    """Rescaled so that the largest magnitude on the last axis is 100; NaN where all are 0.

    Example:
        >>> max_scaled(np.array([[1.0, -2.0], [0.0, 0.0]]))
        array([[  50., -100.],
               [  nan,   nan]])
    """
    with np.errstate(invalid="ignore"):
        scaled: Floats = vectors / np.abs(vectors).max(axis=-1, keepdims=True) * 100.0
    return scaled


def _compare(
    name: str, said: Mapping[str, float], learned: Mapping[str, float], signed: bool
) -> tuple[Floats, Floats] | str:
    unknown = [predictor for predictor in said if predictor not in learned]
    if unknown:
        raise MeasureError(
            f"scenario {name!r}: weights were reported for {unknown}, which the learned weights do not know; "
            f"they have {list(learned)}"
        )
    # The scenario's own order, not a sorted one: the shuffle null must see that, say, first-listed ones are
    # heavier.
    order = list(learned)
    a = np.array([float(said.get(predictor, np.nan)) for predictor in order])
    b = np.array([float(learned[predictor]) for predictor in order])
    if not signed:
        a, b = np.abs(a), np.abs(b)
    if len(order) < 2:
        return "fewer than 2 predictors"
    if not np.isfinite(a).all():
        return "report incomplete"
    if not np.isfinite(b).all():
        return "learned weights not finite"
    if not a.any():
        return "report all zero"
    if not b.any():
        return "learned weights all zero"
    return max_scaled(a), max_scaled(b)


def _vectors(side: WeightsLike) -> tuple[dict[str, Mapping[str, float]], dict[str, str]]:
    """Vectors by scenario, and the reason for each scenario that has none."""
    if isinstance(side, ReportTable):
        means = side.mean()
        return dict(means), {name: "no valid report" for name in side.scenario_ids if name not in means}
    if isinstance(side, LearnedWeights):
        unusable = side.unusable()
        return {name: side.weights(name) for name in side.scenario_ids if name not in unusable}, dict(unusable)
    if not isinstance(side, Mapping):
        raise MeasureError(
            "expected LearnedWeights, a ReportTable or a mapping scenario_id -> {predictor: weight}, "
            f"got {type(side).__name__}"
        )
    vectors: dict[str, Mapping[str, float]] = {}
    for name, entry in side.items():
        inner = getattr(entry, "weights", entry)
        if not isinstance(inner, Mapping):
            raise MeasureError(f"scenario {name!r}: expected {{predictor: weight}}, got {type(entry).__name__}")
        vectors[name] = inner
    return vectors, {}
