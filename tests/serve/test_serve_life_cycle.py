"""The official SDK's client walks through fine-tuning as a script written for OpenAI does."""

from __future__ import annotations

import json
import time

import openai
import pytest
from openai_contract import Contract
from serve_lessons import LESSONS, QUESTION, jsonl, lesson


def finished(client: openai.OpenAI, job_id: str, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < end, job
        time.sleep(0.05)
    return job


def ask(client: openai.OpenAI, model: str, prompt: str = QUESTION) -> str:
    reply = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=4
    )
    return reply.choices[0].message.content


def test_the_whole_life_of_a_fine_tuned_model(client: openai.OpenAI, contract: Contract) -> None:
    before = ask(client, "shared")
    other = "A" if before == "B" else "B"
    data = jsonl(*(
        {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": other}]}
        for _ in range(20)
    ))  # fmt: skip
    file = client.files.create(file=("../../lessons.jsonl", data), purpose="fine-tune")
    assert (file.filename, file.bytes, file.purpose) == ("lessons.jsonl", len(data), "fine-tune")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).content == data
    assert file.id in {each.id for each in client.files.list(purpose="fine-tune")}

    job = client.fine_tuning.jobs.create(
        model="shared",
        training_file=file.id,
        suffix="My Model",
        seed=3,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 10, "batch_size": 20}}},
        metadata={"study": "life"},
    )
    assert job.status == "validating_files"
    job = finished(client, job.id)
    assert job.status == "succeeded", job.error
    assert job.seed == 3
    assert job.method.supervised.hyperparameters.n_epochs == 10
    assert job.fine_tuned_model.startswith("ft:shared:introspect:my-model:")
    assert job.finished_at >= job.created_at

    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))  # follows the pages
    said = [event.message for event in reversed(events)]
    assert said[0].startswith("Created fine-tuning job")
    assert said[-1] == "The job has successfully completed"
    losses = [e.data["train_loss"] for e in reversed(events) if e.type == "metrics"]
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert checkpoint.fine_tuned_model_checkpoint == job.fine_tuned_model
    assert checkpoint.step_number == 10
    assert client.files.content(job.result_files[0]).text.startswith("step,train_loss\n1,")

    assert job.fine_tuned_model in {model.id for model in client.models.list()}
    assert client.models.retrieve(job.fine_tuned_model).owned_by == "introspect"
    assert ask(client, job.fine_tuned_model) == other
    assert ask(client, "shared") == before
    assert [j.id for j in client.fine_tuning.jobs.list(metadata={"study": "life"})] == [job.id]
    assert list(client.fine_tuning.jobs.list(metadata={"study": "none"})) == []

    # A tuned model is a base for the next training.
    again = finished(client, client.fine_tuning.jobs.create(
        model=job.fine_tuned_model, training_file=file.id, hyperparameters={"n_epochs": 1}
    ).id)  # fmt: skip
    assert again.fine_tuned_model.startswith("ft:shared:introspect::")

    assert client.files.delete(file.id).deleted
    assert client.models.delete(again.fine_tuned_model).deleted
    with pytest.raises(openai.NotFoundError):
        ask(client, again.fine_tuned_model)
    assert {status for _, _, status in contract.seen} == {200, 404}


def test_a_file_that_cannot_be_trained_on_fails_the_job_and_says_where(client: openai.OpenAI) -> None:
    for bad, words in [
        (lesson(1, "perhaps"), "example 2"),
        ({"prompt": "A or B?", "completion": "A"}, "line 2"),
        ({"messages": [{"role": "user", "content": "A or B?"}]}, "line 2"),
        ({"messages": [*lesson(1)["messages"], {"role": "tool", "content": "x"}]}, "line 2"),
    ]:
        file = client.files.create(file=("bad.jsonl", jsonl(lesson(0), bad)), purpose="fine-tune")
        job = finished(client, client.fine_tuning.jobs.create(model="shared", training_file=file.id).id)
        assert job.status == "failed"
        assert job.error.code == "invalid_training_file"
        assert words in job.error.message
        assert client.fine_tuning.jobs.checkpoints.list(job.id).data == []


def test_what_a_job_cannot_have_is_refused_before_it_is_made(client: openai.OpenAI) -> None:
    file = client.files.create(file=("lessons.jsonl", LESSONS), purpose="fine-tune")
    batch = client.files.create(file=("batch.jsonl", LESSONS), purpose="batch")
    good = {"model": "shared", "training_file": file.id}
    for wrong, words in [
        ({"training_file": "file-none"}, "no file"),
        ({"training_file": "../../etc/passwd"}, "no file"),
        ({"training_file": batch.id}, "uploaded for 'batch'"),
        ({"validation_file": "file-none"}, "no file"),
        ({"method": {"type": "dpo"}}, "supervised"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations"),
        ({"metadata": {"introspect_training": '{"epoch": 3}'}}, "training settings"),
        ({"metadata": {"introspect_training": '{"epochs": 3}'}, "hyperparameters": {"n_epochs": 2}}, "epochs is 2"),
    ]:
        with pytest.raises(openai.BadRequestError, match=words):
            client.fine_tuning.jobs.create(**{**good, **wrong})
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.fine_tuning.jobs.create(**{**good, "model": "gpt-4o-mini"})


def test_a_batch_is_answered_line_by_line(client: openai.OpenAI) -> None:
    def line(name: str, model: str = "shared", content: str = QUESTION) -> dict:
        body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 4}
        return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}

    data = jsonl(*(line(f"r{i}") for i in range(70)), line("no-model", "gpt-4o"), line("too-long", content="A " * 90))
    file = client.files.create(file=("batch.jsonl", data), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"study": "s"}
    )
    assert batch.status == "validating"
    batch = over(client, batch.id)
    assert batch.status == "completed"
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (72, 70, 2)
    told = [json.loads(text) for text in client.files.content(batch.output_file_id).text.splitlines()]
    assert {each["custom_id"] for each in told} == {f"r{i}" for i in range(70)}
    expected = ask(client, "shared")
    assert {each["response"]["body"]["choices"][0]["message"]["content"] for each in told} == {expected}
    wrong = [json.loads(text) for text in client.files.content(batch.error_file_id).text.splitlines()]
    assert {each["custom_id"]: each["response"]["status_code"] for each in wrong} == {"no-model": 404, "too-long": 400}
    assert batch.id in {each.id for each in client.batches.list(limit=1)}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def over(client: openai.OpenAI, batch_id: str, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status not in ("completed", "failed", "cancelled"):
        assert time.monotonic() < end, batch
        time.sleep(0.02)
    return batch


def test_a_batch_that_is_not_one_fails_and_names_its_lines(client: openai.OpenAI) -> None:
    good = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}}
    lines = [good, good, {**good, "custom_id": "b", "method": "GET"}, {**good, "custom_id": "c", "url": "/v1/evals"}]
    file = client.files.create(file=("batch.jsonl", jsonl(*lines, {"custom_id": 3})), purpose="batch")
    made = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    batch = over(client, made.id)
    assert batch.status == "failed"
    assert [(error.line, error.code) for error in batch.errors.data] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_method"),
        (4, "invalid_url"),
        (5, "missing_required_parameter"),
    ]
