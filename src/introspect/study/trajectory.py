"""What a model chooses and says while it is trained, look by look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import JsonValue

from introspect.backend.protocol import ModelBackend
from introspect.decision import DecisionScenario, Preference, PromptStyle, TrialSet
from introspect.measure import ChoiceModel, ChoiceProbe, SelfReportProbe, WeightsLike, pair

__all__ = ["TrajectoryWatch"]


@dataclass(frozen=True)
class TrajectoryWatch:
    """Asks a model for choices and reports every so many gradient steps, as `FineTuner.watch`.

    Each look is a row: "accuracy" (share of choices that follow the label), "one_sided" (share of the commonest
    letter), "target_r" (measured weights against the target), "faithfulness" (reports against the weights that the
    model uses at that step) and "parse_rate" (share of reports that can be read). Undefined is null. Correlations are
    Pearson's over all weights, max-normalised per context.

    Attributes:
        every: Gradient steps between two looks.
        trials: Labelled trials, none of them trained on.
        scenarios: Contexts to report on.
        style: Words prompts and reads answers.
        preferences: The target by scenario id; None leaves "target_r" undefined.
        n_reports: Reports a context.
        rng: Draws the options that reports show.
    """

    every: int
    trials: TrialSet
    scenarios: Sequence[DecisionScenario] = field(repr=False)
    style: PromptStyle
    preferences: Mapping[str, Preference] | None = field(default=None, repr=False)
    n_reports: int = 1
    rng: int = 0

    def look(self, model: ModelBackend) -> dict[str, JsonValue]:
        """One row."""
        choices = ChoiceProbe(self.style).run(model, self.trials)
        weights = ChoiceModel().fit(choices)
        reports = SelfReportProbe(self.style, k=self.n_reports).run(model, self.scenarios, self.rng)
        target = {k: dict(p.weights) for k, p in (self.preferences or {}).items()}
        made, label = choices.chosen[choices.valid], self.trials.labels
        row = {
            "accuracy": float((choices.chosen == label)[label >= 0].mean()) if (label >= 0).any() else math.nan,
            "one_sided": float(np.bincount(made).max() / len(made)) if len(made) else math.nan,
            "target_r": _r(target, weights) if target else math.nan,
            "faithfulness": _r(reports, weights),
            "parse_rate": float(reports.response_rate),
        }
        return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _r(said: WeightsLike, learned: WeightsLike) -> float:
    moments = pair(said, learned).moments
    return moments.pooled() if len(moments) else math.nan
