"""What a server has taken on survives it: jobs, files, tuned models and batches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import openai
import pytest
from serve_lessons import LESSONS, QUESTION, jsonl
from stepping import STEPS, Stepper

from introspect.backend import FunctionBackend, ModelRef, Reply, register
from introspect.errors import BackendError, ConfigError
from introspect.serve import Limits, jobs, serving
from introspect.serve.files import FileShelf


def until(look, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (got := look()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return got


def ask(client: openai.OpenAI, model: str) -> str:
    turn = [{"role": "user", "content": "?"}]
    return client.chat.completions.create(model=model, messages=turn).choices[0].message.content


def test_a_job_that_was_under_way_goes_on_where_it_was(stepper: ModelRef, folder: Path, connect) -> None:
    with serving(stepper, folder) as url:
        client = connect(url)
        file = client.files.create(file=("x.jsonl", LESSONS), purpose="fine-tune")
        Stepper.gate.release(5)
        first, second = (client.fine_tuning.jobs.create(model="base", training_file=file.id) for _ in range(2))
        until(lambda: client.fine_tuning.jobs.retrieve(first.id).status == "running")
        until(lambda: any("Step 5/" in e.message for e in client.fine_tuning.jobs.list_events(first.id, limit=100)))
        assert client.fine_tuning.jobs.retrieve(second.id).status == "validating_files"
        client.files.delete(file.id)  # the jobs have their own copy
    moved = folder.rename(folder.with_name("moved"))
    Stepper.gate.release(2 * STEPS)
    with serving(stepper, moved) as url:
        client = connect(url)
        assert {job.id for job in client.fine_tuning.jobs.list()} == {first.id, second.id}
        done = [
            until(lambda i=i: (j := client.fine_tuning.jobs.retrieve(i)).status == "succeeded" and j)
            for i in (first.id, second.id)
        ]
        said = [event.message for event in client.fine_tuning.jobs.list_events(first.id, limit=100)]
        assert any("restarted" in message for message in said)
        assert ask(client, done[0].fine_tuned_model) == f"{STEPS} steps of 24"
    assert Stepper.starts == [0, 5, 0]
    again = moved.rename(folder)
    with serving(stepper, again) as url:
        client = connect(url)
        assert ask(client, done[1].fine_tuned_model) == f"{STEPS} steps of 24"
        assert client.fine_tuning.jobs.retrieve(done[1].id) == done[1]
        assert client.files.content(done[1].result_files[0]).text.count("\n") > STEPS


def test_a_disk_that_is_full_for_a_while_does_not_end_the_queue(
    stepper: ModelRef, folder: Path, connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full, tried = jobs.write_state, threading.Event(), []

    def writing(path: Path, state: dict) -> None:
        if full.is_set() and state["job"]["status"] in ("running", "failed"):
            tried.append(state["job"]["status"])
            raise OSError(28, "No space left on device")
        write(path, state)

    monkeypatch.setattr(jobs, "write_state", writing)
    monkeypatch.setattr(jobs, "_LATER", 0.02)
    full.set()
    Stepper.gate.release(STEPS)
    with serving(stepper, folder) as url:
        client = connect(url)
        file = client.files.create(file=("x.jsonl", LESSONS), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(model="base", training_file=file.id)
        until(lambda: tried.count("failed") >= 2)
        full.clear()
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded")


def test_a_cancelled_job_stops_at_its_next_step_and_the_next_begins(stepper: ModelRef, folder: Path, connect) -> None:
    with serving(stepper, folder) as url:
        client = connect(url)
        file = client.files.create(file=("x.jsonl", LESSONS), purpose="fine-tune")
        first, second, third = (client.fine_tuning.jobs.create(model="base", training_file=file.id) for _ in range(3))
        assert client.fine_tuning.jobs.cancel(third.id).status == "cancelled"
        until(lambda: client.fine_tuning.jobs.retrieve(first.id).status == "running")
        assert client.fine_tuning.jobs.cancel(first.id).status == "cancelled"
        Stepper.gate.release(STEPS)
        until(lambda: client.fine_tuning.jobs.retrieve(second.id).status == "succeeded")
        for job in (first, third):
            assert client.fine_tuning.jobs.retrieve(job.id).status == "cancelled"
            assert client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model is None
        with pytest.raises(openai.BadRequestError, match="already"):
            client.fine_tuning.jobs.cancel(second.id)
    assert len(Stepper.starts) == 2


@pytest.mark.parametrize(
    "left",
    [
        b'{"custom_id": "r',
        b'{"custom_id": "r59"}',  # whole but for its end: the next line must not be joined to it
    ],
)
def test_a_batch_that_was_interrupted_asks_no_line_twice(folder: Path, connect, left: bytes) -> None:
    asked: list[str] = []
    gate = threading.Semaphore(25)

    def answer(request) -> str:
        assert gate.acquire(timeout=20)
        asked.append(request.messages[0].content)
        return "yes"

    class Gated(FunctionBackend):
        async def generate(self, requests):
            from anyio.to_thread import run_sync

            for index, request in enumerate(requests):
                yield index, Reply(status="completed", text=await run_sync(answer, request, abandon_on_cancel=True))

    register("gated", open=lambda ref: Gated(lambda request: "", name="gated", version="1"))
    model = ModelRef(provider="gated", model="gated")
    lines = [
        {
            "custom_id": f"r{i}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gated", "messages": [{"role": "user", "content": str(i)}]},
        }
        for i in range(60)
    ]
    with serving(model, folder) as url:
        client = connect(url)
        file = client.files.create(file=("x.jsonl", jsonl(*lines)), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        until(lambda: len(asked) == 25)
        until(lambda: sum(p.read_bytes().count(b"\n") for p in folder.rglob("*.output.partial")) == 25)
    (partial,) = folder.rglob("*.output.partial")
    with partial.open("ab") as file:
        file.write(left)  # as a kill in mid-line leaves it
    for _ in range(100):
        gate.release()
    with serving(model, folder) as url:
        client = connect(url)
        done = until(lambda: (b := client.batches.retrieve(batch.id)).status == "completed" and b)
        assert (done.request_counts.total, done.request_counts.completed) == (60, 60)
        told = [json.loads(t)["custom_id"] for t in client.files.content(done.output_file_id).text.splitlines()]
    assert sorted(told) == sorted(f"r{i}" for i in range(60))
    # One may have been in the model's hands when the server stopped.
    assert len(asked) <= 62
    assert set(asked) == {str(i) for i in range(60)}


def test_a_cancelled_batch_keeps_what_was_answered(folder: Path, connect) -> None:
    gate = threading.Semaphore(10)
    register(
        "halting",
        open=lambda ref: FunctionBackend(lambda request: "y" if gate.acquire(timeout=0.05) else "n", "halting", "1"),
    )
    line = {"method": "POST", "url": "/v1/chat/completions"}
    body = {"model": "halting", "messages": [{"role": "user", "content": "?"}]}
    with serving(ModelRef(provider="halting", model="halting"), folder) as url:
        client = connect(url)
        data = jsonl(*({**line, "custom_id": str(i), "body": body} for i in range(300)))
        file = client.files.create(file=("x.jsonl", data), purpose="batch")
        batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
        until(lambda: client.batches.retrieve(batch.id).status == "in_progress")
        client.batches.cancel(batch.id)
        done = until(lambda: (b := client.batches.retrieve(batch.id)).status == "cancelled" and b, 90)
        assert done.request_counts.completed < 300
        if done.output_file_id:
            assert client.files.content(done.output_file_id).text.count("\n") == done.request_counts.completed


def test_an_upload_that_ends_while_files_are_listed_disturbs_nobody(folder: Path) -> None:
    """Uploads are entered from a thread of their own."""
    shelf = FileShelf(folder, Limits())

    class Listed:
        id = "file-a"

        @property
        def expires(self) -> None:
            shelf._files[f"file-{len(shelf._files)}"] = self

    shelf._files = {"file-a": Listed()}
    assert len(shelf.all()) == 2


def test_one_folder_serves_one_server(folder: Path) -> None:
    agent = ModelRef(provider="simulated", model="demo")
    with serving(agent, folder), pytest.raises(ConfigError, match=f"another server .process {os.getpid()}"):  # noqa: SIM117
        with serving(agent, folder):
            pass
    with serving(agent, folder):
        pass


def test_a_model_that_cannot_be_opened_stops_the_server(folder: Path) -> None:
    with (
        pytest.raises(BackendError, match="organism"),
        serving(ModelRef(provider="organism", model="no-such"), folder),
    ):
        pass


def test_damaged_state_is_named(folder: Path) -> None:
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "file-x.json").write_text("{")
    with (
        pytest.raises(ConfigError, match=r"file-x\.json is damaged"),
        serving(ModelRef(provider="simulated", model="demo"), folder),
    ):
        pass


@pytest.mark.parametrize("model", ["simulated/demo", pytest.param("shared", marks=pytest.mark.slow)])
def test_the_command_serves_until_killed_and_goes_on_after(folder: Path, connect, model: str) -> None:
    """As a process of its own: a job is killed with it, and done by the next."""

    def start() -> tuple[subprocess.Popen, str]:
        words = [sys.executable, "-m", "introspect.cli", "serve", model, "--port", "0", "--folder", str(folder)]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
        )
        line = process.stdout.readline()
        url = line.split(" at ")[1].split(",")[0]
        until(lambda: _alive(url), 120)
        return process, url

    process, url = start()
    client = connect(url)
    file = client.files.create(file=("x.jsonl", LESSONS), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=model.rpartition("/")[2], training_file=file.id, hyperparameters={"n_epochs": 50, "batch_size": 2}
    )
    if model == "shared":
        until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running", 120)
    process.kill()
    process.wait()
    process, url = start()
    try:
        client = connect(url)
        done = until(lambda: (j := client.fine_tuning.jobs.retrieve(job.id)).status == "succeeded" and j, 300)
        reply = client.chat.completions.create(
            model=done.fine_tuned_model, messages=[{"role": "user", "content": QUESTION}], temperature=0
        )
        assert reply.choices[0].message.content in ("A", "B")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130)


def _alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/models", verify=False).is_success
    except httpx.TransportError:
        return False
