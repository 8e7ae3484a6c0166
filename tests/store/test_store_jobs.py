"""Jobs, stages and failed replies: what version 2 of the study file keeps besides."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from introspect.errors import StoreError
from introspect.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


def test_a_jobs_state_is_replaced_as_a_whole_and_outlives_the_process(path: Path) -> None:
    with Store.open(path) as store:
        store.jobs["a"] = {"job": "ftjob-1", "file": None}
        store.jobs["b"] = {}
        store.jobs["a"] = {"job": "ftjob-1", "events": [1, 2]}
    with Store.open(path) as store:
        assert dict(store.jobs) == {"a": {"job": "ftjob-1", "events": [1, 2]}, "b": {}}
        assert list(store.jobs) == ["a", "b"]
        del store.jobs["a"]
        assert "a" not in store.jobs
        with pytest.raises(KeyError):
            del store.jobs["a"]


def test_a_job_that_is_not_json_or_has_no_name_is_refused(path: Path) -> None:
    with Store.open(path) as store:
        with pytest.raises(StoreError, match="plain JSON"):
            store.jobs["a"] = {"x": object()}
        with pytest.raises(StoreError, match="non-empty text"):
            store.jobs[""] = {}
        assert len(store.jobs) == 0


def test_a_damaged_job_is_not_believed(path: Path) -> None:
    with Store.open(path) as store:
        store.jobs["a"] = {"job": "ftjob-1"}
    with sqlite3.connect(path) as db:
        db.execute("""UPDATE jobs SET state = '{"job":"ftjob-2"}'""")
    with Store.open(path) as store, pytest.raises(StoreError, match="job a does not have the checksum"):
        store.jobs["a"]


def test_each_attempt_at_a_stage_is_noted_with_how_it_ended(path: Path) -> None:
    with Store.open(path) as store:
        with pytest.raises(ZeroDivisionError):
            store.step("s", {}, 1, lambda: 1 / 0)
        store.step("s", {}, 1, lambda: "now")
        store.step("s", {}, 1, lambda: pytest.fail("was computed"))
    with Store.open(path) as store:
        failed, finished = store.stages()
        (step,) = store.steps()
    assert (failed.name, failed.outcome, failed.error) == ("s", "failed", "ZeroDivisionError")
    assert (finished.name, finished.outcome, finished.error) == ("s", "finished", None)
    assert failed.step == finished.step == step.key
    assert "@" in finished.process
    assert finished.began <= finished.ended


def test_what_an_error_says_is_not_written_down(path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("Authorization: Bearer sk-planted-1234567890abcdef")

    with Store.open(path) as store, pytest.raises(RuntimeError):
        store.step("s", {}, 1, fail)
    assert b"planted" not in path.read_bytes()


def test_a_failed_reply_is_noted_and_never_an_answer(path: Path) -> None:
    with Store.open(path) as store:
        store.put_failures([("k", "{}", '{"reason":"first"}', "{}"), ("l", "{}", '{"reason":"other"}', "{}")])
        store.put_failures([("k", "{}", '{"reason":"second"}', "{}")])
        assert store.get_reply("k") is None
        assert store.n_replies() == 0
        assert store.get_failures(["k", "l", "m"]) == {"k": '{"reason":"second"}', "l": '{"reason":"other"}'}
        assert store.n_failures() == 2


def test_many_replies_are_looked_up_at_once(path: Path) -> None:
    with Store.open(path) as store:
        store.put_replies((f"k{i}", "{}", str(i), "{}") for i in range(1800))
        found = store.get_replies([f"k{i}" for i in range(0, 3000, 2)])
        assert found == {f"k{i}": str(i) for i in range(0, 1800, 2)}
        assert store.get_replies([]) == {}
    with sqlite3.connect(path) as db:
        db.execute("UPDATE replies SET reply = '7' WHERE key = 'k6'")
    with Store.open(path) as store, pytest.raises(StoreError, match="reply k6 does not have the checksum"):
        store.get_replies(["k4", "k6"])
