"""What cannot be done is told before anything runs; what goes wrong on the way costs itself and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_protocols import SMALL, small_protocol

from introspect.backend import FunctionBackend, register
from introspect.errors import ConfigError, MeasureError
from introspect.study import Protocol, ProtocolRun, backend_ref
from introspect.study.controls import control
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedTrainer

MODEL = SimulatedAgent(name="small", report_sharing=1.0).ref


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dose: {shares: [2.0]}", "shares.0"),
        ("dose: {shares: []}", "shares"),
        ("dose: {axes: []}", "axes"),
        ("dose: {examples: [0]}", "examples.0"),
        ("temperature: {points: [-1]}", "points.0"),
        ("temperature: {points: []}", "points"),
        ("trajectory: {shares: [1.0]}", "shares.0"),
        ("grounding: {choices: 0}", "choices"),
        ("placebo: {kinds: []}", "kinds"),
        ("prompts: {variants: []}", "variants"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_with_its_line(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"small.yaml, line 11: .*control '{setting.partition(':')[0]}': {said} "):
        small_protocol(f"controls:\n  - {setting}\n")


def test_an_outsider_that_cannot_be_trained_is_refused_before_anything_runs(tmp_path: Path) -> None:
    register("untrainable", open=lambda ref: FunctionBackend(lambda request: "A", name="untrainable", version="1"))
    asked = small_protocol("controls:\n  - common-sense: {models: ['untrainable:x']}\n")
    assert ProtocolRun(asked, MODEL, tmp_path / "out").protocol == asked
    trained = small_protocol("controls:\n  - privileged: {others: ['untrainable:x']}\n")
    with pytest.raises(ConfigError, match="line 11: control 'privileged': models of provider 'untrainable' cannot be"):
        ProtocolRun(trained, MODEL, tmp_path / "out")


def test_scenario_files_are_named_together_and_told_with_their_line_where_they_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 3: contexts: native_file: is used together with file only"):
        Protocol.from_yaml("protocol: 1\nname: x\ncontexts: {native_file: n.yaml}\n")
    gone = Protocol.from_yaml("protocol: 1\nname: x\ncontexts: {file: gone.yaml}\ndraw: {contexts: file}\n", "x.yaml")
    with pytest.raises(ConfigError, match=r"x.yaml, line 3: contexts: gone.yaml: cannot be read: .*; correct the file"):
        ProtocolRun(gone, MODEL, tmp_path / "out")


def test_a_control_that_cannot_be_scored_says_so_and_the_others_go_on(tmp_path: Path, monkeypatch) -> None:
    def read(*_: object) -> None:
        raise MeasureError("nothing to correlate")

    monkeypatch.setattr(type(control("temperature")), "read", read)
    result = ProtocolRun(small_protocol("controls: [temperature, untuned]\n"), MODEL, tmp_path).run()
    first, second = result.controls
    assert (first.state, first.reason) == ("failed", "what its steps gave cannot be scored: nothing to correlate")
    assert second.state == "done"
    assert (tmp_path / "small" / "result.json").exists()


def test_whatever_a_backend_s_library_raises_costs_its_step_alone(tmp_path: Path, monkeypatch, caplog) -> None:
    train, calls = SimulatedTrainer.train, []

    async def failing(self, *given):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return await train(self, *given)

    monkeypatch.setattr(SimulatedTrainer, "train", failing)
    result = ProtocolRun(small_protocol(), MODEL, tmp_path).run()
    failed = result.steps["seed 0: train fold2"]
    assert (failed.state, failed.why) == ("failed", "RuntimeError: CUDA error: device-side assert triggered")
    assert "native-after" in result.study.arm_names
    assert "Traceback" in caplog.text  # a fault of ours must be found


def test_one_split_alone_is_scored_on_what_it_holds_out(tmp_path: Path) -> None:
    ids = [f"k{i:04d}" for i in range(12)]
    one = small_protocol().changed(report__train__folds=[{"train": ids[:6], "test": ids[6:]}])
    result = ProtocolRun(one, backend_ref("simulated"), tmp_path).run()
    (row,) = [r for r in result.study.arms if r["name"] == "report-trained"]
    assert row["n_scenarios"] == 6
    assert "report-trained, trained half" not in result.study.arm_names


def test_the_small_protocol_s_lines_are_where_these_tests_say() -> None:
    assert SMALL.count("\n") == 9
