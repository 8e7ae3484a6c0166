"""A recipe that grows in a second."""

from __future__ import annotations

from introspect.subjects.organism import OrganismConfig

TINY = OrganismConfig(
    name="tiny", n_native=20, n_reported=5, steps=40, width=16, layers=2, heads=2, row_width=8, batch_size=64, n_first=4
)
