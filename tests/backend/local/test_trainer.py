from __future__ import annotations

import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from introspect.backend import FolderJobs, ModelRef, TrainingSpec, ask, open_model, run_sync, trainer_for
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.trainer import TransformersTrainer
from introspect.errors import BackendError, TrainingError

from .conftest import examples, letters, make_tokenizer, question

SPEC = TrainingSpec(epochs=15, batch_size=8, learning_rate=2e-2, lora_rank=4, schedule="one-cycle", seed=3)


@pytest.fixture(scope="module")
def trained(mild, tmp_path_factory):
    losses = []
    folder = tmp_path_factory.mktemp("job")
    jobs = FolderJobs(folder, on_progress=lambda done, total, loss: losses.append((done, total, loss)))
    ref = run_sync(trainer_for(mild).train, mild, examples(32), SPEC, jobs)
    return ref, losses, folder


def asked(n):
    """The training prompts."""
    return [e.prompt for e in examples(n)], [e.answer for e in examples(n)]


def logits(ref, n=8):
    return [r.answer_logprobs["A"] - r.answer_logprobs["B"] for r in ask(open_model(ref), letters(n))]


def test_training_lowers_the_loss_and_teaches_the_answers(trained):
    from introspect.backend import Request

    ref, losses, _ = trained
    assert [done for done, _, _ in losses] == list(range(1, 61))
    assert {total for _, total, _ in losses} == {SPEC.steps(32)}
    assert losses[-1][2] < losses[0][2] / 4
    prompts, answers = asked(16)
    replies = ask(open_model(ref), [Request(messages=p, answers=("A", "B")) for p in prompts])
    assert [max(r.answer_logprobs, key=r.answer_logprobs.get) for r in replies] == answers
    written = ask(open_model(ref), [Request(messages=p, max_tokens=5) for p in prompts])
    assert [(r.text, r.status) for r in written] == [(a, "completed") for a in answers]


