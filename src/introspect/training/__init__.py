"""Fine-tuning and the checks around it."""

from __future__ import annotations

from introspect.training.canary import Canary, run_canary
from introspect.training.checks import (
    TrainingWarning,
    check_answers,
    check_labels,
    check_one_sided,
    check_round_trip,
    contradictions,
)
from introspect.training.examples import Example, choice_examples, report_examples, training_set
from introspect.training.fine_tuned import FineTuned
from introspect.training.fine_tuner import FineTuner
from introspect.training.jobs import StoredJobs
from introspect.training.rate_probe import RateTrial
from introspect.training.recipes import RECIPES, Recipe, recipe_for
from introspect.training.replies import StoredReplies
from introspect.training.verdict import Cause, Verdict, judge
from introspect.training.watching import TrainingWatch

__all__ = [
    "RECIPES",
    "Canary",
    "Cause",
    "Example",
    "FineTuned",
    "FineTuner",
    "RateTrial",
    "Recipe",
    "StoredJobs",
    "StoredReplies",
    "TrainingWarning",
    "TrainingWatch",
    "Verdict",
    "check_answers",
    "check_labels",
    "check_one_sided",
    "check_round_trip",
    "choice_examples",
    "contradictions",
    "judge",
    "recipe_for",
    "report_examples",
    "run_canary",
    "training_set",
]
