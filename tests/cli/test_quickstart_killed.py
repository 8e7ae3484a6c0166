"""The quickstart is killed for real, again and again, and ends like one that was left alone."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from introspect.store import Store
from introspect.subjects import grow_organism
from introspect.subjects.organism import OrganismConfig

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")]

STAGES = [
    "draw",
    "untuned: choices",
    "train instilled",
    "instilled: choices",
    "instilled: native reports",
    "train fold1",
    "fold2: choices",
    "train all",
    "all: native choices",
]


@pytest.fixture(scope="module")
def organism(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("organism") / "small.safetensors"
    small = OrganismConfig(
        name="small", n_native=60, n_reported=10, steps=300, width=16, heads=2, row_width=8, batch_size=96
    )
    grow_organism(small).save(path)
    return path


@pytest.fixture(scope="module")
def alone(organism: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed."""
    out = tmp_path_factory.mktemp("alone") / "study"
    command = [sys.executable, "-m", "introspect.cli", "quickstart", "--organism", str(organism), "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def result_of(out: Path) -> dict:
    """What it found; where weights lie is another place for every folder."""
    return json.loads((out / "result.json").read_text(encoding="utf-8").replace(str(out), "OUT"))


def start(process, organism: Path, out: Path) -> subprocess.Popen[str]:
    return process("quickstart", "--organism", organism, "--out", out, "--json", stdout=subprocess.PIPE)


def state(out: Path) -> tuple[tuple, int]:
    if not (out / "study.db").exists():
        return (), 0
    with Store.open(out / "study.db") as store:
        return store.steps(), store.n_replies()


def wait_for(running: subprocess.Popen[str], stage: str) -> None:
    """Until standard error tells that this stage runs: bars are redrawn without an end of line."""
    seen = ""
    while f"seed 0: {stage}:" not in seen or "done before" in seen.rpartition(f"seed 0: {stage}:")[2][:13]:
        more = running.stderr.read(1)
        assert more, f"{stage} never ran: {seen[-400:]}"
        seen += more


def kill(running: subprocess.Popen[str]) -> None:
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL


def assert_like(out: Path, alone: Path, finished: subprocess.Popen[str]) -> None:
    said, err = finished.communicate()
    assert finished.returncode == 0, err[-2000:]
    assert result_of(out) == result_of(alone)
    assert json.loads(said)["arms"] == result_of(alone)["arms"]
    (steps, n_replies), (names, n_alone) = state(out), state(alone)
    assert [step.name for step in steps] == [step.name for step in names]
    assert n_replies == n_alone
    assert not list(out.rglob("*.partial"))
    assert (out / "reports.png").read_bytes() == (alone / "reports.png").read_bytes()


def test_killed_at_every_kind_of_stage_it_repeats_none_that_was_finished(process, organism, alone, tmp_path) -> None:
    out = tmp_path / "study"
    for stage in STAGES:
        before, n_before = state(out)
        running = start(process, organism, out)
        wait_for(running, stage)
        time.sleep(random.Random(stage).uniform(0.0, 0.4))
        kill(running)
        after, n_after = state(out)
        assert after[: len(before)] == before  # the very same rows, with the times at which they were made
        assert n_after >= n_before
    before, _ = state(out)
    last = start(process, organism, out)
    assert_like(out, alone, last)
    assert state(out)[0][: len(before)] == before


def test_killed_at_random_moments_it_ends_the_same(process, organism, alone, tmp_path) -> None:
    out, rng = tmp_path / "study", random.Random(17)
    for _ in range(5):
        before, _ = state(out)
        running = start(process, organism, out)
        try:
            running.communicate(timeout=rng.uniform(1.0, 12.0))
        except subprocess.TimeoutExpired:
            kill(running)
        assert state(out)[0][: len(before)] == before
    assert_like(out, alone, start(process, organism, out))
