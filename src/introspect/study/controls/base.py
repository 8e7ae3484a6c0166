"""What a control is: further steps of a study, a table, and a sentence that says what the table means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import JsonValue

from introspect.backend.wire import ModelRef
from introspect.measure import (
    AccuracyMetric,
    ChoiceTable,
    LearnedWeights,
    ReportTable,
    Rise,
    SelfReportProbe,
    WeightsLike,
)
from introspect.study.graph import Node
from introspect.study.protocols.compiling import ORGANISMS
from introspect.study.protocols.sections import Section
from introspect.study.seed_data import SeedData
from introspect.study.stages import Stages
from introspect.training import FineTuned

__all__ = ["Control", "ControlContext", "ControlResult", "Reading", "plain", "wordless"]

Row = dict[str, JsonValue]


@dataclass(frozen=True)
class Reading:
    """What a control found: its table, and what it means."""

    rows: tuple[Row, ...]
    sentence: str
    verdict: str = ""


@dataclass(frozen=True)
class ControlResult:
    """A control of one study.

    Attributes:
        word: The control.
        question: What it asks.
        state: "done", "not applicable", or "failed".
        reason: Why it is not done.
        rows: Its table, one condition a row.
        sentence: What it means, in one sentence.
        verdict: The same in a word, where there is one.
        seed: The seed that it was run on.
    """

    word: str
    question: str
    state: Literal["done", "not applicable", "failed"]
    reason: str = ""
    rows: tuple[Row, ...] = ()
    sentence: str = ""
    verdict: str = ""
    seed: int = 0

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON."""
        return {
            "word": self.word, "question": self.question, "state": self.state, "reason": self.reason,
            "rows": list(self.rows), "sentence": self.sentence, "verdict": self.verdict, "seed": self.seed,
        }  # fmt: skip

    def sentences(self) -> list[str]:
        """The control in words: what became of it, its table, and what it means."""
        if self.state != "done":
            return [f"{self.word}: {self.state}: {self.reason}."]
        lines = [f"{self.word}: {self.question}"]
        for row in self.rows:
            r, low, high = (row.get(k) for k in ("r", "ci_low", "ci_high"))
            span = f" [{low:+.2f}, {high:+.2f}]" if isinstance(low, float) and isinstance(high, float) else ""
            why = f": {row['why']}" if row.get("why") else ""
            shown = f"r {r:+.2f}{span}" if isinstance(r, float) else str(row.get("note", f"r undefined{why}"))
            coverage = row.get("coverage")
            if isinstance(coverage, float) and coverage < 1:
                shown += f"; {coverage:.0%} of the contexts could be scored"
            lines.append(f"    {row['condition']!s:<56}{shown}")
        return [*lines, f"    {self.sentence}"]


@dataclass(frozen=True)
class ControlContext:
    """What a control is run with.

    Attributes:
        stages: Asks and trains, each once.
        seed: The seed.
        metric: Scores.
        options: The control's own settings.
        core: Results of the study's own steps, by name.
        data: The same, with weights fitted.
    """

    stages: Stages
    seed: int
    metric: AccuracyMetric
    options: Any
    core: Mapping[str, Any] = field(default_factory=dict)
    data: SeedData | None = None

    @property
    def model(self) -> ModelRef:
        """The untuned model."""
        return self.stages.model

    @property
    def folds(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """(trained on, held out) contexts."""
        return self.seed_data.draw.folds

    @property
    def seed_data(self) -> SeedData:
        """The study's own results."""
        assert self.data is not None
        return self.data

    @property
    def weights(self) -> LearnedWeights:
        """Weights of the instilled model, measured before report training."""
        return self.seed_data.weights["instilled"]

    def reports_of(
        self, name: str, training: str, ids: Sequence[str] | None = None, probe: SelfReportProbe | None = None
    ) -> Node:
        """The step "{name}: reports": what the model that a training made says of some contexts (None: of all)."""

        def ask(got: Mapping[str, Any]) -> ReportTable:
            every = self.stages.scenarios
            contexts = every if ids is None else [every.by_id(i) for i in ids]
            return self.stages.reports(self.seed, name, got[training].ref, contexts, probe=probe)

        return Node(f"{name}: reports", (training,), ask)

    def choices_of(self, name: str, training: str) -> Node:
        """The step "{name}: choices": what the model that a training made chooses in the measuring trials."""

        def ask(got: Mapping[str, Any]) -> ChoiceTable:
            return self.stages.choices(self.seed, name, got[training].ref, got["draw"].measure)

        return Node(f"{name}: choices", (training, "draw"), ask)

    def fold_training(self, name: str, training: str, k: int) -> Node:
        """The step "train {name}": the report training of fold k, of the model that a training made."""

        def train(got: Mapping[str, Any]) -> FineTuned:
            ids, targets = self.folds[k - 1][0], got["draw"].preferences
            return self.stages.train_reports(self.seed, name, got[training].ref, ids, targets, f"fold{k}")

        return Node(f"train {name}", (training, "draw"), train)

    def held_out(self, got: Mapping[str, Any], name: str) -> ReportTable:
        """Reports of the models named "{name}1", "{name}2", ..., each on the contexts that were kept from it."""
        tables = [got[f"{name}{k}: reports"].select(test) for k, (_, test) in enumerate(self.folds, 1)]
        return ReportTable.concat(tables)

    def row(self, condition: str, reports: WeightsLike, weights: WeightsLike | None = None, **more: Any) -> Row:
        """A row of a table: r, its interval, its null's p, coverage, and why r is undefined where it is."""
        a = self.metric.score(reports, self.weights if weights is None else weights, rng=self.seed)
        return {
            "condition": condition,
            "r": plain(a.pooled_r),
            "ci_low": plain(a.pooled_interval.low),
            "ci_high": plain(a.pooled_interval.high),
            "null_p": plain(a.p),
            "null_high": plain(a.shuffle_quantiles[2]),
            "n_contexts": a.n_contexts,
            "coverage": plain(a.coverage),
            **({"why": a.reason("pooled_r")} if math.isnan(a.pooled_r) else {}),
            **more,
        }

    def rise(self, before: WeightsLike, after: WeightsLike, weights: WeightsLike | None = None) -> Rise:
        """The paired rise from one set of reports to another."""
        return self.metric.compare(before, after, self.weights if weights is None else weights, rng=self.seed)


class Control(Protocol):
    """A control: one word in a protocol, one module.

    Attributes:
        word: Its word.
        question: What it asks.
        Options: Its settings.
    """

    word: str
    question: str
    Options: type[Section]

    def unfit(self, model: ModelRef, options: Any) -> str:
        """Why it means nothing for this model; "" where it does."""
        ...

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Its steps; they may need the study's own."""
        ...

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """The table and its meaning.

        Raises:
            KeyError: A step that it needs has failed.
        """
        ...


def wordless(model: ModelRef) -> bool:
    """Whether a model reads the organisms' small language, and not words.

    Example:
        >>> wordless(ModelRef(provider="organism", model="shared"))
        True
    """
    return model.provider in ORGANISMS


def plain(value: float) -> float | None:
    """A number, or None where it is undefined."""
    return float(value) if math.isfinite(value) else None


def rise_fields(rise: Rise) -> dict[str, Any]:
    """A rise as fields of a row."""
    return {"rise": plain(rise.rise), "rise_low": plain(rise.interval.low), "rise_high": plain(rise.interval.high)}


def shown(value: object, form: str = "+.2f") -> str:
    """A number, or "undefined"."""
    return format(value, form) if isinstance(value, float) and math.isfinite(value) else "undefined"
