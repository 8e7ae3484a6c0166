"""On Ray: 24 studies, a worker and a node killed in the middle, and the same results as one after the other."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from small_sweeps import findings, finished

from introspect.store import Store
from introspect.study.sweeps import Resources, Sweep, SweepResult, SweepRun, executor

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray")

SWEEP = """\
name: twenty-four
protocol:
  contexts: {instilled: 10, native: 0}
  instil: {choices: 10, train: {epochs: 6, batch_size: 10, learning_rate: 1.0e-3, method: full}}
  measure: {choices: 10, design: random, estimator: unit-normal, after_report_training: false}
  report:
    ask: {reports: 2}
    train: {settings: {epochs: 20, batch_size: 5, learning_rate: 3.0e-3, method: full}}
  score: {n_boot: 50, n_null: 49}
models: [organism:shared, organism:weak]
seeds: 4
conditions:
  plain: {}
  twice: {report: {train: {examples: 2}}}
  twins: {controls: [seeds: {n: 2}]}
"""


def sweep() -> Sweep:
    return Sweep.from_yaml(SWEEP)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    result = SweepRun(sweep(), tmp_path_factory.mktemp("alone")).run(executor("local", 1))
    assert len(result.studies) == 24
    return result


def running(files: Iterable[Path]) -> tuple[Path, int] | None:
    """A lane in which a training is under way, and the process."""
    for file in files:
        with Store.open(file, create=False) as store:
            last = {record.name: record for record in store.stages()}
        for record in last.values():
            if record.outcome == "running" and ": train " in record.name:
                return file, int(record.process.partition("@")[0])
    return None


class Killer(threading.Thread):
    """Kills whoever is training after so many studies.

    Args:
        folder: Of the sweep.
        kill: Told the process; it has been stopped.
    """

    def __init__(self, folder: Path, kill: Callable[[int], None] = lambda pid: os.kill(pid, signal.SIGKILL)) -> None:
        super().__init__(daemon=True)
        self.folder, self.kill, self.go, self.killed = folder, kill, threading.Event(), 0

    def run(self) -> None:
        self.go.wait()
        while not self.killed:
            found = running(sorted((self.folder / "lanes").glob("*/study.db")))
            if found is not None:
                # Stopped first, so that it is in the middle of that training for certain when it is killed.
                os.kill(found[1], signal.SIGSTOP)
                still = running([found[0]]) == found
                if still:
                    self.kill(found[1])
                    self.killed = found[1]
                else:
                    os.kill(found[1], signal.SIGCONT)
            time.sleep(0.02)


def same_as_alone(result: SweepResult, alone: SweepResult) -> None:
    assert not result.failed
    assert len(result.studies) == 24
    assert findings(result) == findings(alone)
    assert finished(result.folder) == finished(alone.folder)
    assert set(finished(result.folder).values()) == {1}


def test_a_worker_killed_in_the_middle_of_24_studies_costs_one_step(tmp_path: Path, alone: SweepResult) -> None:
    killer = Killer(tmp_path)
    killer.start()

    def tell(title: str, state: str, ended: int) -> None:
        if ended >= 8:
            killer.go.set()

    result = SweepRun(sweep(), tmp_path).run(executor("ray", 2), tell)
    killer.join(1)
    assert killer.killed
    ((title, deaths),) = result.lost.items()
    assert "WorkerCrashed" in deaths[0], title
    same_as_alone(result, alone)
    assert {told["threads"] for told in result.studies.values()} == {1}
    assert len({told["process"] for told in result.studies.values()}) >= 3
    broken = [r for r in _attempts(tmp_path) if r.outcome == "running"]
    assert len(broken) == 1


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_node_lost_in_the_middle_costs_what_it_was_doing(tmp_path: Path, alone: SweepResult, cluster: Any) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]

    def lose(pid: int) -> None:
        """The node on which a process trains, with all that runs there. A node that has just ended a study is idle, and
        its loss would cost nothing.
        """
        above = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        (node,) = [n for n in nodes if above == n.all_processes["raylet"][0].process.pid]
        cluster.remove_node(node, allow_graceful=False)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # it was stopped, and would not see its node go

    killer = Killer(tmp_path, lose)
    killer.start()

    def tell(title: str, state: str, ended: int) -> None:
        if ended >= 6:
            killer.go.set()

    result = SweepRun(sweep(), tmp_path).run(executor("ray", address=cluster.address), tell)
    killer.join(1)
    assert killer.killed
    ((_, deaths),) = result.lost.items()
    assert len(deaths) == 1
    same_as_alone(result, alone)
    assert len([r for r in _attempts(tmp_path) if r.outcome == "running"]) == 1


def test_what_no_node_has_room_for_is_refused(cluster: Any) -> None:
    from introspect.errors import ConfigError

    cluster.add_node(num_cpus=1)
    made = executor("ray", address=cluster.address)
    with made:
        made.check([Resources(cpus=1)])
        with pytest.raises(ConfigError, match="no node of the cluster has 1 cores, 1 GPUs"):
            made.check([Resources(gpus=1)])


def test_a_cluster_that_grows_is_waited_for(tmp_path: Path, cluster: Any, caplog: pytest.LogCaptureFixture) -> None:
    cluster.add_node(num_cpus=1)
    made = executor("ray", address=cluster.address, patience=300.0)
    with made, ThreadPoolExecutor(1) as side:
        checked = side.submit(made.check, [Resources(cpus=1), Resources(cpus=2, gpus=1)])
        while not caplog.records and not checked.done():
            time.sleep(0.1)
        cluster.add_node(num_cpus=2, num_gpus=1)  # in the main thread: a node minds signals
        checked.result()
        assert "waiting up to 300 s for nodes with 2 cores, 1 GPUs and 0 GB of memory" in caplog.text
        made.check([Resources(cpus=2, gpus=1)])
    assert len(caplog.records) == 1


def test_a_cluster_that_does_not_grow_is_given_up_in_one_line(cluster: Any) -> None:
    from introspect.errors import ConfigError

    cluster.add_node(num_cpus=1)
    patient = executor("ray", address=cluster.address, patience=2.0)
    with pytest.raises(ConfigError, match=r"no node of the cluster has 1 cores, 1 GPUs .* after 2 s of waiting; see"):
        patient.check([Resources(gpus=1)])
    assert not ray.is_initialized()
    with pytest.raises(ConfigError, match="--wait-for-nodes is for a cluster that grows"):
        executor("ray", patience=2.0)


def test_a_cluster_of_our_own_ends_where_no_study_would_ever_find_room() -> None:
    from introspect.errors import ConfigError

    with pytest.raises(ConfigError, match="no node of the cluster has 1 cores, 64 GPUs"):
        executor("ray", 1).check([Resources(gpus=64)])
    assert not ray.is_initialized()


def _attempts(folder: Path) -> list[Any]:
    found: list[Any] = []
    for file in (folder / "lanes").glob("*/study.db"):
        with Store.open(file, create=False) as store:
            found += store.stages()
    return found
