"""One process at a time on a folder, and a word to the second about who has it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from introspect.errors import StoreError
from introspect.store import FolderLock

HOLD = """
import sys, time
from introspect.store import FolderLock
with FolderLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(folder: Path, seconds: float = 60) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(20)
    process.stdout.close()


def test_the_second_is_told_who_holds_it_where_and_since_when(tmp_path: Path) -> None:
    before = time.time()
    holder = hold(tmp_path)
    try:
        with pytest.raises(StoreError) as caught, FolderLock(tmp_path):
            pass
        said = str(caught.value)
        assert "\n" not in said
        assert str(tmp_path) in said
        assert f"process {holder.pid} on {socket.gethostname()} since 20" in said
        assert re.search(r"\d\d:\d\d:\d\d", said)
        assert before - 1 < (tmp_path / "study.lock").stat().st_mtime
    finally:
        end(holder)


def test_the_second_waits_and_then_has_it(tmp_path: Path) -> None:
    holder = hold(tmp_path, 0.5)
    told: list[str] = []
    with FolderLock(tmp_path, wait=30, on_wait=told.append):
        assert holder.wait(20) == 0
    holder.stdout.close()
    assert len(told) == 1
    assert f"process {holder.pid}" in told[0]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_lock_falls_with_the_process_that_held_it(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    holder.send_signal(signal.SIGKILL)
    assert holder.wait(20) == -signal.SIGKILL
    holder.stdout.close()
    assert f'"pid": {holder.pid}' in (tmp_path / "study.lock").read_text()  # it could not clean up
    with FolderLock(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / "study.lock").read_text()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    code = HOLD.replace(
        'print("held", flush=True)',
        'import os\n    if os.fork() == 0:\n        time.sleep(30)\n        os._exit(0)\n    print("held", flush=True)',
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), "60"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="in use"), FolderLock(tmp_path):
            pass
        process.kill()
        process.wait(20)
        with FolderLock(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()


def test_one_process_does_not_hold_a_folder_twice(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(StoreError, match="this very process"), FolderLock(tmp_path):
        pass
    with FolderLock(tmp_path):
        pass


def test_a_holder_that_wrote_nonsense_is_still_a_holder(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        for content in ("", "garbage", "[]", '{"pid": "x", "host": 1, "since": 1e400}'):
            (tmp_path / "study.lock").write_text(content)
            with pytest.raises(StoreError, match="another process, which does not say its name"), FolderLock(tmp_path):
                pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made or written to"), FolderLock(tmp_path / "file" / "study"):
        pass
