"""Estimators matched to rules, and the comparison that says which rule choices follow."""

from __future__ import annotations

from introspect.measure.rule_models.common import RuleFit, RulePart
from introspect.measure.rule_models.comparison import KINDS, RuleComparison, compare_rules
from introspect.measure.rule_models.lexicographic import fit_lexicographic
from introspect.measure.rule_models.logits import fit_interaction, fit_linear, prior_scales
from introspect.measure.rule_models.screening import fit_screening

__all__ = [
    "KINDS",
    "RuleComparison",
    "RuleFit",
    "RulePart",
    "compare_rules",
    "fit_interaction",
    "fit_lexicographic",
    "fit_linear",
    "fit_screening",
    "prior_scales",
]
