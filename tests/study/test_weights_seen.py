"""Other weights under the same name are noticed, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from introspect.backend import ModelRef
from introspect.errors import StoreError
from introspect.store import Store
from introspect.study.weights_seen import check_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "model-00001-of-00002.safetensors").write_bytes(b"one")
    (made / "model-00002-of-00002.safetensors").write_bytes(b"two")
    (made / "config.json").write_text("{}")
    return made


def test_other_weights_in_the_same_folder_are_refused_and_the_former_taken_back(folder: Path, tmp_path: Path) -> None:
    model = ModelRef(provider="transformers", model=str(folder))
    shard = folder / "model-00002-of-00002.safetensors"
    with Store.open(tmp_path / "study.db") as store:
        check_weights(store, model)
        shard.write_bytes(b"TWO")
        os.utime(shard, ns=(1, 1))
        with pytest.raises(StoreError, match=r"no longer those that .* was made with; give another folder"):
            check_weights(store, model)
        check_weights(store, model.model_copy(update={"settings": {"dtype": "float32"}}))  # another model
        shard.write_bytes(b"two")
        check_weights(store, model)


def test_weights_that_were_only_copied_are_the_same(folder: Path, tmp_path: Path) -> None:
    model = ModelRef(provider="vllm", model=str(folder))
    with Store.open(tmp_path / "study.db") as store:
        check_weights(store, model)
        for file in folder.iterdir():
            os.utime(file, ns=(2, 2))
        check_weights(store, model)


@pytest.mark.parametrize(
    "model",
    [
        ModelRef(provider="transformers", model="owner/name"),
        ModelRef(provider="openai", model="gpt"),
        ModelRef(provider="transformers", model="/somewhere", revision="sha256:abc"),
    ],
)
def test_models_without_files_of_the_user_s_leave_no_note(model: ModelRef, tmp_path: Path) -> None:
    with Store.open(tmp_path / "study.db") as store:
        check_weights(store, model)
        assert "weights" not in store.manifest
