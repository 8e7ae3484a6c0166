"""What a simulated agent takes from training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from introspect.decision.prompt import PromptContent
from introspect.subjects.simulated.agent import SimulatedAgent
from introspect.subjects.simulated.memory import ContextMemory, Gauge, encode, shown_gauge

__all__ = ["ChoiceLesson", "ReportLesson", "fit_choices", "told_rightly"]


@dataclass(frozen=True)
class ChoiceLesson:
    """A choice prompt and the option (index) that its answer takes."""

    content: PromptContent
    chosen: int


@dataclass(frozen=True)
class ReportLesson:
    """A report prompt and what its answer gives: weights, or only how heavily each predictor weighs."""

    content: PromptContent
    told: Mapping[str, float]

    @property
    def signed(self) -> bool:
        """Whether `told` are weights, and not magnitudes read from an order."""
        return self.content.report_format in ("object", "single")


def fit_choices(lessons: Sequence[ChoiceLesson], memory: ContextMemory | None) -> ContextMemory:
    """The memory of a context after its choice examples: least squares of +-1 labels on differences.

    Args:
        lessons: Choice examples of one context.
        memory: What is held about it so far; its ranges stay, its weights are replaced.
    """
    before = memory or ContextMemory()
    known = before.model_copy(update={"gauges": {**_seen_gauges(lessons), **before.gauges}})
    predictors: dict[str, int] = {}
    coded = [(encode(lesson.content, known), lesson.chosen) for lesson in lessons]
    for options, _ in coded:
        for option in options:
            for predictor in option:
                predictors.setdefault(predictor, len(predictors))
    rows, labels = [], []
    for options, chosen in coded:
        vectors = np.zeros((len(options), len(predictors)))
        for k, option in enumerate(options):
            for predictor, number in option.items():
                vectors[k, predictors[predictor]] = number
        for other in range(len(options)):
            if other != chosen:
                first, second = min(chosen, other), max(chosen, other)
                rows.append(np.append(vectors[first] - vectors[second], 1.0))
                labels.append(1.0 if first == chosen else -1.0)
    solution = np.linalg.lstsq(np.array(rows), np.array(labels), rcond=None)[0][:-1]
    largest = float(np.max(np.abs(solution), initial=0.0))
    # Rounded, so that the identity of the tuned agent does not hang on the last bits of a linear algebra
    # library.
    weights = {p: round(100.0 * float(solution[k]) / largest, 4) if largest else 0.0 for p, k in predictors.items()}
    return known.model_copy(update={"weights": {**before.weights, **weights}})


def _seen_gauges(lessons: Sequence[ChoiceLesson]) -> dict[str, Gauge]:
    values: dict[str, list[float]] = {}
    for lesson in lessons:
        for column, attribute in enumerate(lesson.content.attributes):
            if shown_gauge(lesson.content, attribute) is None:
                seen = values.setdefault(attribute.name, [])
                seen += [v for o in lesson.content.options or () if not isinstance(v := o[column], str)]
    gauges = {}
    for name, seen in values.items():
        if seen:
            # n uniform draws leave a gap of (max - min) / (n - 1), on average, beyond each extreme.
            gap = (max(seen) - min(seen)) / (len(seen) - 1)
            gauges[name] = Gauge(low=round(min(seen) - gap, 6), high=round(max(seen) + gap, 6))
    return gauges


def told_rightly(agent: SimulatedAgent, reports: Mapping[str, Sequence[ReportLesson]]) -> float:
    """How well told weights agree with the weights that the agent uses: a correlation, averaged over
    contexts.

    Of reports that give an order, magnitudes are compared. A context in which there is no correlation (a
    single weight, equal weights) does not count; 0 where none does.
    """
    found = []
    for lessons in reports.values():
        told: dict[str, list[float]] = {}
        own: dict[str, float] = {}
        for lesson in lessons:
            for predictor, weight in agent.own_weights(lesson.content).items():
                own[predictor] = weight if lesson.signed else abs(weight)
                told.setdefault(predictor, []).append(lesson.told[predictor])
        said = np.array([np.mean(weights) for weights in told.values()])
        used = np.array([own[predictor] for predictor in told])
        if len(said) > 1 and np.ptp(said) > 0 and np.ptp(used) > 0:
            found.append(float(np.corrcoef(said, used)[0, 1]))
    return float(np.mean(found)) if found else 0.0
