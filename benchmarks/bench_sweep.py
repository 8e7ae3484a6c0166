"""What a second worker gains: 24 studies on a local Ray cluster of one and of two workers.

    python benchmarks/bench_sweep.py [--executor ray] [--workers 1 2] [--kill]

With `--kill`, where there is more than one worker, one of them is killed (SIGKILL) in the middle of a training after a
third of the studies; its wall time is then what the sweep took all the same.

Wall times mean something on an idle machine only. What holds on a busy one as well: *busy*, the share of the time in
which workers had a study (1 less what handing out, uneven lanes and the start cost), and the processor time of all
studies, which must not grow with the workers. `busy x workers x (processor time of one / of n)` is the gain where every
worker has a core of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

from introspect.store import Store
from introspect.study.sweeps import Sweep, SweepRun, executor

SWEEP = """\
name: twenty-four
protocol:
  contexts: {instilled: 40, native: 20}
  instil: {choices: 30}
  measure: {choices: 24, native_choices: 24}
  report: {ask: {reports: 5}}
  score: {n_boot: 500, n_null: 499}
models: [organism:shared, organism:weak]
seeds: 4
conditions:
  plain: {}
  twice: {report: {train: {examples: 2}}}
  learned: {report: {train: {targets: learned}}}
"""


class Killer(threading.Thread):
    """Kills whoever is training once it is told to go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.go, self.killed = folder, threading.Event(), 0

    def run(self) -> None:
        self.go.wait()
        while not self.killed:
            self.killed = next((p for p in map(training, sorted(self.folder.glob("lanes/*/study.db"))) if p), 0)
            if self.killed:
                os.kill(self.killed, signal.SIGKILL)
            time.sleep(0.05)


def training(file: Path) -> int:
    """The process that trains in a lane; 0 where none does."""
    with Store.open(file, create=False) as store:
        last = {record.name: record for record in store.stages()}
    under_way = (r for r in last.values() if r.outcome == "running" and ": train " in r.name)
    return next((int(record.process.partition("@")[0]) for record in under_way), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executor", default="ray")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--kill", action="store_true", help="kill a worker in the middle, where there are several")
    options = parser.parse_args()
    sweep = Sweep.from_yaml(SWEEP)
    print(f"{'workers':>8}{'wall s':>9}{'cpu s':>9}{'busy':>7}{'gain in wall':>14}{'on free cores':>15}{'load':>7}")
    first: tuple[float, float] | None = None
    for n in options.workers:
        with tempfile.TemporaryDirectory(prefix="introspect-") as folder:
            killer = Killer(Path(folder))
            if options.kill and n > 1:
                killer.start()

            def tell(_: str, __: str, ended: int, killer: Killer = killer) -> None:
                if ended >= sweep.n_studies // 3:
                    killer.go.set()

            began = time.time()
            result = SweepRun(sweep, folder).run(executor(options.executor, n), tell)
            wall = time.time() - began
        assert len(result.studies) == sweep.n_studies, result.failed
        if options.kill and n > 1:
            print(f"killed: process {killer.killed}, {result.lost}")
        told = list(result.studies.values())
        cpu = sum(t["cpu_seconds"] for t in told)
        # From the first study's begin: starting a cluster is paid once.
        start, end = min(t["began"] for t in told), max(t["began"] + t["seconds"] for t in told)
        busy = sum(t["seconds"] for t in told) / (n * (end - start))
        first = first or (wall, cpu)
        free = busy * n * first[1] / cpu
        gain, load = first[0] / wall, os.getloadavg()[0]
        print(f"{n:>8}{wall:>9.1f}{cpu:>9.1f}{busy:>7.2f}{gain:>14.2f}{free:>15.2f}{load:>7.1f}", flush=True)


if __name__ == "__main__":
    main()
