"""The paper's loop on an organism, through OpenAI's interface and without it: the same result."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from introspect.backend import ModelRef, TrainingSpec
from introspect.decision import OrganismStyle, organism_scenarios
from introspect.measure import AccuracyMetric
from introspect.serve import serving
from introspect.study import Study, StudyProtocol
from introspect.subjects.organism import native_scenarios, organism_ref

INSTIL = TrainingSpec(
    epochs=2, batch_size=50, learning_rate=1e-3, schedule="one-cycle", method="full", extra={"row_rate": 30.0}
)
REPORT = TrainingSpec(
    epochs=2,
    batch_size=15,
    learning_rate=3e-3,
    schedule="one-cycle",
    method="full",
    extra={"row_rate": 0.0, "from_block": 1},
)


def study(model: ModelRef, out: Path, n: int) -> Study:
    return Study(
        model=model,
        scenarios=organism_scenarios(n),
        native=native_scenarios(organism_ref("shared"), 4),
        style=OrganismStyle(),
        protocol=StudyProtocol(n_instil=20, n_measure=8, n_native=8, n_reports=1, instil=INSTIL, report=REPORT),
        out=out,
        metric=AccuracyMetric(n_boot=50, n_null=19),
    )


def alike(one: object, other: object, where: str = "") -> None:
    """Equal but for the models' names, and for rounding: a batch of another size is added up in another order."""
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys(), where
        for key in one.keys() - {"model", "models"}:
            alike(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            alike(*pair, f"{where}[{number}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4), f"{where}: {one} and {other}"
    else:
        assert one == other, where


@pytest.mark.parametrize("n", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_through_openais_interface_the_result_is_the_organisms_own(tmp_path: Path, n: int) -> None:
    direct = study(organism_ref("shared"), tmp_path / "direct", n).run()
    with serving(organism_ref("shared"), tmp_path / "served") as url:
        hosted = study(ModelRef(provider="openai", model="shared", location=url), tmp_path / "hosted", n).run()
    alike(direct.to_dict(), hosted.to_dict())
    for name, ref in hosted.seeds[0].models.items():
        if name != "untuned":
            assert ref.provider == "openai"
            assert ref.adapter.startswith("ft:shared:introspect:")
