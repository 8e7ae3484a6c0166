"""A finished study is analysed again from one file: no network, no key, no model, and the same result."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from small_studies import small_study

from introspect.backend import Cached, FunctionBackend, Message, Reply, Request, ask
from introspect.errors import StoreError
from introspect.store import Store
from introspect.study import Study, export_study, replay_study
from introspect.subjects.simulated import SimulatedBackend, SimulatedTrainer
from introspect.training import StoredReplies


@pytest.fixture
def packed(finished: Path, tmp_path: Path) -> Path:
    export_study(finished, tmp_path / "study.zip")
    return tmp_path / "study.zip"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model answers, nobody trains, and no socket is opened."""

    def never(*args: object, **options: object) -> None:
        raise AssertionError("a replay must not do this")

    monkeypatch.setattr(SimulatedBackend, "__init__", never)
    monkeypatch.setattr(SimulatedTrainer, "train", never)
    monkeypatch.setattr(socket, "create_connection", never)
    monkeypatch.setattr(socket.socket, "connect", never)


def test_a_replay_is_the_recorded_result_to_the_last_digit(packed: Path, finished: Path, nobody: None) -> None:
    replay = replay_study(packed)
    assert replay.identical
    assert replay.differences == ()
    assert json.loads(json.dumps(replay.result.to_dict())) == json.loads((finished / "result.json").read_text())
    with Store.open(finished / "study.db") as store:
        assert 0.8 * store.n_replies() < replay.n_replies <= store.n_replies()  # all but the canaries'


def test_a_replay_leaves_the_archive_alone(packed: Path) -> None:
    before = packed.read_bytes()
    replay_study(packed)
    assert packed.read_bytes() == before
    assert [p.name for p in packed.parent.iterdir()] == ["study.zip"]


def changed(finished: Path, folder: Path, *sql: str) -> Path:
    """An export of a study whose database was changed."""
    shutil.copytree(finished, folder / "changed")
    with sqlite3.connect(folder / "changed" / "study.db") as db:
        for statement in sql:
            assert db.execute(statement).rowcount > 0
    export_study(folder / "changed", folder / "changed.zip")
    return folder / "changed.zip"


def test_a_reply_that_is_missing_is_named(finished: Path, tmp_path: Path, nobody: None) -> None:
    with Store.open(finished / "study.db") as store:
        first = next(store.replies())
    packed = changed(finished, tmp_path, f"DELETE FROM replies WHERE key = '{first.key}'")
    with pytest.raises(StoreError, match=f"no reply of simulated/small to request {first.key}") as caught:
        replay_study(packed)
    assert json.loads(first.request)["messages"][-1]["content"][:40] in str(caught.value)


def test_a_reply_that_was_changed_is_found_even_with_a_fitting_checksum(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "study")
    with Store.open(tmp_path / "study" / "study.db") as store:
        row = next(r for r in store.replies() if '"text":"A"' in r.reply)
        store._db.rows("DELETE FROM replies WHERE key = ?", (row.key,))
        forged = json.loads(row.reply) | {"text": "B", "answer_logprobs": {"B": -1e-9, "A": -20.0}}
        store.put_reply(row.key, row.request, json.dumps(forged), row.model)
    export_study(tmp_path / "study", tmp_path / "study.zip")
    with pytest.raises(StoreError, match="reads its replies otherwise than the study did"):
        replay_study(tmp_path / "study.zip")


def test_a_stage_that_is_missing_is_named(finished: Path, tmp_path: Path) -> None:
    packed = changed(finished, tmp_path, "DELETE FROM steps WHERE name = 'seed 0: train fold1'")
    with pytest.raises(StoreError, match="no finished stage 'seed 0: train fold1'"):
        replay_study(packed)


