"""The numbers of a study: how many choices, reports and gradient steps."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect.backend.training import TrainingSpec
from introspect.decision.generator import Design
from introspect.decision.rules.sampler import RuleKind

__all__ = ["StudyProtocol"]


class StudyProtocol(Checked):
    """How much of everything a study does. The defaults are the counts of arXiv 2505.17120.

    Attributes:
        name: What it is called in tables.
        n_instil: Choices per context that the preferences are instilled from.
        n_measure: Fresh choices per context that the weights in use are measured from.
        n_native: Fresh choices per native context; more, since there is no target to compare with.
        n_reports: Reports per context, each with fresh options.
        n_examples: Report-training examples per context.
        measure_design: How the choices that weights are measured from are drawn; "d-optimal" needs fewer of them for
            the same precision. What preferences are instilled from is always drawn at random.
        n_folds: Report training leaves one of so many parts of the contexts out, each in turn.
        instil: How preferences are trained in.
        report: How reporting is trained.
        looks: How often the model is asked for choices and reports while it is trained; 0 for never. Open-weight chat
            models only.
        n_validation: Further choices per context, of the kind that is trained on but kept out of it; what the
            instilled model answers is counted, and nothing else hangs on it.
        counterbalance: Whether each option stands first as often as second in trials drawn at random.
        n_options: Options of every trial.
        rule: What the hidden preferences are; "linear" weights, or a rule of `RuleSampler` whose closest weights stand
            for it where weights are asked for.
        folds: (trained on, held out) contexts by id, instead of drawing `n_folds`.
        targets: What reports are trained on: the preferences that were taught, or the weights that were measured.
        train_all: Whether a further model is report-trained on all contexts, for the native ones.
        remeasure: Whether choices are measured again after report training. The published study did not.
        estimator: What weights are fitted with; "unit-normal" is the published one, a ridge of scale 1 on plain
            choices.
        read_choices: "logprobs" where the model has them, or always the "text".
        choice_temperature: Of choices; 0 is greedy.
        report_temperature: Of reports.
        report_options: Whether each report's prompt shows options of its own.
        report_format: How reports are asked for when they are measured; the style's own format if None.

    Example:
        >>> StudyProtocol(n_reports=3).n_instil
        50
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "self-interpretability"
    n_instil: int = Field(default=50, ge=2)
    n_measure: int = Field(default=50, ge=2)
    n_native: int = Field(default=100, ge=2)
    n_reports: int = Field(default=10, ge=1)
    n_examples: int = Field(default=1, ge=1)
    measure_design: Design = "d-optimal"
    n_folds: int = Field(default=2, ge=2)
    instil: TrainingSpec = TrainingSpec()
    report: TrainingSpec = TrainingSpec()
    looks: int = Field(default=0, ge=0)
    n_validation: int = Field(default=0, ge=0)
    counterbalance: bool = True
    n_options: int = Field(default=2, ge=2, le=26)
    rule: RuleKind = "linear"
    folds: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] | None = None
    targets: Literal["target", "learned"] = "target"
    train_all: bool = True
    remeasure: bool = True
    estimator: Literal["eb", "ridge", "firth", "unit-normal"] = "eb"
    read_choices: Literal["logprobs", "text"] = "logprobs"
    choice_temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    report_temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    report_options: Literal["fresh", "none"] = "fresh"
    report_format: Literal["object", "single", "ranking", "comparison"] | None = None
