"""A study that pays for its calls is killed at random moments: none is paid for twice but those under way at a kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "backend" / "openai"))
from faulty_server import FaultyServer, error
from paid_study import CONCURRENCY, answer
from zygote import zygote

from introspect.store import Store
from introspect.study import export_study, replay_study

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL and os.fork")

KEY = "sk-planted-0123456789abcdef"


class PaidServer(FaultyServer):
    """Logs each call and when its answer was complete; faults are not paid for."""

    def __init__(self, fault_rate: float) -> None:
        super().__init__(self._fault, answer)
        self.paid: list[tuple[str, float]] = []
        self.open = 0
        self.arrived = threading.Semaphore(0)
        self._rng, self._rate = random.Random(7), fault_rate
        self._status: dict[Any, int] = {}

    def _fault(self, body: dict[str, Any]):
        if self._rng.random() < self._rate:
            wait = {"retry_after_ms": "1"}
            return self._rng.choice([error(429, **wait), error(503, **wait), error(500, **wait)])
        return None

    async def _serve(self, reader, writer) -> None:
        self.open += 1
        try:
            await super()._serve(reader, writer)
        finally:
            self.open -= 1

    async def _complete(self, body: dict[str, Any], writer) -> bool:
        self.arrived.release()
        try:
            alive = await super()._complete(body, writer)
            await writer.drain()
            return alive
        finally:
            if self._status.pop(writer, 200) == 200:
                self.paid.append((json.dumps(body, sort_keys=True), time.time()))

    def settle(self) -> None:
        """Return when all that a dead process had sent has been read and logged."""
        # Connections are taken in the order in which they were made: those of the dead come before this one.
        urllib.request.urlopen(f"{self.url}/models").close()
        while self.open:
            time.sleep(0.001)
        while self.arrived.acquire(blocking=False):
            pass

    def _send(self, writer, status: int, body: Any, headers=None) -> None:
        self._status[writer] = status
        super()._send(writer, status, body, headers)


def call_name(text: str | dict[str, Any]) -> str:
    """What tells a paid call from all others of the study, from its body."""
    body = json.loads(text) if isinstance(text, str) else text
    if body["model"].startswith("train:"):
        return str(body["model"])
    return json.dumps([body["model"], body["messages"][-1]["content"], body.get("seed")])


def kept_calls(folder: Path) -> set[str]:
    """The paid calls that a study's file knows the outcome of."""
    if not (folder / "study.db").exists():
        return set()
    copy = folder.with_name("looked-at")  # opening the file itself would mend what the next run has to
    copy.mkdir()
    for path in folder.glob("study.db*"):
        shutil.copy(path, copy)
    with Store.open(copy / "study.db") as store:
        rows = store._db.rows("SELECT request, model FROM replies JOIN models ON models.key = model_key")
        kept = {f"train:{state['job']}" for state in store.jobs.values() if "job" in state}
    shutil.rmtree(copy)
    for text, model in rows:
        request, ref = json.loads(text), json.loads(model)["ref"]
        body = {
            "model": ref.get("adapter") or ref["model"],
            "messages": request["messages"],
            "seed": request.get("seed"),
        }
        kept.add(call_name(body))
    return kept


def killed_and_alone(tmp_path: Path, n_kills: int, n_contexts: int, fault_rate: float) -> None:
    rng = random.Random(n_kills)
    alone, out = tmp_path / "alone", tmp_path / "killed"
    with PaidServer(fault_rate) as server, zygote("paid", server.url, n_contexts, tmp_path / "zygote", KEY) as runs:
        runs.start(alone)
        assert runs.ended() == 0, runs.log.read_text()
        server.settle()
        alone_calls = {body for body, _ in server.paid}
        assert len(server.paid) == len(alone_calls)  # alone, nothing is paid for twice
        assert {call_name(body) for body in alone_calls} == kept_calls(alone)
        server.paid.clear()

        kept: set[str] = set()
        paid: set[str] = set()
        n_killed, lateness = 0, []
        for _ in range(3 * n_kills):
            child = runs.start(out)
            if n_killed < n_kills:
                left = len(alone_calls - paid)
                # Spread over what is left to pay for, and a moment more; a few before anything is asked.
                calls = 0 if rng.random() < 0.1 else 1 + rng.randrange(1 + 2 * left // (n_kills - n_killed))
                for _ in range(min(calls, left)):
                    while runs.runs and not server.arrived.acquire(timeout=0.05):
                        pass
                time.sleep(rng.uniform(0.0, 0.03))
                os.kill(child, signal.SIGKILL)
            killed = time.time()
            status = runs.ended()
            assert status in (-signal.SIGKILL, 0), runs.log.read_text()
            server.settle()
            made, server.paid[:] = list(server.paid), []
            names = [call_name(body) for body, _ in made]
            assert len(set(names)) == len(names), "asked twice by one process"
            assert not kept & set(names), "paid for again though a process that died had kept the answer"
            kept = kept_calls(out)
            paid |= {body for body, _ in made}
            if status == 0 and n_killed == n_kills:
                break
            n_killed += status != 0
            lateness += [killed - done for name, (_, done) in zip(names, made, strict=True) if name not in kept]
        assert status == 0
        assert n_killed == n_kills
        assert paid == alone_calls
        print(
            f"{len(paid)} calls, {n_kills} kills, {len(lateness)} calls under way at a kill were paid for again; "
            f"the first of them had been answered {max(lateness, default=0.0):.3f} s before"
        )
        # Few are on their way to the file: those that are being asked, and those that came since the last commit.
        assert len(lateness) <= n_kills * 4 * CONCURRENCY
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
