"""One small finished study of a simulated agent, for figures and pages alike."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from introspect.decision import OrganismStyle, organism_scenarios
from introspect.measure import AccuracyMetric
from introspect.study import Study, StudyProtocol, StudyResult
from introspect.subjects import SimulatedAgent


class Finished(NamedTuple):
    """Where the study lies and what it found."""

    folder: Path
    result: StudyResult


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("shown")
    study = Study(
        SimulatedAgent(name="shown", refusal_rate=0.05, report_fidelity=0.5).ref,
        organism_scenarios(12),
        organism_scenarios(11, prefix="n"),
        OrganismStyle(),
        StudyProtocol(n_instil=24, n_measure=12, n_native=12, n_reports=1),
        folder,
        (0, 1),
        AccuracyMetric(n_boot=50, n_null=49),
    )
    return Finished(folder, study.run())
