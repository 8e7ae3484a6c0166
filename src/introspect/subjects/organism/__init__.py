"""Organisms: tiny transformers whose relation between choosing and reporting is known by construction.

They are positive and negative controls of the method. What is found on one says that the method can (or rightly does
not) see something; it is never evidence about language models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from introspect._lazy import lazy_names

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

__getattr__ = lazy_names(__name__, _HOME, "organism")
