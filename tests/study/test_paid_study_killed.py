"""A study that pays for its calls is killed at random moments: none is paid for twice but those under way at a kill."""

from __future__ import annotations

import itertools
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "backend" / "openai"))
from faulty_server import FaultyServer, error
from paid_study import CONCURRENCY, answer

from introspect.store import Store
from introspect.study import export_study, replay_study

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL and os.fork")

KEY = "sk-planted-0123456789abcdef"


class PaidServer(FaultyServer):
    """Logs when each call came and when its answer was complete; faults are not paid for."""

    def __init__(self, fault_rate: float) -> None:
        super().__init__(self._fault, answer)
        self.paid: list[tuple[str, float, list[float]]] = []
        self.arrived = threading.Semaphore(0)
        self._rng, self._rate, self._lock = random.Random(7), fault_rate, threading.Lock()

    def _fault(self, body: dict[str, Any]):
        if self._rng.random() < self._rate:
            wait = {"retry_after_ms": "1"}
            return self._rng.choice([error(429, **wait), error(503, **wait), error(500, **wait)])
        return None

    async def _complete(self, body: dict[str, Any], writer) -> bool:
        call = (json.dumps(body, sort_keys=True), time.time(), [])
        unpaid = len(self.failed)
        self.arrived.release()
        try:
            alive = await super()._complete(body, writer)
            await writer.drain()
            return alive
        finally:
            call[2].append(time.time())
            if len(self.failed) == unpaid:
                with self._lock:
                    self.paid.append(call)
            else:
                self.failed.clear()

    @property
    def failed(self) -> list[int]:
        return self.__dict__.setdefault("_failed", [])

    def _send(self, writer, status: int, body: Any, headers=None) -> None:
        if status != 200:
            self.failed.append(status)
        super()._send(writer, status, body, headers)


class Zygote:
    """Runs studies in children of a process that has imported all it needs."""

    def __init__(self, url: str, n_contexts: int, folder: Path) -> None:
        folder.mkdir()
        self.log = folder / "stderr.txt"
        env = {**os.environ, "OMP_NUM_THREADS": "1", "INTROSPECT_API_KEY_127_0_0_1": KEY}
        command = [sys.executable, str(Path(__file__).with_name("paid_study.py")), url, str(n_contexts)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env
            )

        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self._said.put(line) for line in self._process.stdout], daemon=True).start()

    def start(self, folder: Path) -> int:
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        return int(self._said.get(timeout=60))

    @property
    def runs(self) -> bool:
        return self._said.empty()

    def ended(self) -> int:
        return int(self._said.get(timeout=300))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def zygote(url: str, n_contexts: int, folder: Path) -> Iterator[Zygote]:
    made = Zygote(url, n_contexts, folder)
    try:
        yield made
    finally:
        made.close()


def slowest_commit(folder: Path, server: PaidServer) -> float:
    """Seconds from an answer's end, at the server, to its commit, at most."""
    out = {}
    for text, _, done in server.paid:
        body = json.loads(text)
        out[body["model"], body["messages"][-1]["content"]] = done[0]
    with Store.open(folder / "study.db") as store:
        rows = store._db.rows("SELECT request, model, created FROM replies JOIN models ON models.key = model_key")
    waits = []
    for request, model, created in rows:
        ref = json.loads(model)["ref"]
        waits.append(created - out[ref.get("adapter") or ref["model"], json.loads(request)["messages"][-1]["content"]])
    return max(waits)


def killed_and_alone(tmp_path: Path, n_kills: int, n_contexts: int, fault_rate: float) -> None:
    rng = random.Random(n_kills)
    alone, out = tmp_path / "alone", tmp_path / "killed"
    with PaidServer(fault_rate) as server, zygote(server.url, n_contexts, tmp_path / "zygote") as runs:
        runs.start(alone)
        assert runs.ended() == 0, runs.log.read_text()
        n_calls = len({call[0] for call in server.paid})
        assert len(server.paid) == n_calls  # alone, nothing is paid for twice
        slack = max(0.1, 1.5 * slowest_commit(alone, server))
        server.paid.clear()
        while server.arrived.acquire(blocking=False):
            pass
        kills: list[float] = []
        while len(kills) < n_kills:
            child = runs.start(out)
            left = n_calls - len({call[0] for call in server.paid})
            # Spread over what is left to pay for, and a moment more; a few before anything is asked.
            for _ in range(0 if rng.random() < 0.1 else 1 + rng.randrange(1 + 2 * left // (n_kills - len(kills)))):
                while runs.runs and not server.arrived.acquire(timeout=0.05):
                    pass
            time.sleep(rng.uniform(0.0, 0.03))
            os.kill(child, signal.SIGKILL)
            kills.append(time.time())
            status = runs.ended()
            assert status in (signal.SIGKILL, 0), runs.log.read_text()
            while server.arrived.acquire(blocking=False):
                pass
        runs.start(out)
        assert runs.ended() == 0, runs.log.read_text()

        times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for body, came, done in server.paid:
            times[body].append((came, done[0]))
        assert len(times) == n_calls
        repeats: dict[int, int] = defaultdict(int)
        for calls in times.values():
            calls.sort()
            for (came, done), (again, _) in itertools.pairwise(calls):
                # Under way when a process died: it had come before, and its answer had not been out for longer than it
                # took at most, undisturbed, until an answer was committed.
                at = [number for number, kill in enumerate(kills) if came <= kill <= again and done > kill - slack]
                late = [round(kill - done, 3) for kill in kills if came <= kill <= again]
                assert at, f"paid for twice: kills came {late} s after the answer, and a commit takes {slack:.3f} s"
                repeats[at[0]] += 1
        n_repeats = sum(repeats.values())
        print(
            f"{n_calls} calls, {n_kills} kills, {n_repeats} calls under way at a kill were paid for again; "
            f"an answer was committed {slack / 1.5:.3f} s after it was out at most"
        )
        assert n_repeats <= n_kills * (CONCURRENCY + 4)
        assert all(KEY in headers["authorization"] for headers in server.seen_headers)

    assert (out / "result.json").read_bytes() == (alone / "result.json").read_bytes()
    with Store.open(out / "study.db") as store, Store.open(alone / "study.db") as other:
        assert [step.name for step in store.steps()] == [step.name for step in other.steps()]
        assert {r.key for r in store.replies()} == {r.key for r in other.replies()}
    export_study(out, tmp_path / "study.zip")
    assert replay_study(tmp_path / "study.zip").identical
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert b"planted" not in path.read_bytes(), path


def test_a_study_that_is_killed_five_times_pays_once_and_ends_the_same(tmp_path: Path) -> None:
    killed_and_alone(tmp_path, n_kills=5, n_contexts=4, fault_rate=0.0)


@pytest.mark.slow
def test_a_study_that_is_killed_fifty_times_pays_once_and_ends_the_same(tmp_path: Path) -> None:
    killed_and_alone(tmp_path, n_kills=50, n_contexts=12, fault_rate=0.1)