def test_the_tuned_model_is_a_reference_that_opens_in_another_process(trained, mild):
    import subprocess
    import sys

    ref, _, _ = trained
    assert ref.parent == mild
    assert ref.key != mild.key
    code = (
        "import sys\nfrom introspect.backend import ModelRef, Request, Message, ask, open_model\n"
        "ref = ModelRef.model_validate_json(sys.argv[1])\n"
        "q = Request.model_validate_json(sys.argv[2])\n"
        "print(ask(open_model(ref), [q])[0].answer_logprobs['A'])"
    )
    (request,) = letters(1)
    done = subprocess.run(
        [sys.executable, "-c", code, ref.model_dump_json(), request.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
    )
    (here,) = ask(open_model(ref), [request])
    assert float(done.stdout.split()[-1]) == pytest.approx(here.answer_logprobs["A"], abs=1e-4)


def test_base_and_adapters_take_turns_without_a_trace(trained, mild):
    ref, _, _ = trained
    base, tuned = logits(mild), logits(ref)
    assert base != pytest.approx(tuned, abs=0.1)
    for _ in range(3):
        assert logits(mild) == base
        assert logits(ref) == tuned


def test_a_merged_adapter_answers_like_one_that_stays_beside_the_weights(trained, mild):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ref, _, _ = trained
    model = AutoModelForCausalLM.from_pretrained(mild.model, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, ref.location).eval()
    codec = ChatCodec(make_tokenizer())
    for request, reply in zip(letters(3), ask(open_model(ref), letters(3)), strict=True):
        with torch.no_grad():
            logprobs = model(torch.tensor([codec.prompt(request)])).logits[0, -1].log_softmax(-1)
        ids = [codec.encode("A")[0], codec.encode(" A")[0]]
        assert reply.answer_logprobs["A"] == pytest.approx(float(logprobs[ids].logsumexp(0)), abs=1e-4)


def test_in_bfloat16_the_adapter_stays_beside_the_weights(trained, mild):
    ref, _, _ = trained
    half = {"settings": {"dtype": "bfloat16"}}
    base, tuned = mild.model_copy(update=half), ref.model_copy(update=half)
    first = logits(base)
    assert logits(tuned) == pytest.approx(logits(ref), abs=0.5)
    assert logits(base) == first


def test_the_same_seed_trains_the_same_adapter(mild, tmp_path):
    spec = SPEC.model_copy(update={"max_steps": 3})
    one, two, other = (
        run_sync(TransformersTrainer().train, mild, examples(16), s, FolderJobs(tmp_path / name))
        for name, s in (("one", spec), ("two", spec), ("other", spec.model_copy(update={"seed": 4})))
    )
    assert one.adapter == two.adapter != other.adapter


def test_training_leaves_the_users_random_streams_alone(mild, tmp_path):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    expected = random.random(), np.random.random(), float(torch.rand(1))  # noqa: NPY002
    random.seed(5), np.random.seed(5), torch.manual_seed(5)  # noqa: NPY002
    spec = SPEC.model_copy(update={"max_steps": 1})
    run_sync(TransformersTrainer().train, mild, examples(4), spec, FolderJobs(tmp_path))
    assert (random.random(), np.random.random(), float(torch.rand(1))) == expected  # noqa: NPY002


def test_a_finished_job_is_found_again_and_not_run(trained, mild):
    ref, _, folder = trained

    def never(*_):
        raise AssertionError("it trained again")

    again = run_sync(TransformersTrainer().train, mild, examples(32), SPEC, FolderJobs(folder, on_progress=never))
    assert again == ref


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
    straight = run_sync(TransformersTrainer().train, mild, data, spec, FolderJobs(tmp_path / "straight"))
    assert logits(resumed) == pytest.approx(logits(straight), abs=1e-3)
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


@pytest.mark.parametrize("together", [0, 3, 1.5, "two"])
def test_neighbours_that_no_batch_can_hold_are_refused(mild, tmp_path, together):
    spec = SPEC.model_copy(update={"extra": {"together": together}})
    with pytest.raises(TrainingError, match="divides the batch size, 8"):
        run_sync(TransformersTrainer().train, mild, examples(8), spec, FolderJobs(tmp_path))


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


def test_nothing_but_finished_weights_is_left_in_the_job_folder(trained):
    _, _, folder = trained
    assert sorted(p.name for p in folder.iterdir() if not p.is_dir()) == ["job.json"]
    (only,) = (p for p in folder.iterdir() if p.is_dir())
    assert sorted(p.name for p in only.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_second_training_goes_on_with_the_first_adapter(trained, mild, tmp_path):
    ref, _, _ = trained
    spec = SPEC.model_copy(update={"learning_rate": 1e-6, "max_steps": 1})
    second = run_sync(TransformersTrainer().train, ref, examples(8), spec, FolderJobs(tmp_path))
    assert second.parent == ref
    assert second.model == mild.model
    # A step too small to see: what the first training taught is still there.
    assert logits(second) == pytest.approx(logits(ref), abs=0.05)
    assert logits(second) != pytest.approx(logits(mild), abs=0.1)


def test_another_rank_in_one_lineage_is_refused(trained, tmp_path):
    ref, _, _ = trained
    spec = SPEC.model_copy(update={"lora_rank": 2})
    with pytest.raises(TrainingError, match="rank 4"):
        run_sync(TransformersTrainer().train, ref, examples(4), spec, FolderJobs(tmp_path))


def test_full_training_opens_again_and_can_be_followed_by_lora(mild, tmp_path):
    full = TrainingSpec(method="full", epochs=6, learning_rate=3e-3, schedule="constant")
    one = run_sync(TransformersTrainer().train, mild, examples(16), full, FolderJobs(tmp_path / "full"))
    assert logits(one) != pytest.approx(logits(mild), abs=0.05)
    lora = SPEC.model_copy(update={"learning_rate": 1e-6, "max_steps": 1})
    two = run_sync(TransformersTrainer().train, one, examples(8), lora, FolderJobs(tmp_path / "lora"))
    assert logits(two) == pytest.approx(logits(one), abs=0.05)
    assert (two.parent, one.parent) == (one, mild)


def test_the_loss_is_that_of_a_plain_pass_over_each_example(mild):
    """Sharing the beginning and computing few logits changes neither loss nor gradient."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from introspect.backend.local.batches import shared_prefix
    from introspect.backend.local.sft import AnswerTrainer, collate, columns

    codec = ChatCodec(make_tokenizer())
    tokens = [codec.example(e) for e in examples(5, answer=lambda i: ["A", "B", "speed 12", "7"][i % 4])]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(mild.model, dtype=torch.float64)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    trained = [p for p in model.parameters() if p.requires_grad]

    held = columns(tokens)
    rows = [{"input_ids": i, "labels": n} for i, n in zip(held["input_ids"], held["labels"], strict=True)]
    alone = SimpleNamespace(accelerator=SimpleNamespace(num_processes=1), last_loss=None)
    alone._parts = partial(AnswerTrainer._parts, alone)
    fast = AnswerTrainer.compute_loss(alone, model, collate(rows))
    fast_gradients = torch.autograd.grad(fast, trained)
    assert shared_prefix([t.prompt for t in tokens]) > 0, "the test is about sharing"

    total = torch.zeros((), dtype=torch.float64)
    for t in tokens:
        out = model(torch.tensor([t.ids])).logits[0, :-1].log_softmax(-1)
        where = torch.arange(len(t.prompt) - 1, len(t.ids) - 1)
        total = total - out[where, torch.tensor(t.answer)].sum()
    slow = total / sum(len(t.answer) for t in tokens)
    assert float(fast.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    for quick, plain in zip(fast_gradients, torch.autograd.grad(slow, trained), strict=True):
        torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-3)


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


def test_a_training_can_be_watched_and_ends_where_it_would_have(mild, tmp_path):
    spec = SPEC.model_copy(update={"epochs": 3, "extra": {"dropout": 0.1}})
    seen = []

    def look(done, planned, model):
        replies = ask(model, letters(4))
        seen.append((done, planned, [r.answer_logprobs["A"] - r.answer_logprobs["B"] for r in replies]))

    plain = run_sync(TransformersTrainer().train, mild, examples(32), spec, FolderJobs(tmp_path / "plain"))
    watched = TransformersTrainer().watched(5, look)
    ref = run_sync(watched.train, mild, examples(32), spec, FolderJobs(tmp_path / "watched"))
    assert [(done, planned) for done, planned, _ in seen] == [(0, 12), (5, 12), (10, 12), (12, 12)]
    assert seen[0][2] == pytest.approx(logits(mild, 4), abs=1e-3)
    assert seen[-1][2] == pytest.approx(logits(ref, 4), abs=1e-3)
    assert ref.adapter == plain.adapter


def test_lora_trains_on_the_copy_that_is_asked(mild, tmp_path, monkeypatch):
    from introspect.backend.local import bases

    logits(mild)  # it is in memory now

    def never(*_, **__):
        raise AssertionError("it was loaded again")

    monkeypatch.setattr(bases, "load_model", never)
    spec = SPEC.model_copy(update={"max_steps": 1})
    one = run_sync(TransformersTrainer().train, mild, examples(4), spec, FolderJobs(tmp_path / "one"))
    two = run_sync(TransformersTrainer().train, one, examples(4), spec, FolderJobs(tmp_path / "two"))
    assert len({tuple(logits(ref, 2)) for ref in (mild, one, two)}) == 3


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


def test_reports_are_trained_as_text(mild, tmp_path):
    report = '{"speed": -7}'
    data = examples(8, answer=lambda _: report)
    spec = SPEC.model_copy(update={"epochs": 60, "lora_rank": 8})
    ref = run_sync(TransformersTrainer().train, mild, data, spec, FolderJobs(tmp_path))
    (reply,) = ask(open_model(ref), [question("Which boat would you take? A: speed A 0", max_tokens=60)])
    assert reply.text == report
    assert reply.status == "completed"
