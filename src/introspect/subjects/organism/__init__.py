"""Organisms: tiny transformers whose relation between choosing and reporting is known by construction.

They are positive and negative controls of the method. What is found on one says that the method can (or rightly does
not) see something; it is never evidence about language models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from introspect.errors import MissingExtraError

if TYPE_CHECKING:
    from introspect.subjects.organism.backend import OrganismBackend
    from introspect.subjects.organism.config import OrganismConfig
    from introspect.subjects.organism.grow import grow_organism
    from introspect.subjects.organism.native import native_scenarios
    from introspect.subjects.organism.shipped import CONTROLS, SHIPPED, organism_ref
    from introspect.subjects.organism.state import Organism
    from introspect.subjects.organism.trainer import OrganismTrainer

__all__ = [
    "CONTROLS",
    "SHIPPED",
    "Organism",
    "OrganismBackend",
    "OrganismConfig",
    "OrganismTrainer",
    "grow_organism",
    "native_scenarios",
    "organism_ref",
]

_HOME = {
    "CONTROLS": "shipped",
    "SHIPPED": "shipped",
    "Organism": "state",
    "OrganismBackend": "backend",
    "OrganismConfig": "config",
    "OrganismTrainer": "trainer",
    "grow_organism": "grow",
    "native_scenarios": "native",
    "organism_ref": "shipped",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors"):
            raise MissingExtraError(error.name, "organism") from None
        raise
