"""To other people's tools: probes as Inspect tasks and their logs read back, and what nnsight needs of a tuned model.

Inspect models as backends are the provider ``inspect`` (`introspect.backend.inspect_model`).
"""

from __future__ import annotations

from introspect.bridges.inspect_task import InspectLog, choice_task, report_task
from introspect.bridges.white_box import RenderedPrompt, export_white_box

__all__ = ["InspectLog", "RenderedPrompt", "choice_task", "export_white_box", "report_task"]
