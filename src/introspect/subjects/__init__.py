"""Models that we make ourselves and know the truth of: the simulated agent and the organisms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from introspect._lazy import lazy_names

if TYPE_CHECKING:
    from introspect.subjects.organism import grow_organism, native_scenarios, organism_ref
    from introspect.subjects.simulated import SimulatedAgent

__all__ = ["SimulatedAgent", "grow_organism", "native_scenarios", "organism_ref"]

_HOME = {
    "SimulatedAgent": "simulated",
    "grow_organism": "organism",
    "native_scenarios": "organism",
    "organism_ref": "organism",
}

# Organisms need torch, the simulated agent does not: each is imported when it is asked for.
__getattr__ = lazy_names(__name__, _HOME)
