"""A training that was killed or stopped goes on where it was, and only where it was its own."""

from __future__ import annotations

import pytest
from tiny_chat import examples, make_tokenizer
from training_tiny import SPEC, logits

from introspect.backend import FolderJobs, open_model, run_sync
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.trainer import TransformersTrainer
from introspect.errors import BackendError

KILLED = """
import os, signal, sys
from introspect.backend import FolderJobs, ModelRef, TrainingSet, TrainingSpec, run_sync
from introspect.backend.local.trainer import TransformersTrainer

def on_progress(done, total, loss):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

base, spec = ModelRef.model_validate_json(sys.argv[1]), TrainingSpec.model_validate_json(sys.argv[2])
jobs = FolderJobs(sys.argv[4], on_progress)
run_sync(TransformersTrainer(checkpoint_every=0).train, base, TrainingSet.load(sys.argv[3]), spec, jobs)
"""


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_killed_training_goes_on_and_ends_where_it_would_have(mild, tmp_path, method):
    import subprocess
    import sys

    data, job = examples(24), tmp_path / "job"
    spec = SPEC.model_copy(update={"epochs": 4, "method": method, "learning_rate": 5e-3})  # killed in the third epoch
    data.save(tmp_path / "data.jsonl")
    command = [sys.executable, "-c", KILLED, mild.model_dump_json(), spec.model_dump_json()]
    killed = subprocess.run([*command, str(tmp_path / "data.jsonl"), str(job)], check=False)
    assert killed.returncode == -9
    steps = []
    jobs = FolderJobs(job, on_progress=lambda done, total, loss: steps.append((done, loss)))
    resumed = run_sync(TransformersTrainer().train, mild, data, spec, jobs)
    assert [done for done, _ in steps] == list(range(7, 13))
    alone = FolderJobs(tmp_path / "straight")
    straight = run_sync(TransformersTrainer().train, mild, data, spec, alone)
    assert logits(resumed) == pytest.approx(logits(straight), abs=1e-3)
    # What is told of the training is told of all of it.
    assert len(jobs.recall()["losses"]) == 12
    assert jobs.recall()["losses"] == pytest.approx(alone.recall()["losses"], abs=1e-3)
    assert sorted(p.suffix for p in job.iterdir() if p.is_file()) == [".json"]
    assert len([p for p in job.iterdir() if p.is_dir()]) == 1


def test_neighbours_stay_in_one_batch_in_a_new_order_every_epoch_and_after_a_stop(mild, tmp_path, monkeypatch):
    from introspect.backend.local import sft

    class Stopped(Exception):
        pass

    def stop(done, total, loss):
        if done == 4:
            raise Stopped

    seen, data = [], examples(12)
    codec = ChatCodec(make_tokenizer())
    number = {tuple(codec.example(example).ids): at for at, example in enumerate(data)}
    kept = sft.collate
    monkeypatch.setattr(
        sft, "collate", lambda rows: seen.append([number[tuple(r["input_ids"])] for r in rows]) or kept(rows)
    )
    spec = SPEC.model_copy(update={"epochs": 3, "batch_size": 4, "extra": {"together": 2}})
    trainer = TransformersTrainer(checkpoint_every=0)
    straight = run_sync(trainer.train, mild, data, spec, FolderJobs(tmp_path / "straight"))
    whole, epochs = list(seen), [sorted(at for batch in seen[k : k + 3] for at in batch) for k in (0, 3, 6)]
    assert epochs == [list(range(12))] * 3
    assert all(b == a + 1 and a % 2 == 0 for batch in whole for a, b in zip(batch[::2], batch[1::2], strict=True))
    assert whole[:3] != whole[3:6]
    seen.clear()
    with pytest.raises(Stopped):
        run_sync(trainer.train, mild, data, spec, FolderJobs(tmp_path / "cut", on_progress=stop))
    resumed = run_sync(trainer.train, mild, data, spec, FolderJobs(tmp_path / "cut"))
    assert logits(resumed) == pytest.approx(logits(straight), abs=1e-3)


def test_the_checkpoint_of_another_job_is_not_gone_on_with(mild, tmp_path):
    class Stopped(Exception):
        pass

    def stop(done, total, loss):
        if done == 3:
            raise Stopped

    trainer = TransformersTrainer(checkpoint_every=0)
    with pytest.raises(Stopped):
        run_sync(trainer.train, mild, examples(24), SPEC, FolderJobs(tmp_path, on_progress=stop))
    steps = []
    jobs = FolderJobs(tmp_path, on_progress=lambda done, total, loss: steps.append(done))
    other = SPEC.model_copy(update={"seed": 9, "max_steps": 4})
    run_sync(trainer.train, mild, examples(24), other, jobs)
    assert steps == [1, 2, 3, 4]


def test_a_damaged_result_is_trained_anew(mild, tmp_path):
    spec = SPEC.model_copy(update={"max_steps": 2})
    first = run_sync(TransformersTrainer().train, mild, examples(8), spec, FolderJobs(tmp_path))
    weights = next(p for p in tmp_path.rglob("adapter_model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BackendError, match="hashes to"):
        open_model(first)
    again = run_sync(TransformersTrainer().train, mild, examples(8), spec, FolderJobs(tmp_path))
    assert again.adapter == first.adapter
    assert open_model(again).info.ref == again
