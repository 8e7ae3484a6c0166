"""What is decided: attributes, scenarios, preferences, trials, and how prompts put them into words."""

from __future__ import annotations

from introspect.decision.attribute import Attribute
from introspect.decision.catalogue import catalogue
from introspect.decision.generator import TrialGenerator
from introspect.decision.labels import label
from introspect.decision.leakage import LeakageReport, check_leakage
from introspect.decision.preference import Preference
from introspect.decision.preference_set import PreferenceSet
from introspect.decision.prompt import AttributeText, ChatMessage, Prompt, PromptContent
from introspect.decision.reading import PARSER_VERSION, ChoiceReading, ReadingStatus, ReportReading
from introspect.decision.rules import (
    ChoiceRule,
    Criterion,
    Cutoff,
    InteractionRule,
    LexicographicRule,
    LinearRule,
    RuleSampler,
    RuleSet,
    ScreeningRule,
    linear_control,
)
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.scenario import DecisionScenario
from introspect.decision.scenario_set import ScenarioSet
from introspect.decision.styles import ChatStyle, OrganismStyle, PromptStyle, organism_scenarios, trial_of
from introspect.decision.trial import Trial, option_label
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet

__all__ = [
    "PARSER_VERSION",
    "Attribute",
    "AttributeText",
    "ChatMessage",
    "ChatStyle",
    "ChoiceReading",
    "ChoiceRule",
    "Criterion",
    "Cutoff",
    "DecisionScenario",
    "InteractionRule",
    "LeakageReport",
    "LexicographicRule",
    "LinearRule",
    "OrganismStyle",
    "Preference",
    "PreferenceSampler",
    "PreferenceSet",
    "Prompt",
    "PromptContent",
    "PromptStyle",
    "ReadingStatus",
    "ReportReading",
    "RuleSampler",
    "RuleSet",
    "ScenarioSet",
    "ScreeningRule",
    "Trial",
    "TrialBlock",
    "TrialGenerator",
    "TrialSet",
    "catalogue",
    "check_leakage",
    "label",
    "linear_control",
    "option_label",
    "organism_scenarios",
    "trial_of",
]
