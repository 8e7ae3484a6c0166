"""Gates flag what makes figures meaningless, say so in a sentence, and drop nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_studies import SMALL, small_study

from introspect.study import SeedResult, StudyResult
from introspect.subjects import SimulatedAgent

ENOUGH = SMALL.model_copy(update={"n_instil": 50, "n_measure": 30})


def ran(folder: Path, **parameters) -> tuple[StudyResult, SeedResult]:
    result = small_study(folder, model=SimulatedAgent(name="gated", **parameters).ref, protocol=ENOUGH).run()
    return result, result.seeds[0]


def failing(seed: SeedResult) -> set[str]:
    return {gate.name for gate in seed.gates if not gate.passed}


def test_a_sound_model_passes_all_gates(tmp_path: Path) -> None:
    result, seed = ran(tmp_path, scale=20.0)
    assert failing(seed) == set()
    assert "All gates pass." in result.sentences()
    # An untuned model may well be one-sided: nobody taught it anything.
    assert not any("untuned" in gate.name for gate in seed.gates)


def test_a_one_sided_model_is_flagged_and_its_rows_stay(tmp_path: Path) -> None:
    result, seed = ran(tmp_path, side_bias=40.0)
    sided = {gate.name: gate for gate in seed.gates if gate.name.startswith("both sides chosen")}
    assert set(sided) == {f"both sides chosen: {name}" for name in ("instilled", "fold1", "fold2")}
    assert not any(gate.passed for gate in sided.values())
    assert sided["both sides chosen: instilled"].value > 0.95
    told = [line for line in result.sentences() if line.startswith("Seed 0:") and "same letter" in line]
    assert len(told) == 3
    assert "All gates pass." not in result.sentences()
    for arm in seed.arms.values():
        # Asked about all of them, and every one that could be scored is.
        assert arm.accuracy.n_asked == (11 if arm.name.startswith("native") else 12)
        assert len(arm.said) == arm.accuracy.n_contexts


def test_instilling_that_did_not_take_is_flagged(tmp_path: Path) -> None:
    result, seed = ran(tmp_path, lapse=0.9)
    assert {"instilled", "learned like target"} <= failing(seed)
    assert any("instilling did not take" in line for line in result.sentences())
    assert seed.arms["report-trained"].accuracy.n_contexts == 12


def test_reports_that_do_not_parse_are_flagged(tmp_path: Path) -> None:
    result, seed = ran(tmp_path, scale=20.0, invalid_rate=0.6)
    arm = seed.arms["instilled"].accuracy
    assert arm.coverage < 0.9
    assert arm.n_asked == 12
    assert "reports parse: instilled" in failing(seed)
    assert any("'instilled'" in line and "usable report" in line for line in result.sentences())


@pytest.mark.filterwarnings("ignore::introspect.training.TrainingWarning")
def test_a_model_that_refuses_everything_gives_a_result_of_undefined_figures(tmp_path: Path) -> None:
    result, seed = ran(tmp_path, refusal_rate=1.0)
    text = json.dumps(result.to_dict(), allow_nan=False)
    for row in json.loads(text)["arms"]:
        assert row["pooled_r"] is None
        assert row["reasons"]["pooled_r"]
        assert row["coverage"] == 0.0
    assert seed.arms["instilled"].choice_accuracy == 0.0  # a model that refuses does not follow the target
    assert {"instilled", "learned like target", "both sides chosen: instilled", "reports parse: instilled"} <= failing(
        seed
    )
    assert not any("nan" in line.lower().split() for line in result.sentences())


def test_a_gate_s_value_and_bound_decide_it(tmp_path: Path) -> None:
    _, seed = ran(tmp_path, lapse=0.5)
    at_most = ("both sides", "report training keeps")
    for gate in seed.gates:
        holds = gate.value <= gate.bound if gate.name.startswith(at_most) else gate.value >= gate.bound
        assert gate.passed == holds
        row = gate.to_dict()
        assert json.loads(json.dumps(row, allow_nan=False)) == row
        assert set(row) == {"name", "passed", "value", "bound", "sentence"}
