"""For testing your own domains and backends: hypothesis strategies and the backend conformance suite."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.testing.conformance import check_backend
    from introspect.testing.strategies import (
        attributes,
        preference_sets,
        preferences,
        replies,
        reply_texts,
        scenario_sets,
        scenarios,
        trial_sets,
        trials,
    )
    from introspect.testing.suite import BackendConformance

__all__ = [
    "BackendConformance",
    "attributes",
    "check_backend",
    "preference_sets",
    "preferences",
    "replies",
    "reply_texts",
    "scenario_sets",
    "scenarios",
    "trial_sets",
    "trials",
]

_WHERE = {
    **dict.fromkeys(__all__, "introspect.testing.strategies"),
    "check_backend": "introspect.testing.conformance",
    "BackendConformance": "introspect.testing.suite",
}


def __getattr__(name: str) -> Any:
    # Hypothesis and pytest are an extra, so they are imported when a strategy or the suite is asked for;
    # `check_backend` does without.
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
