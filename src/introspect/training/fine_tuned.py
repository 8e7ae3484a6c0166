"""FineTuned: what a training gave, and how."""

from __future__ import annotations

from pydantic import ConfigDict, Field, JsonValue

from introspect._checked import Checked
from introspect._notebook import InNotebook, short_repr
from introspect.backend.training import TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.training.canary import Canary
from introspect.training.rate_probe import RateTrial
from introspect.training.verdict import Verdict

__all__ = ["FineTuned"]


class FineTuned(InNotebook, Checked):
    """A tuned model and what is known about how it came about.

    Attributes:
        ref: The tuned model; `open_model(ref)` opens it.
        base: What it was trained from.
        style: Id of the prompt style.
        data: Content hash of the training set.
        spec: How it was trained.
        n_examples: Examples in the training set.
        steps: Gradient steps that the spec makes of them.
        canary: Base and tuned model on the training prompts; None where it was switched off.
        verdict: Whether instilling took, on held-out trials; None where none were given.
        losses: Loss by gradient step, evenly thinned to 200; empty where the trainer does not record it.
        rates: Short trainings that the learning rate was chosen by (``lr="probe"``).
        trajectory: What was seen while training, one row a look, with "step" and "steps".
        warnings: What should be looked at, as sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ref: ModelRef
    base: ModelRef
    style: str
    data: str
    spec: TrainingSpec
    n_examples: int
    steps: int
    canary: Canary | None = None
    verdict: Verdict | None = None
    losses: tuple[float, ...] = Field(default=(), repr=False)
    rates: tuple[RateTrial, ...] = ()
    trajectory: tuple[dict[str, JsonValue], ...] = Field(default=(), repr=False)
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        took = f", {self.verdict.status}" if self.verdict is not None else ""
        return short_repr(self, f"{self.ref}, {self.n_examples:,} examples, {self.steps:,} steps{took}")

    def __str__(self) -> str:
        return repr(self)

    def sentences(self) -> list[str]:
        """What was trained, what came of it, and what should be looked at."""
        lines = [f"{self.ref} was trained from {self.base} on {self.n_examples:,} examples, in {self.steps:,} steps."]
        for part in (self.canary, self.verdict):
            lines += [] if part is None else part.sentences()
        return [*lines, *self.warnings]
