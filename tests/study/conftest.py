"""Small complete studies of subjects whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study that has run; copy it to change it."""
    folder = tmp_path_factory.mktemp("finished")
    small_study(folder).run()
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Study]:
    """Makes a small study in a folder of its own (`at` for another)."""
    return lambda at="study", **changes: small_study(tmp_path / at, **changes)
