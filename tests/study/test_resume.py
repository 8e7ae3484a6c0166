"""A study that is killed, for real and anywhere, goes on where it stopped; nothing that was finished is repeated."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from introspect.decision import OrganismStyle, organism_scenarios
from introspect.errors import StoreError
from introspect.store import Store
from introspect.study import Study, StudyProtocol
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedBackend, SimulatedTrainer

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from small_studies import small_study

class Killer:
    def __init__(self, stage, after):
        self.wanted, self.after, self.now = stage, after, ""
    def stage(self, name, done):
        self.now = name
        self.check(0)
    def progress(self, done, total, unit):
        self.check(done)
    def check(self, done):
        if self.now.endswith(self.wanted) and done >= self.after:
            os.kill(os.getpid(), signal.SIGKILL)

small_study(sys.argv[2]).run(Killer(sys.argv[3], int(sys.argv[4])))
print("was not killed")
"""


class Stages:
    """What was computed and what was found."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.found: list[str] = []

    def stage(self, name: str, done: bool) -> None:
        (self.found if done else self.begun).append(name)

    def progress(self, done: int, total: int, unit: str) -> None:
        pass


def result_of(folder: Path) -> str:
    return (folder / "result.json").read_text(encoding="utf-8")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the agent was really asked and trained."""
    count = {"asked": 0, "trained": 0}
    reply, train = SimulatedBackend.reply, SimulatedTrainer.train

    def replying(self, request):
        count["asked"] += 1
        return reply(self, request)

    async def training(self, *args):
        count["trained"] += 1
        return await train(self, *args)

    monkeypatch.setattr(SimulatedBackend, "reply", replying)
    monkeypatch.setattr(SimulatedTrainer, "train", training)
    return count


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("stage", "after", "n_done"),
    [
        ("untuned: choices", 100, 1),
        ("train instilled", 0, 4),
        ("train fold1", 1, 9),
        ("fold2: reports", 24, 13),
        ("all: native choices", 132, 17),
    ],
)
def test_a_killed_study_goes_on_and_ends_like_one_that_was_not(
    small: Callable[..., Study], counted: dict[str, int], finished: Path, stage: str, after: int, n_done: int
) -> None:
    study = small()
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(study.folder), stage, str(after)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    with Store.open(finished / "study.db") as store:
        steps, n_replies = [step.name for step in store.steps()], store.n_replies()
    with Store.open(study.folder / "study.db") as store:
        before, kept = store.steps(), store.n_replies()
    assert [step.name for step in before] == steps[:n_done]

    seen = Stages()
    study.run(seen)
    assert seen.found == steps[:n_done]
    assert seen.begun == steps[n_done:]
    assert counted["asked"] == n_replies - kept
    assert counted["trained"] == sum("train " in name for name in steps[n_done:])
    with Store.open(study.folder / "study.db") as store:
        assert store.steps()[:n_done] == before  # with the times at which they were made
    assert result_of(study.folder) == result_of(finished)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "study"))


def test_a_finished_study_asks_and_trains_nothing(small, counted: dict[str, int], copied: Path) -> None:
    before, seen = result_of(copied), Stages()
    small().run(seen)
    assert counted == {"asked": 0, "trained": 0}
    assert seen.begun == []
    assert result_of(copied) == before


def test_new_seeds_of_a_finished_study_are_all_that_is_computed(small, copied: Path) -> None:
    one, seen = json.loads(result_of(copied)), Stages()
    both = small(seeds=(1, 0)).run(seen).to_dict()
    assert {name.partition(":")[0] for name in seen.begun} == {"seed 1"}
    assert {name.partition(":")[0] for name in seen.found} == {"seed 0"}
    new, old = both["seeds"]
    assert old == one["seeds"][0]
    assert new["arms"] != old["arms"]
    assert (new["seed"], old["seed"]) == (1, 0)


def test_a_half_written_result_is_written_anew(small, copied: Path, finished: Path) -> None:
    (copied / "result.json").write_text('{"arms": [')
    (copied / "result.json.partial").write_text("garbage")
    small().run()
    assert result_of(copied) == result_of(finished)
    assert not (copied / "result.json.partial").exists()


OTHER = {
    "model": SimulatedAgent(name="other").ref,
    "protocol": StudyProtocol(n_reports=3),
    "style": OrganismStyle(report_options="none"),
    "scenarios": organism_scenarios(13),
    "native": (),
}


@pytest.mark.parametrize("change", OTHER)
def test_a_folder_of_another_study_is_refused_in_one_line_that_says_what_differs(small, copied, change: str) -> None:
    with Store.open(copied / "study.db") as store:
        before = store.n_replies(), store.steps()
    with pytest.raises(StoreError, match=rf"another study \(it differs in {change}\)") as caught:
        small(**{change: OTHER[change]}).run()
    assert "\n" not in str(caught.value)
    with Store.open(copied / "study.db") as store:
        assert (store.n_replies(), store.steps()) == before


def test_a_damaged_study_file_is_an_error_and_not_a_result(small, copied: Path) -> None:
    with sqlite3.connect(copied / "study.db") as db:
        assert db.execute("UPDATE blobs SET data = X'00'").rowcount > 10
    with pytest.raises(StoreError, match="blob"):
        small().run()


def test_a_study_file_that_was_cut_short_is_one_line(small, copied: Path) -> None:
    data = (copied / "study.db").read_bytes()
    (copied / "study.db").write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError) as caught:
        small().run()
    assert "\n" not in str(caught.value)
