"""After a kill no batch is sent twice, and nothing that was answered is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from batch_server import BatchServer, answered, honest, questions, refused, run_forty_questions
from batched_model import batched, right

from introspect.backend import ask
from introspect.backend.openai.batch_lines import Chunk, Harvest, chunks_of
from introspect.store import Store

# --- a kill ------------------------------------------------------------------------------------------------

KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from batch_server import run_forty_questions
run_forty_questions(sys.argv[2], sys.argv[3])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    "at",
    [
        ("POST", "/batches", 1, "lost"),  # created, and the process dies before it hears of it
        ("GET", "/content", 2, None),  # one batch is harvested, the next is not
        pytest.param(("POST", "/files", 2, None), marks=pytest.mark.slow),
        pytest.param(("GET", "/batches/batch_1", 1, None), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_after_a_kill_no_batch_is_sent_again(tmp_path: Path, at: tuple) -> None:
    method, path, number, kind = at
    running: list[subprocess.Popen] = []
    seen = [0]

    def kill(m: str, p: str):
        if running and m == method and p.endswith(path):
            seen[0] += 1
            if seen[0] == number:
                if kind != "lost":
                    running.pop().send_signal(signal.SIGKILL)
                    return "reset"
                return "lost"
        return None

    class Killing(BatchServer):
        def _create(self, asked):
            made = super()._create(asked)
            if kind == "lost" and running and seen[0] == number:
                running.pop().send_signal(signal.SIGKILL)
            return made

    with Killing(fault=kill, polls=2) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(Path(__file__).parent), server.url, str(tmp_path)]
        )
        running.append(process)
        assert process.wait(60) == -signal.SIGKILL
        replies = run_forty_questions(server.url, str(tmp_path))
        assert right(replies, questions(40))
        assert len(server.sent) == 40
        assert len(set(server.sent)) == 40
    assert b"planted" not in (tmp_path / "study.db").read_bytes()


def test_replies_that_were_harvested_and_lost_are_read_from_their_batch_again(tmp_path: Path) -> None:
    with BatchServer() as server:
        first = run_forty_questions(server.url, str(tmp_path))
        with Store.open(tmp_path / "study.db") as store:
            store._db.rows("DELETE FROM replies WHERE number % 3 = 0")
        again = run_forty_questions(server.url, str(tmp_path))
        assert [r.text for r in again] == [r.text for r in first]
        assert len(server.sent) == 40


def test_what_failed_in_an_earlier_run_is_sent_once_more(tmp_path: Path) -> None:
    def results(server, lines):
        if server.created > 1:
            return honest(server, lines)
        return [answered(line) for line in lines[1:]], [refused(lines[0], 400, "odd")], "completed"

    asked = questions(4)
    with BatchServer(results) as server:
        assert [r.status for r in ask(batched(server, tmp_path), asked)] == ["failed", *["completed"] * 3]
        assert right(ask(batched(server, tmp_path), asked), asked)
        assert len(server.sent) == 5


# --- the files ---------------------------------------------------------------------------------------------


def test_chunks_hold_every_request_once_and_in_order() -> None:
    rng = random.Random(5)
    bodies = [(f"k{i}", {"text": "x" * rng.randrange(300)}) for i in range(200)]
    chunks = [chunk for chunk in chunks_of(bodies, 17, 2000) if isinstance(chunk, Chunk)]
    assert [key for chunk in chunks for key in chunk.keys] == [key for key, _ in bodies]
    assert all(len(chunk.keys) <= 17 and len(chunk.content) <= 2000 for chunk in chunks)
    first, second = chunks[0].halves()
    assert (first.keys + second.keys, first.content + second.content) == (chunks[0].keys, chunks[0].content)


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"null", b"[1]", b'{"custom_id": 7}', b'{"custom_id": "a", "response": 5}', b'{"custom_id": "a"}',
     b'{"custom_id": "a", "response": {"status_code": 200, "body": null}}', b"[" * 10_000,
     b'{"custom_id": "a", "response": {"status_code": 200, "body": {"choices": []}}}',
     b'{"custom_id": "a", "response": {"status_code": "x", "body": {"error": 4}}}'],
)  # fmt: skip
def test_no_line_breaks_a_harvest(line: bytes) -> None:
    harvest = Harvest(frozenset({"a", "b"}))
    harvest.read(
        line + b"\n" + json.dumps(answered({"custom_id": "b", "body": {"model": "m", "messages": []}})).encode()
    )
    assert set(harvest.answers) == {"b"}
    assert harvest.malformed + len(harvest.failures) == 1
