"""Prompt styles: what a prompt says, in words and back."""

from __future__ import annotations

from introspect.decision.styles.base import PromptStyle, ReportOptions
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.content import content_of_choice, content_of_report, trial_of
from introspect.decision.styles.organism import ORGANISM_WORDS, OrganismStyle, organism_scenarios

__all__ = [
    "ORGANISM_WORDS",
    "ChatStyle",
    "OrganismStyle",
    "PromptStyle",
    "ReportOptions",
    "content_of_choice",
    "content_of_report",
    "organism_scenarios",
    "trial_of",
]
