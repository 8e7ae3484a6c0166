"""The numbers of a study: how many choices, reports and gradient steps."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from introspect.backend.training import TrainingSpec
from introspect.decision.generator import Design

__all__ = ["StudyProtocol"]


class StudyProtocol(BaseModel):
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
