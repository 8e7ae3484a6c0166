"""A tuned model goes anywhere: merged or as an adapter, it answers elsewhere as it does here."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_chat import examples, letters

from introspect.backend import FolderJobs, ModelRef, TrainingSpec, ask, open_model, run_sync, trainer_for
from introspect.backend.local.export import push_model, save_model
from introspect.cli import main
from introspect.errors import BackendError

SPEC = TrainingSpec(epochs=4, batch_size=8, learning_rate=2e-2, lora_rank=4, schedule="constant")


@pytest.fixture(scope="module")
def tuned(mild, tmp_path_factory):
    return run_sync(trainer_for(mild).train, mild, examples(16), SPEC, FolderJobs(tmp_path_factory.mktemp("job")))


def difference(model, tokenizer, request):
    """Log-odds of A over B where the answer begins, by plain transformers."""
    chat = [{"role": m.role, "content": m.content} for m in request.messages]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        logprobs = model(ids).logits[0, -1].log_softmax(-1)
    return [
        float(logprobs[[tokenizer.encode(v, add_special_tokens=False)[0] for v in (a, f" {a}")]].logsumexp(0))
        for a in "AB"
    ]


def here(ref, n=4):
    return [[r.answer_logprobs["A"], r.answer_logprobs["B"]] for r in ask(open_model(ref), letters(n))]


def test_merged_weights_answer_the_same_in_plain_transformers(tuned, mild, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save_model(tuned, tmp_path / "merged", merged=True)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    there = [difference(model, tokenizer, request) for request in letters(4)]
    for ours, theirs in zip(here(tuned), there, strict=True):
        assert theirs == pytest.approx(ours, abs=1e-3)
    assert there[0] != pytest.approx(here(mild)[0], abs=0.05)
    again = ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})
    assert here(again) == [pytest.approx(row, abs=1e-3) for row in here(tuned)]


def test_an_adapter_names_a_base_that_peft_finds(tuned, tmp_path):
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    folder = save_model(tuned, tmp_path / "adapter")
    assert not (folder / "model.safetensors").exists()
    model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for ours, request in zip(here(tuned), letters(4), strict=True):
        assert difference(model, tokenizer, request) == pytest.approx(ours, abs=1e-3)


def test_half_precision_is_smaller_and_close(tuned, tmp_path):
    whole = save_model(tuned, tmp_path / "whole", merged=True)
    half = save_model(tuned, tmp_path / "half", merged=True, dtype="bfloat16")
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]


def test_nothing_is_written_over(tuned, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(BackendError, match="already there and not empty"):
        save_model(tuned, tmp_path / "mine")
    with pytest.raises(BackendError, match="not a model of the provider"):
        save_model(ModelRef(provider="openai", model="gpt"), tmp_path / "hosted")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_the_command_line_saves_what_a_reference_names(tuned, tmp_path, capsys):
    (tmp_path / "ref.json").write_text(tuned.model_dump_json())
    assert main(["models", "save", str(tmp_path / "ref.json"), str(tmp_path / "out"), "--merged"]) == 0
    assert "saved in" in capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / "introspect_model.json").read_text())
    assert (ModelRef.model_validate(kept["introspect"]), kept["merged"]) == (tuned, True)
    (tmp_path / "broken.json").write_text("{}")
    assert main(["models", "save", str(tmp_path / "broken.json"), str(tmp_path / "never")]) != 0


def test_a_push_uploads_the_folder_that_save_writes_to_a_private_repository(tuned, monkeypatch):
    """The hub itself is not asked: what is sent to its client is."""
    from pathlib import Path

    import huggingface_hub

    sent = {}

    class Hub:
        def create_repo(self, name, private, exist_ok):
            sent["repository"] = (name, private, exist_ok)

        def upload_folder(self, repo_id, folder_path, commit_message):
            sent["files"] = {p.name for p in Path(folder_path).iterdir()}
            return "commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert push_model(tuned, "me/mine") == "commit"
    assert sent["repository"] == ("me/mine", True, True)
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= sent["files"]


def test_a_hub_that_refuses_is_named_in_one_line(tuned, monkeypatch):
    import huggingface_hub

    class Closed:
        def create_repo(self, *_, **__):
            raise OSError("no network\nlong story")

    monkeypatch.setattr(huggingface_hub, "HfApi", Closed)
    with pytest.raises(BackendError, match=r"did not take 'me/mine': no network\. "):
        push_model(tuned, "me/mine")
