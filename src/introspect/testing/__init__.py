"""For testing your own domains and backends: hypothesis strategies and the backend conformance suite."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.testing.conformance import check_backend
    from introspect.testing.strategies import attributes, preferences, scenario_sets, scenarios, trial_sets

__all__ = ["attributes", "check_backend", "preferences", "scenario_sets", "scenarios", "trial_sets"]

_WHERE = {
    **dict.fromkeys(__all__, "introspect.testing.strategies"),
    "check_backend": "introspect.testing.conformance",
}


def __getattr__(name: str) -> Any:
    # Hypothesis is an extra, so it is imported when a strategy is asked for; the conformance suite does without.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
