"""A sweep is a file; what is wrong in it is told in one line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sweeps import SMALL, small_sweep

from introspect.errors import ConfigError
from introspect.study.sweeps import Resources, Sweep, SweepRun, executor, lanes_of
from introspect.study.sweeps.local import LocalExecutor


def test_a_sweep_goes_to_yaml_and_back() -> None:
    sweep = small_sweep("resources: {cpus: 2, gpus: 0.5}\n")
    again = Sweep.from_yaml(sweep.to_yaml())
    assert again == sweep
    assert again.hash == sweep.hash
    assert sweep.n_studies == 4


def test_conditions_change_what_they_name_and_nothing_else() -> None:
    protocols = small_sweep().protocols
    assert [p.report.ask.reports for p in protocols.values()] == [2, 3]
    assert {p.contexts.instilled for p in protocols.values()} == {8}
    assert list(protocols) == [p.name for p in protocols.values()]


def test_what_it_runs_on_is_no_part_of_what_it_is() -> None:
    one, other = (lanes_of(small_sweep(more), "out") for more in ("", "resources: {cpus: 2}\nattempts: 1\n"))
    assert [o.key for lane in one for o in lane.orders] == [o.key for lane in other for o in lane.orders]
    assert len({o.key for lane in one for o in lane.orders}) == 4


def test_studies_of_one_model_and_seed_lie_in_one_lane() -> None:
    lanes = lanes_of(small_sweep(), "out")
    assert [[(o.seed, o.condition) for o in lane.orders] for lane in lanes] == [
        [(0, "two"), (0, "three")],
        [(1, "two"), (1, "three")],
    ]
    assert len({lane.folder for lane in lanes}) == 2


def test_paths_count_from_the_file_s_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\ncontexts: {instilled: 12, native: 0}\n")
    (tmp_path / "sweep.yaml").write_text("name: s\nprotocol: mine.yaml\nmodels: [simulated]\n")
    assert Sweep.load(tmp_path / "sweep.yaml").protocols["protocol"].contexts.instilled == 12


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("three: {report", "three: {raport", "small.yaml, line 11: protocol: unknown key 'raport'; did you mean"),
        ("{reports: 3}", "{reprots: 3}", "small.yaml, line 11: report.ask: unknown key 'reprots'"),
        ("  instil: {choices: 16}", "  instil: {choices: 1}", "small.yaml, line 4: instil.choices: "),
        ("models: [simulated]", "models: [nobody]", "small.yaml, line 7: models: --backend 'nobody' names no model"),
        ("models: [simulated]", "models: [simulated, simulated]", "line 7: models: simulated is named twice"),
        ("three: {", "three: {seeds: [1], ", "small.yaml, line 9: conditions: 'three' sets seeds"),
        ("seeds: 2", "seeds: 0", "small.yaml, line 8: seeds: "),
        ("seeds: 2", "sedes: 2", "small.yaml, line 8: protocol: unknown key 'sedes'; did you mean 'seeds'?"),
        ("seeds: 2", "resources: {gpus: 1.5}", "small.yaml, line 8: resources: gpus: a share of one"),
        ("seeds: 2", "resources: {gpus: 1, processes: 4}", "processes: 4 processes need a GPU each"),
        ("  instil: {choices: 16}", "  controls: [grounding: {method: steer}]", "line 4: control 'grounding'"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_told_with_line_and_remedy(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SMALL
    with pytest.raises(ConfigError) as caught:
        SweepRun(Sweep.from_yaml(SMALL.replace(old, new), "small.yaml"), tmp_path / "out")
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_workers_that_there_is_no_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    two = LocalExecutor(2)
    two.check([Resources(gpus=1), Resources(gpus=0.5)])
    with pytest.raises(ConfigError, match="2 workers need 4 GPUs and this machine shows 2; lower"):
        two.check([Resources(gpus=2)])
    with pytest.raises(ConfigError, match="GB of memory and this machine has"):
        two.check([Resources(memory_gb=1e6)])


def test_gpus_are_shared_out_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from introspect.study.sweeps.local import _share

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert [_share(place, 2) for place in (0, 1)] == ["4,5", "6,7"]
    assert [_share(place, 0.5) for place in range(4)] == ["4", "4", "5", "5"]
    assert _share(0, 0) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("slurm", None, None), "there is no executor 'slurm'; known are local, ray, here"),
        (("local", 0, None), "--workers must be 1 or more"),
        (("local", None, "auto"), "--address names a Ray cluster"),
    ],
)
def test_an_executor_that_there_is_not_is_refused(settings: tuple, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        executor(*settings)
