"""The paper's loop on an organism, through OpenAI's interface and without it: the same result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from openai_contract import Contract

from introspect.backend import ModelRef, TrainingSpec
from introspect.decision import OrganismStyle, organism_scenarios
from introspect.measure import AccuracyMetric
from introspect.serve import serving
from introspect.study import Study, StudyProtocol, StudyResult
from introspect.subjects.organism import backend as organism_backend
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


def both(folder: Path, n: int) -> tuple[StudyResult, StudyResult]:
    direct = study(organism_ref("shared"), folder / "direct", n).run()
    with serving(organism_ref("shared"), folder / "served") as url:
        hosted = study(ModelRef(provider="openai", model="shared", location=url), folder / "hosted", n).run()
    for name, ref in hosted.seeds[0].models.items():
        if name != "untuned":
            assert ref.provider == "openai"
            assert ref.adapter.startswith("ft:shared:introspect:")
    return direct, hosted


def told(value: Any) -> Any:
    """All that a result says but for the models' names."""
    if isinstance(value, dict):
        return {key: told(each) for key, each in value.items() if key not in ("model", "models")}
    return [told(each) for each in value] if isinstance(value, list | tuple) else value


def test_through_openais_interface_the_result_is_the_organisms_own_to_the_last_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_client: Contract
) -> None:
    """And every request and reply on the way is what OpenAI's description says."""
    # One prompt at a time on both sides: a batch of another size is added up in another order, which is no matter of
    # the interface.
    monkeypatch.setattr(organism_backend, "_CHUNK", 1)
    direct, hosted = both(tmp_path, 4)
    assert told(direct.to_dict()) == told(hosted.to_dict())
    assert {(method, path) for method, path, _ in every_client.seen} >= {
        ("POST", "/chat/completions"),
        ("POST", "/files"),
        ("POST", "/fine_tuning/jobs"),
        ("GET", "/fine_tuning/jobs/{fine_tuning_job_id}"),
        ("GET", "/fine_tuning/jobs/{fine_tuning_job_id}/events"),
    }


@pytest.mark.slow
def test_in_batches_the_result_is_the_same_but_for_rounding(tmp_path: Path) -> None:
    direct, hosted = both(tmp_path, 30)
    alike(told(direct.to_dict()), told(hosted.to_dict()))


def alike(one: object, other: object, where: str = "") -> None:
    """Equal but for rounding."""
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert one.keys() == other.keys(), where
        for key in one:
            alike(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            alike(*pair, f"{where}[{number}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-4), f"{where}: {one} and {other}"
    else:
        assert one == other, where