def test_a_result_that_was_touched_up_is_told_where(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "study")
    path = tmp_path / "study" / "result.json"
    result = json.loads(path.read_text())
    result["arms"][2]["pooled_r"] = 0.99
    path.write_text(json.dumps(result))
    export_study(tmp_path / "study", tmp_path / "study.zip")
    replay = replay_study(tmp_path / "study.zip")
    assert not replay.identical
    assert len(replay.differences) == 1
    assert replay.differences[0].startswith("arms[2].pooled_r: 0.99 -> ")


def test_several_seeds_are_replayed(tmp_path: Path) -> None:
    small_study(tmp_path / "study", seeds=(2, 0)).run()
    export_study(tmp_path / "study", tmp_path / "study.zip")
    assert replay_study(tmp_path / "study.zip").identical


def test_failed_replies_that_the_study_went_on_with_are_replayed(tmp_path: Path, monkeypatch) -> None:
    answer = SimulatedBackend.reply

    def flaky(self: SimulatedBackend, request: Request) -> Reply:
        if len(request.messages[-1].content) % 7 == 0:
            return Reply(status="failed", reason="500: try later")
        return answer(self, request)

    monkeypatch.setattr(SimulatedBackend, "reply", flaky)
    small_study(tmp_path / "study").run()
    with Store.open(tmp_path / "study" / "study.db") as store:
        assert store.n_failures() > 10
    export_study(tmp_path / "study", tmp_path / "study.zip")
    assert replay_study(tmp_path / "study.zip").identical


def test_failed_replies_are_noted_by_the_cache_and_asked_for_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def once(request: Request) -> Reply | str:
        calls.append(1)
        return Reply(status="failed", reason="503") if len(calls) == 1 else "A"

    question = Request(messages=(Message(role="user", content="A or B?"),))
    with Store.open(tmp_path / "study.db") as store:
        model = Cached(FunctionBackend(once, name="once", version="1"), StoredReplies(store))
        assert ask(model, [question])[0].status == "failed"
        assert (store.n_replies(), store.n_failures()) == (0, 1)
        assert ask(model, [question])[0].text == "A"
        assert store.n_replies() == 1


def test_a_key_in_the_study_is_not_exported(finished: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(finished, tmp_path / "study")
    with Store.open(tmp_path / "study" / "study.db") as store:
        store.put_reply("k", "{}", '{"text":"my key is sk-planted-for-an-export"}', "{}")
    export_study(tmp_path / "study", tmp_path / "fine.zip")  # nobody knows that it is one
    monkeypatch.setenv("SOME_API_KEY", "sk-planted-for-an-export")
    with pytest.raises(StoreError, match="a key that this process knows") as caught:
        export_study(tmp_path / "study", tmp_path / "study.zip")
    assert "planted" not in str(caught.value)
    assert not (tmp_path / "study.zip").exists()


def test_a_study_without_settings_says_what_to_do(finished: Path, tmp_path: Path) -> None:
    packed = changed(finished, tmp_path, "DELETE FROM manifest WHERE key = 'recipe'")
    with pytest.raises(StoreError, match="did not keep a study's settings"):
        replay_study(packed)


def test_a_style_of_the_users_own_is_asked_for(small, tmp_path: Path) -> None:
    from introspect.decision import OrganismStyle

    class Own(OrganismStyle):
        """Words of somebody's own."""

    study: Study = small(style=Own())
    study.run()
    export_study(study.folder, tmp_path / "study.zip")
    with pytest.raises(StoreError, match=r"replay_study\(..., style=...\)"):
        replay_study(tmp_path / "study.zip")
    assert replay_study(tmp_path / "study.zip", style=Own()).identical


def command(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "introspect.cli", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_commands_export_and_replay(finished: Path, tmp_path: Path) -> None:
    packed = tmp_path / "study.zip"
    done = command("export", finished, packed)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(packed) in done.stdout
    done = command("replay", packed, "--json")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown.pop("replay")["identical"] is True
    assert shown == json.loads((finished / "result.json").read_text())


def test_the_commands_say_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    for words in (("export", tmp_path / "nowhere", tmp_path / "x.zip"), ("replay", tmp_path / "nowhere.zip")):
        done = command(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("introspect: ")
