"""What is handed to nnsight answers there as it does here: merged weights, and prompts as the model is given them."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_chat import examples, make_model

from introspect import ChatStyle, ChoiceProbe, ModelRef, TrialGenerator, catalogue, open_model
from introspect.backend import FolderJobs, TrainingSpec, run_sync, trainer_for
from introspect.bridges import export_white_box
from introspect.errors import BackendError

pytestmark = pytest.mark.slow
SPEC = TrainingSpec(epochs=4, batch_size=8, learning_rate=2e-2, lora_rank=4, schedule="constant")
CONTEXTS, STYLE = catalogue()[:2], ChatStyle()


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A tuned model, the trials, the folder that was written, and what our probe reads."""
    folder = make_model(tmp_path_factory.mktemp("long"), context=2048, sharp=1.0)
    base = ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})
    tuned = run_sync(trainer_for(base).train, base, examples(16), SPEC, FolderJobs(tmp_path_factory.mktemp("job")))
    trials = TrialGenerator().trials(CONTEXTS, 3, rng=0)
    out = tmp_path_factory.mktemp("white") / "box"
    prompts = export_white_box(tuned, out, trials, STYLE)
    return out, prompts, ChoiceProbe(STYLE).run(open_model(tuned), trials).logprob


def read(logits, prompt):
    return [float(logits.log_softmax(-1)[list(ids)].logsumexp(0)) for ids in prompt.answers.values()]


def test_plain_transformers_gives_the_probabilities_that_our_probe_reads(given):
    from transformers import AutoModelForCausalLM

    folder, prompts, ours = given
    model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    assert len(prompts) == 6
    for prompt, row in zip(prompts, ours, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt.token_ids])).logits[0, -1]
        assert read(logits, prompt) == pytest.approx(list(row), abs=1e-3)


def test_nnsight_gives_the_probabilities_that_our_probe_reads(given):
    nnsight = pytest.importorskip("nnsight", reason="nnsight is not installed: pip install nnsight==0.8.1")
    folder, prompts, ours = given
    model = nnsight.TransformersModel(str(folder / "model"), task="text-generation", device_map="cpu", dispatch=True)
    for prompt, row in zip(prompts[:2], ours[:2], strict=True):
        with model.trace(torch.tensor([prompt.token_ids])):
            logits = model.lm_head.output[0, -1].save()
        assert read(logits.detach(), prompt) == pytest.approx(list(row), abs=1e-3)


def test_every_line_holds_the_prompt_its_tokens_and_what_answers_begin_with(given):
    folder, prompts, _ = given
    lines = [json.loads(line) for line in (folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in lines] == [prompt.text for prompt in prompts]
    assert all(line["answers"]["A"] and not set(line["answers"]["A"]) & set(line["answers"]["B"]) for line in lines)
    assert CONTEXTS[0].question in lines[0]["text"]


def test_a_folder_in_use_is_left_alone(given):
    folder, _, _ = given
    trials = TrialGenerator().trials(CONTEXTS, 1, rng=0)
    with pytest.raises(BackendError, match="already there and not empty"):
        export_white_box(ModelRef(provider="transformers", model="x"), folder, trials, STYLE)
