"""How the choices that weights are measured from are drawn."""

import numpy as np
import pytest
from small_studies import SMALL

from introspect.decision import OrganismStyle, ScenarioSet, TrialGenerator, organism_scenarios
from introspect.errors import ScenarioError
from introspect.store import Store
from introspect.study import StudyProtocol
from introspect.study.stages import Draw, Stages
from introspect.study.watch import SilentWatcher
from introspect.subjects import SimulatedAgent


def drawn(folder, design: str) -> Draw:
    protocol = SMALL.model_copy(update={"measure_design": design})
    with Store.open(folder / "study.db") as store:
        stages = Stages(
            store=store,
            folder=folder,
            model=SimulatedAgent(name="small").ref,
            scenarios=ScenarioSet(organism_scenarios(12)),
            native=ScenarioSet(organism_scenarios(5, prefix="n")),
            protocol=protocol,
            style=OrganismStyle(),
            watcher=SilentWatcher(),
        )
        return stages._draw(3)


@pytest.mark.parametrize("design", ["random", "d-optimal"])
def test_no_pair_is_both_instilled_and_measured_from(tmp_path, design):
    found = drawn(tmp_path, design)
    instilled, measured = (
        {(scenario.id, frozenset(trial.values)) for scenario, trial in trials}
        for trials in (found.instil, found.measure)
    )
    assert len(measured) == 12 * SMALL.n_measure
    assert not instilled & measured


def test_the_design_changes_what_is_measured_from_and_never_what_is_instilled(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    random, chosen = (drawn(f, design) for f, design in zip(folders, ("random", "d-optimal"), strict=True))
    assert random.instil == chosen.instil
    assert random.measure != chosen.measure
    assert random.native != chosen.native
    x = chosen.native.differences(chosen.native.blocks[0])
    assert np.abs(x).mean() > 1.2 * np.abs(random.native.differences(random.native.blocks[0])).mean()


def test_measuring_is_d_optimal_by_default_and_bald_is_not_a_static_design():
    assert StudyProtocol().measure_design == "d-optimal"
    with pytest.raises(ScenarioError, match="AdaptiveProbe"):
        TrialGenerator(design="bald")
