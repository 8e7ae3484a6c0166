"""Fine-tuning through OpenAI's interface: nothing is sent or paid for twice, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from openai_contract import Contract
from stepping import STEPS, Stepper

from introspect.backend import (
    FolderJobs,
    Message,
    ModelRef,
    Request,
    TrainingExample,
    TrainingSet,
    TrainingSpec,
    ask,
    open_model,
    run_sync,
    trainer_for,
)
from introspect.backend.openai import OpenAITrainer
from introspect.backend.openai import trainer as trainer_module
from introspect.errors import TrainingError
from introspect.serve import serving

SPEC = TrainingSpec(epochs=2, batch_size=4)
KEY = "sk-planted-abcdef0123456789"


def lessons(name: str, n: int = 12) -> TrainingSet:
    return TrainingSet([
        TrainingExample(messages=(
            Message(role="user", content=f"{name} {i}: A or B?"), Message(role="assistant", content="A")
        ))
        for i in range(n)
    ])  # fmt: skip


class Wire(httpx2.AsyncBaseTransport):
    """Between the client and the server: counts, breaks, and holds everything to OpenAI's description."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, break_at: Callable[[str, int, str], BaseException | int | None]
    ):
        self._inner, self._break = inner, break_at
        self.calls = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        what = f"{request.method} {request.url.path}"
        self.calls += 1
        for when in ("before", "after"):
            fault = self._break(what, self.calls, when)
            if when == "after":
                response = await self._inner.handle_async_request(request)
                await response.aread()
            if isinstance(fault, BaseException):
                raise fault
            if isinstance(fault, int):
                return httpx2.Response(
                    fault, json={"error": {"message": "later", "type": "x", "param": None, "code": None}}
                )
        return response


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Puts a `Wire` and the contract around every client that the trainer makes; ``break_at`` can be set."""
    made = trainer_module.make_client
    state: dict = {"break_at": lambda what, number, when: None, "contract": Contract(), "wires": []}

    def make(*args, **options):
        client = made(*args, **options)
        http = client._client
        wire = http._transport = Wire(http._transport, lambda *seen: state["break_at"](*seen))
        http._mounts = {}
        state["wires"].append(wire)
        hooks = state["contract"].asynchronous().event_hooks
        http.event_hooks = hooks
        return client

    monkeypatch.setattr(trainer_module, "make_client", make)
    return state


@pytest.fixture
def base(stepper: ModelRef, folder: Path) -> Iterator[ModelRef]:
    Stepper.gate.release(100_000)
    with serving(stepper, folder) as url:
        yield ModelRef(provider="openai", model="base", location=url)


def trained(base: ModelRef, data: TrainingSet, jobs: FolderJobs, spec: TrainingSpec = SPEC, **settings) -> ModelRef:
    return run_sync(OpenAITrainer(**{"poll": 0.05, **settings}).train, base, data, spec, jobs)


def counts(folder: Path) -> tuple[int, int]:
    """Files that were sent to be trained on, and jobs."""
    files = [json.loads(path.read_text()) for path in (folder / "files").glob("*.json")]
    return sum(f["purpose"] == "fine-tune" for f in files), len(list((folder / "jobs").iterdir()))


def test_a_hosted_model_is_trained_like_any_other(base: ModelRef, folder: Path, tmp_path: Path, wires: dict) -> None:
    seen: list[tuple] = []
    jobs = FolderJobs(tmp_path / "job", on_progress=lambda *step: seen.append(step))
    assert isinstance(trainer_for(base), OpenAITrainer)
    tuned = trained(base, lessons("plain"), jobs)
    assert (tuned.provider, tuned.model, tuned.parent, tuned.location) == ("openai", "base", base, base.location)
    assert tuned.adapter.startswith("ft:base:")
    assert tuned.key != base.key
    question = Request(messages=(Message(role="user", content="?"),))
    assert ask(open_model(tuned), [question])[0].text == f"{STEPS} steps of 12"
    assert ask(open_model(base), [question])[0].text == "plain"
    assert seen[-1][:2] == (STEPS, STEPS)
    assert [done for done, *_ in seen] == sorted({done for done, *_ in seen})
    state = jobs.recall()
    assert state["model"] == tuned.adapter

    trainer = OpenAITrainer()
    assert "Fine-tuning job started" in run_sync(trainer.events, base, state["job_id"])
    assert run_sync(trainer.checkpoints, base, state["job_id"]) == [tuned]
    with pytest.raises(TrainingError, match="already succeeded"):
        run_sync(trainer.cancel, base, state["job_id"])
    assert {status for *_, status in wires["contract"].seen} <= {200, 400}

    # A tuned model is a base like any other, and a lineage is kept.
    second = trained(tuned, lessons("second"), FolderJobs(tmp_path / "next"))
    assert second.parent == tuned
    assert counts(folder) == (2, 2)


def test_the_whole_spec_reaches_a_server_of_ours(base: ModelRef, folder: Path, tmp_path: Path) -> None:
    spec = TrainingSpec(
        epochs=60,
        batch_size=300,
        learning_rate=0.003,
        schedule="one-cycle",
        method="full",
        max_steps=7,
        seed=2**40,
        extra={"row_rate": 30.0, "suffix": "mine"},
    )
    tuned = trained(base, lessons("spec"), FolderJobs(tmp_path / "job"), spec)
    assert ":mine:" in tuned.adapter
    (state,) = (json.loads(path.read_text()) for path in (folder / "jobs").glob("*/state.json"))
    assert TrainingSpec.model_validate(state["spec"]) == spec.model_copy(update={"extra": {"row_rate": 30.0}})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (TrainingSpec(epochs=60), "60 epochs"),
        (TrainingSpec(batch_size=300), "batches of 300"),
        (TrainingSpec(max_steps=5), "max_steps"),
        (TrainingSpec(method="full"), '"full"'),
        (TrainingSpec(extra={"row_rate": 1.0}), "'row_rate'"),
    ],
)
def test_what_another_service_cannot_be_told_is_refused_before_anything_is_sent(
    base: ModelRef, folder: Path, tmp_path: Path, wires: dict, spec: TrainingSpec, words: str
) -> None:
    # A server that lists no models is not known to be ours.
    wires["break_at"] = lambda what, number, when: 404 if "/models/" in what and when == "before" else None
    with pytest.raises(TrainingError, match=re.escape(words)):
        trained(base, lessons("told"), FolderJobs(tmp_path / "job"), spec)
    assert counts(folder) == (0, 0)


class Killed(BaseException):
    pass


def test_wherever_it_is_killed_nothing_is_sent_or_created_twice(
    base: ModelRef, folder: Path, tmp_path: Path, wires: dict
) -> None:
    """Cut off before and after every single request, again and again, until it gets through."""
    for when in ("before", "after"):
        data, jobs = lessons(f"killed {when}"), FolderJobs(tmp_path / when)
        already = counts(folder)
        tuned, kills = None, 0
        while tuned is None:
            at = kills + 1
            wires["break_at"] = lambda what, number, now, at=at, when=when: (
                Killed() if number == at and now == when else None
            )
            try:
                tuned = trained(base, data, jobs)
            except Killed:
                kills += 1
        # Looking for the model, the file and the job, sending, creating. What was sent and only then cut off is found,
        # which spares the later attempt its sending.
        assert kills >= {"before": 5, "after": 4}[when]
        assert counts(folder) == (already[0] + 1, already[1] + 1)
        # Found again also where everything that was recorded is lost.
        wires["break_at"] = lambda *seen: None
        assert trained(base, data, FolderJobs(tmp_path / f"{when} again")) == tuned
        assert counts(folder) == (already[0] + 1, already[1] + 1)


def test_lost_answers_and_passing_errors_are_not_paid_for(
    base: ModelRef, folder: Path, tmp_path: Path, wires: dict
) -> None:
    """Every call fails twice: once on its way there (or by the server's error), once on its way back."""
    failed: dict[tuple, int] = {}

    def fault(what: str, number: int, when: str):
        for kind in (("before", 503), ("after", httpx2.ReadError("cut off"))):
            if kind[0] == when and failed.setdefault((what, when), 0) < 1:
                failed[what, when] += 1
                return kind[1]
        return None

    wires["break_at"] = fault
    trained(base, lessons("lost"), FolderJobs(tmp_path / "job"))
    assert ("POST /v1/fine_tuning/jobs", "after") in failed
    assert counts(folder) == (1, 1)


def test_it_waits_no_longer_than_the_deadline_and_goes_on_when_run_again(
    stepper: ModelRef, folder: Path, tmp_path: Path
) -> None:
    with serving(stepper, folder) as url:
        base, jobs = ModelRef(provider="openai", model="base", location=url), FolderJobs(tmp_path / "job")
        with pytest.raises(TrainingError, match="run again to go on waiting"):
            trained(base, lessons("late"), jobs, deadline=0.3)
        Stepper.gate.release(STEPS)
        assert trained(base, lessons("late"), jobs).adapter
    assert counts(folder) == (1, 1)


def test_a_job_that_came_to_nothing_is_begun_anew(stepper: ModelRef, folder: Path, tmp_path: Path) -> None:
    with serving(stepper, folder) as url:
        base, jobs = ModelRef(provider="openai", model="base", location=url), FolderJobs(tmp_path / "job")
        raised: list[BaseException] = []

        def first() -> None:
            try:
                asyncio.run(OpenAITrainer(poll=0.05).train(base, lessons("off"), SPEC, jobs))
            except TrainingError as error:
                raised.append(error)

        thread = threading.Thread(target=first)
        thread.start()
        end = time.monotonic() + 30
        while "job_id" not in jobs.recall() and time.monotonic() < end:
            time.sleep(0.02)
        assert run_sync(OpenAITrainer().cancel, base, jobs.recall()["job_id"]) == "cancelled"
        thread.join(30)
        assert "was cancelled" in str(raised[0])
        Stepper.gate.release(2 * STEPS)
        assert trained(base, lessons("off"), jobs).adapter
    assert counts(folder) == (1, 2)


CLOSED = "does not let this organisation fine-tune.*2026-05-07.*2027-01-06.*introspect serve.*Azure"
OPENAI, AZURE, LOCAL = "https://api.openai.com/v1", "https://mine.openai.azure.com/openai/v1", "http://127.0.0.1:1/v1"


@pytest.mark.parametrize(
    ("url", "status", "error", "said"),
    [
        (OPENAI, 403, {"message": "You are not allowed to create fine-tuning jobs"}, CLOSED),
        (OPENAI, 403, {"message": "Fine-tuning is winding down", "code": "permission_denied"}, CLOSED),
        (OPENAI, 400, {"message": "Self-serve fine-tuning is no longer available to your organization."}, CLOSED),
        (OPENAI, 410, {"message": "Gone"}, CLOSED),
        (OPENAI, 400, {"message": "Model gpt-4o-2024-05-13 is not available for fine-tuning or does not exist.",
                       "param": "model", "code": "model_not_available"}, r"retired.*transformers.*Azure"),
        (OPENAI, 404, {"message": "The model gpt-4 has been deprecated", "code": "model_not_found"}, "retired"),
        (OPENAI, 400, {"message": "Invalid file format. Line 3, key 'messages': missing", "param": "training_file",
                       "code": "invalid_training_file"}, "does not accept the training data.*Line 3"),
        (OPENAI, 429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, "Add credit"),
        (OPENAI, 429, {"message": "Fine-tuning job rate limit: 3 active jobs", "code": "rate_limit_exceeded"},
         "takes no further jobs now"),
        (OPENAI, 401, {"message": f"Incorrect API key provided: {KEY}"}, "does not accept the key"),
        (AZURE, 403, {"message": "Principal does not have access"}, "Cognitive Services OpenAI Contributor"),
        (LOCAL, 403, {"message": "no"}, "does not permit this key"),
        (LOCAL, 404, {"message": "Not Found"}, "has no fine-tuning.*introspect serve"),
        (LOCAL, 500, {"message": "boom"}, "answered 500 while creating the job"),
    ],
)  # fmt: skip
def test_what_a_service_says_becomes_a_sentence_that_helps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, status: int, error: dict, said: str
) -> None:
    body = {"error": {"type": "invalid_request_error", "param": None, "code": None, **error}}

    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if request.method == "POST" and path.endswith("/fine_tuning/jobs"):
            return httpx2.Response(status, json=body)
        if "/models/" in path:
            return httpx2.Response(404, json={"error": {"message": "no list"}})
        if path.endswith("/files") and request.method == "POST":
            kept = {"id": "file-1", "object": "file", "bytes": 1, "created_at": 1, "filename": "x",
                    "purpose": "fine-tune", "status": "processed"}  # fmt: skip
            return httpx2.Response(200, json=kept)
        return httpx2.Response(200, json={"object": "list", "data": [], "has_more": False})

    made = trainer_module.make_client

    def make(*args, **options):
        client = made(*args, **options)
        client._client._transport, client._client._mounts = httpx2.MockTransport(answer), {}
        return client

    monkeypatch.setattr(trainer_module, "make_client", make)
    base, jobs = ModelRef(provider="openai", model="gpt-4o", location=url), FolderJobs(tmp_path)
    with pytest.raises(TrainingError, match=f"(?s){said}") as caught:
        trained(base, lessons("no"), jobs, key=KEY, poll=0.01)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(KEY not in path.read_text() for path in tmp_path.rglob("*.json"))


