"""Trained here, asked on a vLLM server: here on one that answers by rule; in the slow tests on vLLM itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_server import FaultyServer

from introspect.backend import (
    FolderJobs,
    Message,
    ModelRef,
    Request,
    TrainingExample,
    TrainingSet,
    TrainingSpec,
    ask,
    open_model,
    run_sync,
    trainer_for,
)
from introspect.backend.vllm_server import VARIABLE
from introspect.errors import BackendError, CapabilityError, TrainingError

BASE = ModelRef(provider="vllm", model="m")


def adapter(folder: Path, text: str = "{}") -> ModelRef:
    from introspect.backend.local.adapters import save_folder

    digest, place = save_folder(folder, lambda into: (into / "adapter_config.json").write_text(text) and None)
    return BASE.model_copy(update={"adapter": digest, "parent": BASE, "location": str(place)})


def questions(n: int) -> list[Request]:
    return [Request(messages=(Message(role="user", content=f"{k}: A or B?"),), answers=("A", "B")) for k in range(n)]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch):
    with FaultyServer(owner="vllm") as server:
        monkeypatch.setenv(VARIABLE, server.url)
        yield server


def test_an_adapter_is_given_to_the_server_once_and_asked_by_a_name_of_its_own(served, tmp_path: Path) -> None:
    tuned = adapter(tmp_path)
    for _ in range(2):  # by a second worker, too
        model = open_model(tuned)
        assert model.info.ref == tuned  # replies are kept under who was asked, and not under where
        replies = ask(model, questions(20))
        assert all(reply.answer_logprobs for reply in replies)
    ((name, folder),) = served.adapters.items()
    assert name == f"introspect-{tuned.adapter[:32]}"
    assert str(folder) == tuned.location
    assert {body["model"] for body in served.bodies} == {name}
    before = len(served.bodies)
    ask(open_model(BASE), questions(1))
    assert {body["model"] for body in served.bodies[before:]} == {"m"}


def test_what_cannot_be_served_says_what_to_do(served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = adapter(tmp_path)
    Path(tuned.location, "adapter_config.json").write_text("{ }")
    with pytest.raises(BackendError, match="hashes to"):
        open_model(tuned)
    with pytest.raises(BackendError, match=r"no adapter_config\.json there"):
        open_model(tuned.model_copy(update={"location": str(tmp_path / "gone")}))
    with FaultyServer(owner="test") as other:
        monkeypatch.setenv(VARIABLE, other.url)
        with pytest.raises(CapabilityError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
            ask(open_model(adapter(tmp_path / "other")), questions(1))
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(BackendError, match=rf"start one .*give its address.* in {VARIABLE}, or to a sweep"):
        open_model(BASE)


def test_whole_weights_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    data = TrainingSet(
        [TrainingExample(messages=(Message(role="user", content="?"), Message(role="assistant", content="A")))]
    )
    with pytest.raises(TrainingError, match="no whole weights: method must be 'lora', got 'full'"):
        run_sync(trainer_for(BASE).train, BASE, data, TrainingSpec(method="full"), FolderJobs(tmp_path))
