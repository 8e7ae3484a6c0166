"""A study with real fine-tuning jobs at a server is killed: no file, job or answered call is sent twice."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from zygote import Zygote, zygote

from introspect.serve import serving
from introspect.store import Store
from introspect.subjects import SimulatedAgent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs SIGKILL and os.fork"),
]
AGENT = SimulatedAgent(name="m", report_sharing=1.0).ref


def trainings(server: Path) -> tuple[list[str], int]:
    """What was sent to be trained on, and how many jobs there were."""
    files = [json.loads(path.read_text()) for path in (server / "files").glob("*.json")]
    data = [(server / "files" / f"{f['id']}.data").read_bytes() for f in files if f["purpose"] == "fine-tune"]
    return sorted(each.decode() for each in data), len(list((server / "jobs").iterdir()))


def named_alike(value: Any) -> Any:
    """A result but for the names and places that a server gives to its tuned models."""
    if isinstance(value, dict):
        return {key: named_alike(each) for key, each in value.items() if key not in ("model", "models")}
    return [named_alike(each) for each in value] if isinstance(value, list) else value


def finish(runs: Zygote, out: Path) -> None:
    runs.start(out)
    assert runs.ended() == 0, runs.log.read_text()


def test_a_study_that_is_killed_while_it_trains_sends_nothing_twice(tmp_path: Path) -> None:
    rng, kills = random.Random(3), 0
    with (
        serving(AGENT, tmp_path / "quiet", name="m") as url,
        zygote("openai", url, 4, tmp_path / "first zygote") as runs,
    ):
        finish(runs, tmp_path / "alone")
    sent, n_jobs = trainings(tmp_path / "quiet")
    assert len(sent) == n_jobs == 4  # preferences once; reports in two folds, and to all
    with (
        serving(AGENT, tmp_path / "server", name="m") as url,
        zygote("openai", url, 4, tmp_path / "second zygote") as runs,
    ):
        out = tmp_path / "killed"
        for number in range(40):
            child = runs.start(out)
            # Half of the kills are aimed at the moments around a job's making.
            known = trainings(tmp_path / "server")[1] if (tmp_path / "server" / "jobs").exists() else 0
            if number % 2:
                while runs.runs and len(list((tmp_path / "server" / "jobs").glob("*"))) == known:
                    time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.05 if number % 2 else 0.3))
            os.kill(child, signal.SIGKILL)
            if runs.ended() == 0:
                break
            kills += 1
            if kills == 12:
                finish(runs, out)
                break
        finish(runs, out)
    assert kills >= 3
    assert trainings(tmp_path / "server") == (sent, n_jobs)
    one, other = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("alone", "killed"))
    assert named_alike(one) == named_alike(other)
    with Store.open(tmp_path / "killed" / "study.db") as store, Store.open(tmp_path / "alone" / "study.db") as quiet:
        assert store.n_replies() == quiet.n_replies()