def test_a_failed_job_says_why(stepper: ModelRef, folder: Path, tmp_path: Path, monkeypatch) -> None:
    async def broken(self, base, data, spec, jobs):
        raise TrainingError("the loss is not finite")

    monkeypatch.setattr(Stepper, "train", broken)
    with serving(stepper, folder) as url:
        base = ModelRef(provider="openai", model="base", location=url)
        with pytest.raises(
            TrainingError, match=r"ftjob-\w+ at http.* failed \(training_failed\): the loss is not finite"
        ):
            trained(base, lessons("bad"), FolderJobs(tmp_path / "job"))


def test_a_service_without_metadata_is_asked_without_it(
    base: ModelRef, folder: Path, tmp_path: Path, wires: dict
) -> None:
    refusal = {"error": {"message": "Unrecognized request argument supplied: metadata", "type": "x", "param": None,
                         "code": "unknown_parameter"}}  # fmt: skip

    class Plain(httpx2.AsyncBaseTransport):
        def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
            self._inner = inner

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if "/models/" in request.url.path:
                return httpx2.Response(404, json={"error": {**refusal["error"], "message": "no such route"}})
            if request.method == "POST" and b'"metadata"' in await request.aread():
                return httpx2.Response(400, json=refusal)
            return await self._inner.handle_async_request(request)

    made = trainer_module.make_client

    def make(*args, **options):
        client = made(*args, **options)
        client._client._transport = Plain(client._client._transport)
        return client

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "make_client", make)
        tuned = trained(base, lessons("plain service"), FolderJobs(tmp_path / "job"))
    (state,) = (json.loads(path.read_text()) for path in (folder / "jobs").glob("*/state.json"))
    assert state["job"]["metadata"] is None
    assert state["job"]["fine_tuned_model"] == tuned.adapter
