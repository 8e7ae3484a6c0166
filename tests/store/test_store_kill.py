"""A process is killed for real, at every kind of moment; what it had delivered is there, and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from introspect.store import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> list[str]:
    """Kill it and return what it had still said."""
    process.send_signal(signal.SIGKILL)
    assert process.wait(20) == -signal.SIGKILL
    said = process.stdout.read().split()
    process.stdout.close()
    return said


REPLIES = """
import sys
from introspect.store import Store
store = Store.open(sys.argv[1])
for i in range(10**6):
    store.put_reply(f"k{i}", "{}", '{"number":%d}' % i, "{}")
    print(i, flush=True)
"""


@pytest.mark.parametrize("after", [1, 100, 1000])
def test_every_reply_that_was_delivered_before_a_kill_is_there(tmp_path: Path, after: int) -> None:
    process = start(REPLIES, tmp_path / "study.db")
    said = [process.stdout.readline().strip() for _ in range(after)]
    said += kill(process)
    with Store.open(tmp_path / "study.db") as store:
        kept = [row.reply for row in store.replies()]  # each verified by its checksum
    # One more may have been stored whose number was not printed any more.
    assert kept == [f'{{"number":{i}}}' for i in range(len(kept))]
    assert after <= len(said) <= len(kept) <= len(said) + 1


STEP = """
import sys, time
import numpy as np
from introspect.store import Store
store = Store.open(sys.argv[1])
def compute():
    store.put_table("inside", {"x": np.arange(10)})
    print("computing", flush=True)
    time.sleep(60)
    return "never"
store.step("first", {}, 1, lambda: "done")
store.step("second", {}, 1, compute)
"""


def test_a_step_that_was_killed_half_way_is_computed_again(tmp_path: Path) -> None:
    process = start(STEP, tmp_path / "study.db")
    assert process.stdout.readline() == "computing\n"
    kill(process)
    with Store.open(tmp_path / "study.db") as store:
        assert [step.name for step in store.steps()] == ["first"]
        assert store.step("first", {}, 1, lambda: pytest.fail("was computed again")) == "done"
        assert store.get_table("inside")["x"].tolist() == list(range(10))
        assert store.step("second", {}, 1, lambda: "after all") == "after all"


MANY = """
import sys, time
from introspect.store import Store
store = Store.open(sys.argv[1])
store._db.rows("PRAGMA cache_size=10")  # spills within the transaction, so that a kill finds it half written
store.put_reply("before", "{}", "{}", "{}")
rows = [(f"k{i}", "{}", " " * 500, "{}") for i in range(40000)]
print("writing", flush=True)
store.put_replies(rows)
print("written", flush=True)
time.sleep(60)  # stay until killed
"""


@pytest.mark.parametrize("delay", [0.05, 0.2, 0.35, 0.6])
def test_a_transaction_that_was_killed_is_there_as_a_whole_or_not_at_all(tmp_path: Path, delay: float) -> None:
    process = start(MANY, tmp_path / "study.db")
    assert process.stdout.readline() == "writing\n"
    time.sleep(delay)
    said = kill(process)
    with Store.open(tmp_path / "study.db") as store:
        n = store.n_replies()
        assert n in (1, 40001)
        if said:
            assert n == 40001
        store.put_reply("after", "{}", "{}", "{}")
        assert store._db.rows("PRAGMA integrity_check") == [("ok",)]


BLOBS = """
import sys
from introspect.store import Store
store = Store.open(sys.argv[1])
for i in range(10**6):
    print(store.put_blob(bytes([i % 256]) * 300_000 + str(i).encode()), flush=True)
"""


def test_a_kill_while_a_large_blob_is_written_leaves_only_whole_ones(tmp_path: Path) -> None:
    process = start(BLOBS, tmp_path / "study.db")
    said = [process.stdout.readline().strip() for _ in range(5)]
    time.sleep(0.003)
    said += kill(process)
    with Store.open(tmp_path / "study.db") as store:
        for digest in said:
            if len(digest) == len(said[0]):  # the last line may be cut off
                store.get_blob(digest)
        for (digest,) in store._db.rows("SELECT digest FROM blobs"):
            store.get_blob(digest)


CREATE = """
import sys
from introspect.store import Store
print("go", flush=True)
sys.stdin.readline()
store = Store.open(sys.argv[1])
store.put_reply(sys.argv[2], "{}", "{}", "{}")
"""


def test_processes_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    command = [sys.executable, "-c", CREATE, str(path)]
    processes = [
        subprocess.Popen([*command, f"k{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    with Store.open(path) as store:
        assert store.n_replies() == 3
