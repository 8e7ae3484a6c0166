"""An adapter that cannot be put on leaves the shared base as it was, to the last bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_chat import examples, letters
from training_tiny import SPEC

from introspect.backend import FolderJobs, ModelRef, TrainingSpec, ask, open_model, run_sync, trainer_for
from introspect.backend.local.adapters import folder_hash
from introspect.backend.local.bases import acquire, weights_of
from introspect.backend.local.trainer import TransformersTrainer
from introspect.errors import BackendError

SHORT = SPEC.model_copy(update={"epochs": 2})
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def base(mild: ModelRef, request: pytest.FixtureRequest) -> ModelRef:
    """Adapters are merged into the first and worn beside the second."""
    return mild.model_copy(update={"settings": {"dtype": request.param}})


@pytest.fixture(scope="module")
def good(base: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return run_sync(trainer_for(base).train, base, examples(16), SHORT, FolderJobs(tmp_path_factory.mktemp("job")))


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def wider(folder: Path) -> None:
    """The last of the weights has another shape, so that those before it are loaded first."""
    tensors = load_file(folder / WEIGHTS)
    last = sorted(tensors)[-1]
    save_file({**tensors, last: torch.ones(3, 3)}, folder / WEIGHTS)


def thinner(folder: Path) -> None:
    """Half of the weights are not there."""
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensors[name] for name in sorted(tensors)[::2]}, folder / WEIGHTS)


def elsewhere(folder: Path) -> None:
    """For modules of another architecture."""
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"] = ["c_attn"]
    (folder / "adapter_config.json").write_text(json.dumps(config))


BROKEN = {"cut": cut, "wider": wider, "thinner": thinner, "elsewhere": elsewhere}


def broken_ref(good: ModelRef, folder: Path, how: str) -> ModelRef:
    """The good adapter, damaged, under the hash that it has now."""
    assert good.location is not None
    shutil.copytree(good.location, folder)
    BROKEN[how](folder)
    return good.model_copy(update={"adapter": folder_hash(folder), "location": str(folder)})


def logits(ref: ModelRef) -> torch.Tensor:
    """Of the network itself, for one sequence of tokens."""
    weights = weights_of(ref)
    resident = acquire(weights, torch.device("cpu"), getattr(torch, str(ref.settings["dtype"])))
    with resident.wearing(weights) as model, torch.inference_mode():
        return model(torch.arange(3, 40)[None]).logits.clone()


def layers(ref: ModelRef) -> list[str]:
    resident = acquire(weights_of(ref), torch.device("cpu"), getattr(torch, str(ref.settings["dtype"])))
    return [type(module).__name__ for module in resident.model.modules()]


@pytest.mark.parametrize("how", BROKEN)
def test_asking_with_a_broken_adapter_leaves_the_base_bit_equal(base, good, tmp_path: Path, how: str) -> None:
    tuned, before, modules = logits(good), logits(base), layers(base)
    assert not torch.equal(before, tuned)
    broken = broken_ref(good, tmp_path / "broken", how)
    for _ in range(2):
        with pytest.raises(BackendError, match="cannot be put on its base model") as caught:
            ask(open_model(broken), letters(1))
        assert "\n" not in str(caught.value)
        assert layers(base) == modules
        assert torch.equal(logits(base), before)
    assert torch.equal(logits(good), tuned)
    assert torch.equal(logits(base), before)


@pytest.mark.parametrize("how", BROKEN)
def test_training_a_broken_adapter_on_leaves_the_base_bit_equal(base, good, tmp_path: Path, how: str) -> None:
    tuned, before, modules = logits(good), logits(base), layers(base)
    broken = broken_ref(good, tmp_path / "broken", how)
    with pytest.raises(BackendError, match="cannot be put on its base model"):
        run_sync(TransformersTrainer().train, broken, examples(16), SHORT, FolderJobs(tmp_path / "job"))
    assert layers(base) == modules
    assert torch.equal(logits(base), before)
    assert torch.equal(logits(good), tuned)


def test_lora_that_fits_only_some_of_the_modules_leaves_none_of_its_layers(base, tmp_path: Path) -> None:
    before, modules = logits(base), layers(base)
    spec = TrainingSpec(epochs=1, batch_size=8, extra={"target_modules": ["q_proj", "input_layernorm"]})
    with pytest.raises(Exception, match="not supported"):
        run_sync(TransformersTrainer().train, base, examples(16), spec, FolderJobs(tmp_path))
    assert layers(base) == modules
    assert torch.equal(logits(base), before)


def test_a_merge_that_breaks_off_is_taken_back(base, good, monkeypatch: pytest.MonkeyPatch) -> None:
    if base.settings["dtype"] != "float32":
        pytest.skip("merged in float32 only")
    from peft.tuners.lora.layer import Linear

    tuned, before, modules = logits(good), logits(base), layers(base)
    merge, merged = Linear.merge, []

    def breaking(self, *args, **kwargs):
        if len(merged) == 5:
            raise MemoryError("no room left")
        merged.append(self)
        return merge(self, *args, **kwargs)

    logits(base)
    with monkeypatch.context() as patch:
        patch.setattr(Linear, "merge", breaking)
        with pytest.raises(MemoryError):
            logits(good)
    assert layers(base) == modules
    assert torch.equal(logits(base), before)
    assert torch.equal(logits(good), tuned)


def test_what_is_put_on_half_is_taken_off_whole() -> None:
    from introspect.backend.local.adapters import intact

    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()).eval()
    inner, weight = network[0], network[0].weight

    def change() -> None:
        with intact(network):
            network[0] = torch.nn.Sequential(inner)
            inner.weight = torch.nn.Parameter(torch.zeros(2, 2))
            network.peft_config = {}
            network.train()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        change()
    assert network[0] is inner
    assert inner.weight is weight
    assert not network.training
    assert not hasattr(network, "peft_config")
