"""A full disk, a read-only file, a disk that ends in the middle: one clear line, and nothing lost that was there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from introspect.errors import StoreError
from introspect.store import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits and rights")

FILL = """
import resource, signal, sys
from introspect.errors import StoreError
from introspect.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(sys.argv[1])
store.step("before", {}, 1, lambda: "paid for")
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
n = 0
try:
    while True:
        store.put_replies([(f"k{n}", "{}", "x" * 2000, "{}")])
        n += 1
        print("kept", n, flush=True)
except StoreError as error:
    print("said", error, flush=True)
try:
    store.jobs["job"] = {"id": "x" * 20000}
except StoreError as error:
    print("said", error, flush=True)
try:
    store.close()
except StoreError as error:
    print("said", error, flush=True)
"""


def filled(path: Path, limit: int) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path), str(limit)], capture_output=True, text=True, timeout=120, check=True
    )
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert all(line.startswith(("kept ", "said ")) for line in lines), lines  # every error is one line
    return sum(line.startswith("kept ") for line in lines), [line[5:] for line in lines if line.startswith("said ")]


def test_a_disk_that_takes_no_more_is_one_line_and_all_that_was_kept_is_there(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    kept, said = filled(path, 400_000)
    assert kept > 10
    assert str(path) in said[0]
    assert "what was stored" in said[0]
    with Store.open(path) as store:
        assert [row.key for row in store.replies()] == [f"k{i}" for i in range(kept)]
        assert store.step("before", {}, 1, lambda: pytest.fail("was computed again")) == "paid for"
        store.put_reply("after", "{}", "{}", "{}")  # and there is room again
        assert store._db.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where this machine lets us have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs tmpfs")
def test_a_full_disk_is_called_full_and_all_that_was_kept_is_there(tiny_disk: Path) -> None:
    path = tiny_disk / "study.db"
    kept, said = filled(path, 0)
    assert kept > 10
    assert "the disk is full; make room and run again, what was stored is kept" in said[0]
    subprocess.run(["mount", "-o", "remount,size=8m", str(tiny_disk)], check=True)
    with Store.open(path) as store:
        assert [row.key for row in store.replies()] == [f"k{i}" for i in range(kept)]
        store.put_reply("after", "{}", "{}", "{}")


READ_ONLY = """
import os, sys
from introspect.errors import IntrospectError
from introspect.store import FolderLock, Store
if os.geteuid() == 0:  # root may write to anything, so it lets go of that right
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
for action in (lambda: Store.open(sys.argv[1]).put_reply("k", "{}", "{}", "{}"),
               lambda: FolderLock(sys.argv[2]).__enter__()):
    try:
        action()
        print("no error")
    except IntrospectError as error:
        print(error)
"""


def test_a_file_that_cannot_be_written_is_one_line_and_stays_as_it_is() -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        path = study / "study.db"
        with Store.open(path) as store:
            store.put_reply("kept", "{}", "{}", "{}")
        before = path.read_bytes()
        for place, mode in ((path, 0o444), (study, 0o555), (Path(folder), 0o755)):
            place.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path), str(study)], capture_output=True, text=True, check=False
        )
        study.chmod(0o755)
        assert done.returncode == 0, done.stderr
        of_store, of_lock = done.stdout.splitlines()
        assert str(path) in of_store
        assert "check their rights" in of_store or "check its rights" in of_store or "rights of its folder" in of_store
        assert "cannot be made or written to" in of_lock
        assert path.read_bytes() == before
        with Store.open(path) as store:
            assert store.get_reply("kept") == "{}"


@pytest.mark.parametrize("durability", ["kill", "full"])
def test_durability_is_what_was_asked_for(tmp_path: Path, durability: str) -> None:
    with Store.open(tmp_path / "study.db", durability=durability) as store:
        assert store.durability == durability
        assert store._db.rows("PRAGMA synchronous") == [({"kill": 1, "full": 2}[durability],)]
        assert store._db.rows("PRAGMA journal_mode") == [("wal",)]
        store.put_reply("k", "{}", "{}", "{}")
        assert store.get_reply("k") == "{}"


def test_an_unknown_durability_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match='"kill" or "full"'):
        Store.open(tmp_path / "study.db", durability="fast")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
