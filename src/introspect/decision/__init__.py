"""What is decided: attributes, scenarios, preferences, trials, and how prompts put them into words."""

from __future__ import annotations

from introspect.decision.attribute import Attribute
from introspect.decision.prompt import AttributeText, ChatMessage, Prompt, PromptContent
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import Trial, option_label
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet

__all__ = [
    "Attribute",
    "AttributeText",
    "ChatMessage",
    "DecisionScenario",
    "Prompt",
    "PromptContent",
    "Trial",
    "TrialBlock",
    "TrialSet",
    "option_label",
]
