"""What one seed draws and produces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from introspect.decision import PreferenceSet, RuleSet, TrialSet
from introspect.decision.rules.base import ChoiceRule
from introspect.measure import ChoiceModel, ChoiceTable, LearnedWeights, ReportTable
from introspect.training import FineTuned

__all__ = ["Draw", "SeedData"]


@dataclass(frozen=True)
class Draw:
    """What is drawn before any model is touched.

    Attributes:
        preferences: The hidden target of each context.
        instil: Labelled trials to train on.
        measure: Fresh labelled trials, shown to every model alike.
        native: Fresh unlabelled trials of the native contexts.
        folds: (trained on, held out) contexts of each report training.
        validation: Further labelled trials of the kind that is trained on, kept out of it.
        rules: The hidden rule of each context, where it is none of weights; `preferences` then are the weights that
            come closest to it in choices.
    """

    preferences: PreferenceSet
    instil: TrialSet
    measure: TrialSet
    native: TrialSet
    folds: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    validation: TrialSet = field(default_factory=TrialSet)
    rules: RuleSet | None = None

    @property
    def taught(self) -> Mapping[str, ChoiceRule]:
        """What labels follow."""
        return self.preferences if self.rules is None else self.rules


@dataclass(frozen=True)
class SeedData:
    """What one seed produced; a step that failed leaves its place empty.

    Models are named "untuned", "instilled", "fold1", "fold2", ..., "all".

    Attributes:
        seed: The seed.
        draw: What was drawn.
        tuned: Trainings by the name of the model that they made.
        choices: Choices on the study's contexts, by model.
        reports: Reports on the study's contexts, by model.
        native_choices: Choices on the native contexts, by model.
        native_reports: Reports on the native contexts, by model.
        weights: Weights fitted to `choices`, by model.
        native_weights: Weights fitted to `native_choices`, by model.
        estimator: What they were fitted with.
    """

    seed: int
    draw: Draw
    tuned: dict[str, FineTuned]
    choices: dict[str, ChoiceTable]
    reports: dict[str, ReportTable]
    native_choices: dict[str, ChoiceTable]
    native_reports: dict[str, ReportTable]
    weights: dict[str, LearnedWeights] = field(default_factory=dict)
    native_weights: dict[str, LearnedWeights] = field(default_factory=dict)
    estimator: ChoiceModel = field(default_factory=ChoiceModel)
