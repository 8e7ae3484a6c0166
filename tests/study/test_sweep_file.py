"""A sweep is a file; what is wrong in it is told in one line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sweeps import SMALL, small_sweep

from introspect.decision import ScenarioSet, organism_scenarios
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


def _with_contexts(folder: Path, sweep: str) -> Sweep:
    folder.mkdir()
    (folder / "mine.json").write_text(organism_scenarios(4).to_json())
    (folder / "sweep.yaml").write_text(sweep)
    return Sweep.load(folder / "sweep.yaml")


OWN = """\
name: s
protocol: {contexts: {file: mine.json, instilled: 4, native: 0}, draw: {contexts: file}}
models: [simulated]
"""


@pytest.mark.parametrize(
    "text",
    [
        OWN,
        "name: s\nprotocol: {contexts: {instilled: 4, native: 0}}\nmodels: [simulated]\nconditions:\n"
        "  protocol: {contexts: {file: mine.json}, draw: {contexts: file}}\n",
    ],
)
def test_scenario_files_too_count_from_the_sweep_s_folder_wherever_a_worker_is(tmp_path: Path, text: str) -> None:
    sweep = _with_contexts(tmp_path / "here", text)
    (order,) = lanes_of(sweep, "out")[0].orders
    assert order.protocol.contexts.file == str(tmp_path / "here" / "mine.json")


def test_a_study_is_known_by_what_its_scenario_file_says_and_not_by_its_place(tmp_path: Path) -> None:
    def key(sweep: Sweep) -> str:
        return lanes_of(sweep, "out")[0].orders[0].key

    one, other = (_with_contexts(tmp_path / name, OWN) for name in ("one", "other"))
    assert key(one) == key(other)
    before = key(one)
    edited = [s.model_copy(update={"question": "Which one now?"}) for s in organism_scenarios(4)]
    (tmp_path / "one" / "mine.json").write_text(ScenarioSet(edited).to_json())
    assert key(one) != before


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
        ("  instil: {choices: 16}", "  controls: [grounding: {method: edit}]", "line 4: control 'grounding'"),
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
    assert [_share(place, 2, most=2) for place in (0, 1)] == ["4,5", "6,7"]
    assert [_share(place, 0.5, most=0.5) for place in range(4)] == ["4", "4", "5", "5"]
    # Three shares of .3 or two of .4 fill a GPU.
    assert [_share(place, 0.3, most=0.3) for place in range(4)] == ["4", "4", "4", "5"]
    assert [_share(place, 0.4, most=0.4) for place in range(4)] == ["4", "4", "5", "5"]
    # Where some studies of a sweep need more, places are cut for those: no worker gets what another one has.
    assert [_share(place, gpus, most=2) for place, gpus in ((0, 2), (1, 0.5))] == ["4,5", "6"]
    assert _share(0, 0, most=2) is None


def test_shares_of_gpus_that_do_not_fit_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    LocalExecutor(4).check([Resources(gpus=0.4)])
    with pytest.raises(ConfigError, match="5 workers need 3 GPUs and this machine shows 2; lower"):
        LocalExecutor(5).check([Resources(gpus=0.4)])  # five times .4 are two GPUs, but no GPU holds two and a half


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
