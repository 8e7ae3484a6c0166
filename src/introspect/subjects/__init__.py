"""Models that we make ourselves and know the truth of: the simulated agent and the organisms."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.subjects.organism import grow_organism, native_scenarios, organism_ref
    from introspect.subjects.simulated import SimulatedAgent

__all__ = ["SimulatedAgent", "grow_organism", "native_scenarios", "organism_ref"]

_HOME = {
    "SimulatedAgent": "introspect.subjects.simulated",
    "grow_organism": "introspect.subjects.organism",
    "native_scenarios": "introspect.subjects.organism",
    "organism_ref": "introspect.subjects.organism",
}


def __getattr__(name: str) -> Any:
    # Organisms need torch, the simulated agent does not: each is imported when it is asked for.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
