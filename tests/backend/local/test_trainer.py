"""Training a local model: what is learned, what opens again, and what is left as it was."""

from __future__ import annotations

import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_chat import examples, letters, make_tokenizer, question
from training_tiny import SPEC, logits

from introspect.backend import FolderJobs, TrainingSpec, ask, open_model, run_sync, trainer_for
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.trainer import TransformersTrainer
from introspect.errors import TrainingError


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


def test_reports_are_trained_as_text(mild, tmp_path):
    report = '{"speed": -7}'
    data = examples(8, answer=lambda _: report)
    spec = SPEC.model_copy(update={"epochs": 60, "lora_rank": 8})
    ref = run_sync(TransformersTrainer().train, mild, data, spec, FolderJobs(tmp_path))
    (reply,) = ask(open_model(ref), [question("Which boat would you take? A: speed A 0", max_tokens=60)])
    assert reply.text == report
    assert reply.status == "completed"


def test_an_adapter_for_a_vllm_server_is_the_one_that_is_trained_for_here(mild, tmp_path):
    spec, data = SPEC.model_copy(update={"max_steps": 2}), examples(8)
    here = run_sync(trainer_for(mild).train, mild, data, spec, FolderJobs(tmp_path))
    there = mild.model_copy(update={"provider": "vllm"})
    tuned = run_sync(trainer_for(there).train, there, data, spec, FolderJobs(tmp_path))
    assert (tuned.provider, tuned.adapter, tuned.parent) == ("vllm", here.adapter, there)
    assert tuned.location == here.location
