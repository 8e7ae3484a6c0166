"""The simulated agent: a model whose truth is known, for testing the whole loop and for power analysis."""

from __future__ import annotations

from introspect.backend.registry import Provider
from introspect.subjects.simulated.agent import SimulatedAgent
from introspect.subjects.simulated.backend import SimulatedBackend
from introspect.subjects.simulated.memory import ContextMemory, Gauge, context_key
from introspect.subjects.simulated.trainer import SimulatedTrainer, fidelity_of

__all__ = [
    "PROVIDER",
    "ContextMemory",
    "Gauge",
    "SimulatedAgent",
    "SimulatedBackend",
    "SimulatedTrainer",
    "context_key",
    "fidelity_of",
]

PROVIDER = Provider(open=SimulatedBackend, trainer=SimulatedTrainer)
