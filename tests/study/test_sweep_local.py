"""A sweep runs each step once, whoever dies meanwhile, and gathers everything in one store."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from small_sweeps import findings, finished, small_sweep

from introspect.errors import BackendError, ConfigError, StoreError
from introspect.store import Store
from introspect.study.sweeps import SweepResult, SweepRun, executor, read_sweep, worker
from introspect.study.sweeps.lanes import lanes_of
from introspect.study.sweeps.local import LocalExecutor
from introspect.study.sweeps.worker import run_order
from introspect.subjects.simulated import SimulatedTrainer


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    """The sweep in this process, one study after another."""
    folder = tmp_path_factory.mktemp("alone")
    return SweepRun(small_sweep("gather: replies\n"), folder).run(executor("here"))


class KillsTheFirst(LocalExecutor):
    """The first worker is killed as soon as it has its study."""

    killed = False

    def submit(self, ticket, order) -> None:
        super().submit(ticket, order)
        if not self.killed:
            self.killed = True
            self._workers[0].process.kill()


def test_a_killed_worker_s_study_is_begun_again_and_results_are_those_of_one_process(
    tmp_path: Path, alone: SweepResult
) -> None:
    result = SweepRun(small_sweep(), tmp_path).run(KillsTheFirst(2))
    assert list(result.lost) == ["simulated, seed 0, two"]
    assert "SIGKILL" in result.lost["simulated, seed 0, two"][0]
    assert not result.failed
    assert findings(result) == findings(alone)
    assert len(findings(result)) == 4
    assert finished(tmp_path) == finished(alone.folder)
    assert set(finished(tmp_path).values()) == {1}
    assert {told["process"] for told in result.studies.values()}.isdisjoint(
        t["process"] for t in alone.studies.values()
    )
    assert any("begun again: simulated, seed 0, two: its worker" in line for line in result.sentences())


def test_a_sweep_run_again_runs_what_is_missing_and_no_more(tmp_path: Path, alone: SweepResult) -> None:
    shutil.copytree(alone.folder, tmp_path, dirs_exist_ok=True)
    before = finished(tmp_path)
    ended: list[str] = []
    again = SweepRun(small_sweep(), tmp_path).run(executor("here"), lambda title, state, n: ended.append(title))
    assert ended == []
    assert len(again.found) == 4
    assert findings(again) == findings(alone)
    more = small_sweep("  four: {report: {ask: {reports: 4}}}\n")
    third = SweepRun(more, tmp_path).run(executor("here"), lambda title, state, n: ended.append(title))
    assert ended == ["simulated, seed 0, four", "simulated, seed 1, four"]
    assert len(third.studies) == 6
    new = finished(tmp_path) - before
    assert set(finished(tmp_path).values()) == {1}
    # Of each lane four tables of reports: no choice, no training.
    assert len(new) == 2 * 4


def test_everything_lies_in_one_store(alone: SweepResult) -> None:
    result, folder = alone, alone.folder
    lanes = sorted((folder / "lanes").glob("*/study.db"))
    with Store.open(folder / "sweep.db", create=False) as whole:
        studies = [step for step in whole.steps() if step.name.startswith("study ")]
        steps = {step.key for step in whole.steps()} - {step.key for step in studies}
        assert len(studies) == 4
        n_replies = 0
        for lane in lanes:
            with Store.open(lane, create=False) as store:
                steps -= {step.key for step in store.steps()}
                assert all(
                    whole.get_blob(step.result) for step in store.steps() if str(step.result).startswith("sha256:")
                )
                n_replies += store.n_replies()
        assert not steps
        assert whole.n_replies() == n_replies > 0
    rows = list(csv.DictReader(io.StringIO((folder / "arms.csv").read_text())))
    assert len(rows) == len(result.rows)
    assert {(row["seed"], row["condition"]) for row in rows} == {(s, c) for s in "01" for c in ("two", "three")}
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["done"] == 4


def test_a_study_that_fails_leaves_the_others_and_is_tried_again(tmp_path: Path, monkeypatch) -> None:
    train, calls = SimulatedTrainer.train, []

    async def failing(self, base, data, spec, jobs):
        calls.append(1)
        if len(calls) == 1:
            raise BackendError("the machine is on fire")
        return await train(self, base, data, spec, jobs)

    with monkeypatch.context() as patch:
        patch.setattr(SimulatedTrainer, "train", failing)
        result = SweepRun(small_sweep(), tmp_path).run(executor("here"))
    assert result.failed == {"simulated, seed 0, two": "incomplete: seed 0: train instilled: the machine is on fire"}
    assert len(result.studies) == 3
    state = read_sweep(tmp_path)
    assert sorted(state.states.values()) == ["done", "done", "done", "failed"]
    assert any("the machine is on fire" in line for line in state.sentences())
    mended = SweepRun(small_sweep(), tmp_path).run(executor("here"))
    assert len(mended.studies) == 4
    assert not mended.failed
    assert set(finished(tmp_path).values()) == {1}


def test_a_worker_that_dies_every_time_is_given_up(tmp_path: Path) -> None:
    class KillsAll(LocalExecutor):
        def submit(self, ticket, order) -> None:
            super().submit(ticket, order)
            self._workers[0].process.kill()

    one = small_sweep("attempts: 2\n").model_copy(update={"seeds": (0,), "conditions": {"two": {}}})
    result = SweepRun(one, tmp_path).run(KillsAll(1))
    (why,) = result.failed.values()
    assert why.startswith("given up after 2 attempts: its worker")


def test_a_worker_that_sees_another_folder_or_version_refuses(tmp_path: Path) -> None:
    order = lanes_of(small_sweep(), tmp_path)[0].orders[0]
    told = json.loads(run_order(order.model_dump_json()))
    assert told["state"] == "failed"
    assert "is not the folder that the sweep was begun in" in told["reason"]
    other = order.model_copy(update={"introspect": "0.0.0"})
    assert "install the same version on all nodes" in json.loads(run_order(other.model_dump_json()))["reason"]
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_no_json_fails_its_study_and_not_the_worker(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(worker, "_told", lambda found: {"result": float("nan"), "steps": []})
    one = small_sweep().model_copy(update={"seeds": (0,), "conditions": {"two": {}}})
    (why,) = SweepRun(one, tmp_path).run(executor("here")).failed.values()
    assert "not JSON compliant" in why


def test_a_study_is_told_of_its_server_and_processes_and_nobody_else(tmp_path: Path, monkeypatch) -> None:
    seen = []

    def run(self, wait: float) -> None:
        seen.append([os.environ.get(name) for name in NAMES])
        raise BackendError("seen enough")

    monkeypatch.setenv("INTROSPECT_PROCESSES", "3")
    monkeypatch.setattr(worker.ProtocolRun, "run", run)
    needs = "resources: {vllm: 'http://127.0.0.1:8000/v1', processes: 2}\n"
    one = small_sweep(needs).model_copy(update={"seeds": (0,), "conditions": {"two": {}}})
    (order,) = lanes_of(one, tmp_path)[0].orders
    (tmp_path / "sweep.json").write_text(json.dumps({"hash": order.sweep}))
    run_order(order.model_dump_json())
    assert seen == [["http://127.0.0.1:8000/v1", "2"]]
    assert [os.environ.get(name) for name in NAMES] == [None, "3"]


NAMES = ("INTROSPECT_VLLM_URL", "INTROSPECT_PROCESSES")


def test_a_study_in_this_process_leaves_its_caller_s_threads_as_they_were(tmp_path: Path, monkeypatch) -> None:
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one = small_sweep().model_copy(update={"seeds": (0,), "conditions": {"two": {}}})
        (told,) = SweepRun(one, tmp_path).run(executor("here")).studies.values()
        assert told["threads"] == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_waiting_for_nodes_is_for_clusters_that_grow() -> None:
    with pytest.raises(ConfigError, match="--wait-for-nodes is how many seconds a Ray cluster may take"):
        executor("local", 1, patience=5.0)


# What Ray 2.60 says of a head that was started with an autoscaler, and of one that was started without.
GROWS = '{"active_nodes": {}, "idle_nodes": null, "node_type_mapping": {"ff00": "ray.head.default"}, "legacy": true}'
STAYS = '{"active_nodes": {"node_7b25": 1}, "idle_nodes": null, "node_type_mapping": {"7b25": "node_7b25"}}'


def test_an_autoscaler_is_told_from_nodes_that_are_only_looked_at() -> None:
    from introspect.study.sweeps.on_ray import adds_nodes

    told = [adds_nodes(f'{{"time": 1.0, "autoscaler_report": {report}}}') for report in (GROWS, STAYS)]
    assert told == [True, False]


def test_a_folder_holds_one_sweep(tmp_path: Path, alone: SweepResult) -> None:
    with pytest.raises(StoreError, match="holds the sweep 'small'; give another folder"):
        SweepRun(small_sweep().model_copy(update={"name": "other"}), alone.folder).run(executor("here"))
    with pytest.raises(StoreError, match="there is no study file"):
        read_sweep(tmp_path / "nowhere")
