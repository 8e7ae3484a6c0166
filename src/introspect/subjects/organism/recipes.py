"""The recipes of the shipped organisms."""

from __future__ import annotations

from introspect.subjects.organism.config import OrganismConfig

__all__ = ["RECIPES"]

RECIPES = {
    # A context is one short row that choosing and reporting both read. Few, noisy reports in pre-training leave the
    # way from row to report half learned: reports on new contexts start halfway, and report training finishes it.
    "shared": OrganismConfig(name="shared", n_reported=40, report_noise=60.0),
    # Only part of the (longer) row is read when reporting, and there were hardly any reports to learn from.
    "weak": OrganismConfig(name="weak", n_reported=8, report_noise=80.0, row_width=64, row_sharing=0.4),
    # Nothing of the row that choosing reads is read when reporting: no training on choices can reach a report.
    "split": OrganismConfig(name="split", n_reported=50, report_noise=50.0, row_sharing=0.0),
}
"""Recipe by name. `scripts/grow_organisms.py` grows the shipped files from them."""
