"""A file that version 1 wrote: a small study of a simulated agent, packed as it was left by introspect of that time."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from introspect.errors import StoreError
from introspect.store import SCHEMA_VERSION, Store

PACKED = Path(__file__).parent / "data" / "study-v1.db.gz"
KEPT = ("models", "replies", "steps", "tables", "blobs", "manifest")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    with gzip.open(PACKED) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return path


def content(path: Path) -> dict[str, list]:
    connection = sqlite3.connect(path)
    try:
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in KEPT}
    finally:
        connection.close()


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def shape(path: Path) -> set[tuple[str, str]]:
    connection = sqlite3.connect(path)
    try:
        return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    finally:
        connection.close()


def test_a_file_of_version_1_is_brought_up_to_date_and_keeps_all_it_had(old: Path) -> None:
    before = content(old)
    assert version(old) == 1
    assert len(before["replies"]) > 100
    with Store.open(old) as store:
        assert len(list(store.replies())) == len(before["replies"])  # each verified
        assert len(store.steps()) == len(before["steps"])
        assert store.stages() == ()
        store.jobs["new"] = {"job": 1}
    assert version(old) == SCHEMA_VERSION
    assert content(old) == before


def test_a_migrated_file_has_the_shape_of_a_new_one(old: Path, tmp_path: Path) -> None:
    Store.open(old).close()
    Store.open(tmp_path / "new.db").close()
    assert shape(old) == shape(tmp_path / "new.db")


def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Path) -> None:
    with sqlite3.connect(old) as db:  # the new tables cannot be made
        db.execute("CREATE TABLE failures (key TEXT)")
    before = content(old)
    with pytest.raises(StoreError, match="failures already exists"):
        Store.open(old)
    assert (version(old), content(old)) == (1, before)
    with sqlite3.connect(old) as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE name = 'jobs'").fetchall() == []


def test_processes_may_migrate_the_same_file_at_once(old: Path) -> None:
    code = "import sys; from introspect.store import Store; sys.stdin.readline(); Store.open(sys.argv[1]).close()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(old)], stdin=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in processes:
        process.communicate("\n", timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert version(old) == SCHEMA_VERSION
