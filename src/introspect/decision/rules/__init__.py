"""Ways of choosing that are not one weight per attribute, and the linear preference that stands in for each."""

from __future__ import annotations

from introspect.decision.rules.base import ChoiceRule, LinearRule, agreement
from introspect.decision.rules.control import linear_control
from introspect.decision.rules.interaction import InteractionRule
from introspect.decision.rules.lexicographic import Criterion, LexicographicRule
from introspect.decision.rules.rule_set import RuleSet
from introspect.decision.rules.sampler import RuleSampler
from introspect.decision.rules.screening import Cutoff, ScreeningRule

__all__ = [
    "ChoiceRule",
    "Criterion",
    "Cutoff",
    "InteractionRule",
    "LexicographicRule",
    "LinearRule",
    "RuleSampler",
    "RuleSet",
    "ScreeningRule",
    "agreement",
    "linear_control",
]
