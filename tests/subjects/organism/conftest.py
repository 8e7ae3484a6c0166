"""Tiny organisms, grown in a second; what they know is little, but they speak and learn like the shipped ones."""

from __future__ import annotations

import pytest
from organism_recipes import TINY

from introspect.backend import ModelRef
from introspect.subjects.organism import Organism, grow_organism, organism_ref


@pytest.fixture(scope="session")
def tiny() -> Organism:
    """One row per context for choosing and reporting."""
    return grow_organism(TINY)


@pytest.fixture(scope="session")
def tiny_ref(tiny: Organism, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    path = tmp_path_factory.mktemp("organism") / "tiny.safetensors"
    tiny.save(path)
    return organism_ref(str(path))


@pytest.fixture(scope="session")
def torn_ref(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """Separate rows for choosing and reporting."""
    path = tmp_path_factory.mktemp("organism") / "torn.safetensors"
    grow_organism(TINY.model_copy(update={"name": "torn", "row_sharing": 0.0})).save(path)
    return organism_ref(str(path))
