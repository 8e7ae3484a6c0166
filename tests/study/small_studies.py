"""Small complete studies of subjects whose truth is known."""

from __future__ import annotations

from pathlib import Path

from introspect.decision import OrganismStyle, organism_scenarios
from introspect.measure import AccuracyMetric
from introspect.study import Study, StudyProtocol
from introspect.subjects import SimulatedAgent

SMALL = StudyProtocol(n_instil=24, n_measure=12, n_native=12, n_reports=2)


def small_study(out: Path, **changes) -> Study:
    """Twelve contexts, eleven native ones, an agent whose report training reaches all contexts."""
    settings = {
        "model": SimulatedAgent(name="small", report_sharing=1.0).ref,
        "scenarios": organism_scenarios(12),
        "native": organism_scenarios(11, prefix="n"),
        "style": OrganismStyle(),
        "protocol": SMALL,
        "out": out,
        "metric": AccuracyMetric(n_boot=100, n_null=99),
    }
    return Study(**(settings | changes))
