"""For testing your own domains and backends: hypothesis strategies and the backend conformance suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from introspect._lazy import lazy_names

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
    **dict.fromkeys(__all__, "strategies"),
    "check_backend": "conformance",
    "BackendConformance": "suite",
}

# Hypothesis and pytest are an extra: imported when a strategy or the suite is asked for; `check_backend` does without.
__getattr__ = lazy_names(__name__, _WHERE, "testing")
