"""Settings of a training: those that leave layers, memory and processes to choose, and those that are refused."""

from __future__ import annotations

import pytest
import torch
from tiny_chat import examples
from training_tiny import SPEC, logits

from introspect.backend import FolderJobs, ModelRef, run_sync
from introspect.backend.local.trainer import TransformersTrainer
from introspect.errors import BackendError, TrainingError


@pytest.mark.parametrize("together", [0, 3, 1.5, "two"])
def test_neighbours_that_no_batch_can_hold_are_refused(mild, tmp_path, together):
    spec = SPEC.model_copy(update={"extra": {"together": together}})
    with pytest.raises(TrainingError, match="divides the batch size, 8"):
        run_sync(TransformersTrainer().train, mild, examples(8), spec, FolderJobs(tmp_path))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SPEC.model_copy(update={"extra": {"layerz": 1}}), "layerz"),
        (SPEC.model_copy(update={"extra": {"target_modules": ["nothing"]}}), "nothing"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(mild, tmp_path, spec, words):
    with pytest.raises(TrainingError, match=words):
        run_sync(TransformersTrainer().train, mild, examples(4), spec, FolderJobs(tmp_path))


def test_layers_can_be_left_as_they_are(mild, tmp_path):
    from safetensors.torch import load_file

    spec = SPEC.model_copy(update={"max_steps": 1, "extra": {"layers": [1]}})
    ref = run_sync(TransformersTrainer().train, mild, examples(4), spec, FolderJobs(tmp_path))
    names = load_file(f"{ref.location}/adapter_model.safetensors")
    assert names
    assert all(".layers.1." in name for name in names)


@pytest.mark.parametrize(("asked", "changed"), [("first half", {0}), ("second half", {1})])
def test_half_of_the_layers_can_be_left_as_they_are(mild, tmp_path, asked, changed):
    from safetensors.torch import load_file

    spec = SPEC.model_copy(update={"max_steps": 1, "extra": {"layers": asked}})
    ref = run_sync(TransformersTrainer().train, mild, examples(4), spec, FolderJobs(tmp_path))
    names = load_file(f"{ref.location}/adapter_model.safetensors")
    assert {int(name.split(".layers.")[1].split(".")[0]) for name in names} == changed


def test_a_batch_that_does_not_fit_is_halved_and_makes_the_same_step(mild, tmp_path, monkeypatch):
    from introspect.backend.local import sft

    spec = SPEC.model_copy(update={"max_steps": 3})
    whole = run_sync(TransformersTrainer().train, mild, examples(16), spec, FolderJobs(tmp_path / "whole"))
    run = sft.run_prompts

    def small_memory(model, rows, **kwargs):
        if len(rows) > 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")
        return run(model, rows, **kwargs)

    monkeypatch.setattr(sft, "run_prompts", small_memory)
    jobs = FolderJobs(tmp_path / "halved")
    with pytest.warns(UserWarning, match="out of memory with 8 examples at once: now 4 at once"):
        halved = run_sync(TransformersTrainer().train, mild, examples(16), spec, jobs)
    assert logits(halved) == pytest.approx(logits(whole), abs=1e-3)
    assert [said.split(":")[0] for said in jobs.recall()["warnings"]] == [
        "out of memory with 8 examples at once", "out of memory with 4 examples at once"
    ]  # fmt: skip


def test_a_memory_that_holds_no_example_is_an_error_that_says_what_to_lower(mild, tmp_path, monkeypatch):
    from introspect.backend.local import sft

    def no_memory(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    before = logits(mild)
    monkeypatch.setattr(sft, "run_prompts", no_memory)
    with (
        pytest.warns(UserWarning, match="examples at once"),
        pytest.raises(TrainingError, match=r"1 example\(s\) at once.*lower lora_rank"),
    ):
        run_sync(TransformersTrainer().train, mild, examples(8), SPEC, FolderJobs(tmp_path))
    monkeypatch.undo()
    assert logits(mild) == before


def test_a_loss_that_is_no_number_stops_and_says_what_to_lower(mild, tmp_path):
    before = logits(mild)
    spec = SPEC.model_copy(update={"method": "full", "learning_rate": 1e30, "schedule": "constant"})
    with pytest.raises(TrainingError, match=r"the loss is nan after \d+ of 60 steps. Lower learning_rate .*2.5e\+29"):
        run_sync(TransformersTrainer().train, mild, examples(32), spec, FolderJobs(tmp_path))
    assert logits(mild) == before
    assert not [p for p in tmp_path.rglob("*.safetensors") if "checkpoint" not in str(p)]


@pytest.mark.slow
def test_two_processes_train_the_model_that_one_trains(mild, tmp_path):
    steps = []
    jobs = FolderJobs(tmp_path / "two", on_progress=lambda done, total, loss: steps.append((done, total, loss)))
    spec = SPEC.model_copy(update={"epochs": 2})
    two = run_sync(TransformersTrainer(device="cpu", processes=2).train, mild, examples(32), spec, jobs)
    one = run_sync(TransformersTrainer(device="cpu").train, mild, examples(32), spec, FolderJobs(tmp_path / "one"))
    assert logits(two) == pytest.approx(logits(one), abs=1e-2)
    assert [step[:2] for step in steps] == [(done, 8) for done in range(1, 9)]
    losses = FolderJobs(tmp_path / "one").recall()["losses"]
    assert [loss for *_, loss in steps] == pytest.approx(losses, abs=1e-3)
    assert jobs.recall()["losses"] == pytest.approx(losses, abs=1e-3)
    assert two.parent == mild


def test_a_batch_that_processes_cannot_share_is_refused(mild, tmp_path):
    trainer = TransformersTrainer(device="cpu", processes=3)
    with pytest.raises(TrainingError, match="batch of 8 cannot be shared evenly by 3"):
        run_sync(trainer.train, mild, examples(8), SPEC, FolderJobs(tmp_path))


def test_checking_names_the_example_that_would_not_train(mild):
    data = examples(3, answer=lambda i: "A" if i < 2 else "z" * 300)
    with pytest.raises(TrainingError, match="example 3"):
        TransformersTrainer().check(mild, data)


def test_an_unknown_base_is_refused_before_training(tmp_path):
    base = ModelRef(provider="transformers", model=str(tmp_path / "nowhere"))
    with pytest.raises(BackendError, match="nowhere"):
        run_sync(TransformersTrainer().train, base, examples(4), SPEC, FolderJobs(tmp_path / "jobs"))
