"""A script written for OpenAI's fine-tuning, run on open weights by another base URL alone."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import openai
import pytest
from openai_contract import Contract

from introspect.backend import ModelRef, TrainingSpec
from introspect.serve import serving

pytestmark = pytest.mark.slow  # importing transformers, peft and trl takes longer than all else here


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A chat model of random weights, as the tests of local models have it."""
    path = Path(__file__).parents[1] / "backend" / "local" / "tiny_chat.py"
    spec = importlib.util.spec_from_file_location("tiny_models", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    folder = made.make_model(tmp_path_factory.mktemp("models") / "tiny")
    return ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})


def fine_tune(client: openai.OpenAI, lessons: bytes) -> str:
    """Nothing in it knows of this library."""
    file = client.files.create(file=("lessons.jsonl", lessons), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, hyperparameters={"n_epochs": 4, "batch_size": 4}, suffix="chess"
    )
    end = time.monotonic() + 300
    while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert job.status == "succeeded", job.error
    events = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=100)]
    assert any("Step 12/12" in event for event in events)
    return job.fine_tuned_model


def shares(client: openai.OpenAI, model: str) -> dict[str, float]:
    """Log-probabilities of what the answer may begin with."""
    reply = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Which boat? A: speed 12, B: speed 15"}],
        temperature=0,
        max_tokens=1,
        logprobs=True,
        top_logprobs=20,
    )
    return {entry.token: entry.logprob for entry in reply.choices[0].logprobs.content[0].top_logprobs}


def test_open_weights_are_tuned_and_served_under_their_new_name_also_after_a_restart(
    tiny: ModelRef, tmp_path: Path, connect, contract: Contract
) -> None:
    example = {
        "messages": [
            {"role": "user", "content": "Which boat? A: speed 12, B: speed 15"},
            {"role": "assistant", "content": "B"},
        ]
    }
    lessons = (json.dumps(example) + "\n").encode() * 12
    spec = TrainingSpec(learning_rate=0.05)
    with serving(tiny, tmp_path, name="tiny", spec=spec) as url:
        client = connect(url)
        before = shares(client, "tiny")
        tuned = fine_tune(client, lessons)
        assert tuned.startswith("ft:tiny:introspect:chess:")
        after = shares(client, tuned)
        assert after["B"] > before.get("B", min(before.values())) + 1.0  # it learned
        assert shares(client, "tiny") == before
    with serving(tiny, tmp_path, name="tiny", spec=spec) as url:
        assert shares(connect(url), tuned) == pytest.approx(after, abs=1e-4)
    assert {status for *_, status in contract.seen} == {200}
