"""The hosted path against real servers, with a small chat model: llama.cpp always, vLLM among the slow tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from introspect.backend import Message, ModelRef, Request, TrainingSpec, ask, open_model, run_sync
from introspect.backend.models import model_ref
from introspect.backend.openai import Address, OpenAIBackend, discover, load_lora, tokenize
from introspect.decision import (
    Attribute,
    ChatStyle,
    DecisionScenario,
    PreferenceSampler,
    ScenarioSet,
    TrialGenerator,
)
from introspect.errors import CapabilityError
from introspect.measure import AccuracyMetric, ChoiceModel, ChoiceProbe, SelfReportProbe
from introspect.measure.ask import request_of
from introspect.store import Store
from introspect.training import FineTuner, StoredReplies


@pytest.fixture(scope="module")
def flats() -> ScenarioSet:
    rent = Attribute(name="rent", unit="euro", low=400, high=1400, step=100)
    rooms = Attribute(name="rooms", low=1, high=6, step=1)
    return ScenarioSet(
        [
            DecisionScenario(id=name, chooser=name, item="flat", question="Which flat?", attributes=[rent, rooms])
            for name in ("Ines", "Omar")
        ]
    )


def question(text: str, **settings: object) -> Request:
    return Request(messages=(Message(role="user", content=text),), **settings)  # type: ignore[arg-type]


def test_a_whole_run_measures_asks_and_scores(real_server: ModelRef, flats: ScenarioSet, tmp_path: Path) -> None:
    style = ChatStyle()
    trials = TrialGenerator().trials(flats, 6, rng=1)
    with Store.open(tmp_path / "study.db") as store:
        model = open_model(real_server, cache=StoredReplies(store), concurrency=8)
        choices = ChoiceProbe(style).run(model, trials)
        weights = ChoiceModel().fit(choices)
        reports = SelfReportProbe(style, k=1, structured=True).run(model, flats, rng=2)
        accuracy = AccuracyMetric().score(reports, weights, rng=3)
        kept = store.n_replies()
        # Choices with log-probabilities, and reports that hold every weight.
        assert np.isfinite(choices.logprob).all(axis=1).mean() >= 0.75
        assert set(reports.status) == {"answered"}
        assert kept == 12 + 2
        # The same again, from the store alone.
        again = open_model(real_server, cache=StoredReplies(store))
        assert ChoiceProbe(style).run(again, trials).chosen.tolist() == choices.chosen.tolist()
        assert store.n_replies() == kept
    assert accuracy is not None
    run_sync(model.aclose)


def test_eight_requests_at_once_get_what_they_get_alone(real_server: ModelRef) -> None:
    asked = [question(f"Name the number {k}.", answers=("A", "B"), max_tokens=4) for k in range(8)]
    together = ask(OpenAIBackend(real_server, concurrency=8), asked)
    alone = ask(OpenAIBackend(real_server, concurrency=1), asked[:2])
    assert {reply.status for reply in together} <= {"completed", "truncated"}
    for one, other in zip(together, alone, strict=False):
        # Batches change the rounding; the note on real servers asks for a tolerance.
        assert one.mass_outside == pytest.approx(other.mass_outside, abs=0.05)


def test_a_schema_is_enforced(real_server: ModelRef) -> None:
    schema = {"type": "object", "properties": {"zq": {"type": "integer"}}, "required": ["zq"]}
    (reply,) = ask(OpenAIBackend(real_server), [question("Tell me a joke.", json_schema=schema, max_tokens=96)])
    assert set(json.loads(reply.text)) == {"zq"}


def test_the_probe_sees_what_the_note_on_real_servers_says(real_server: ModelRef) -> None:
    model = OpenAIBackend(real_server)
    seen = run_sync(model.probe)
    assert (seen.answer_logprobs, seen.seed, seen.n, seen.json_schema) == (True,) * 4
    assert seen.calls <= 14


def test_a_server_tells_about_itself(real_server: ModelRef) -> None:
    address = Address.of(real_server.location)
    server = run_sync(discover, address)
    if server.dialect == "llama.cpp":
        assert (server.context_length, server.slots) == (1024, 8)
    else:
        assert (server.dialect, server.context_length) == ("vllm", 1024)
    assert server.models
    assert len(run_sync(tokenize, address, "Hello world", None, real_server.model)) >= 2


@pytest.mark.slow
def test_a_running_vllm_is_given_an_adapter_and_answers_with_it(vllm_server: ModelRef, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    name = "base_model.model.model.layers.{}.self_attn.o_proj.lora_{}.weight"
    save_file(
        {name.format(k, "A"): torch.randn(8, 576) * 0.2 for k in range(30)}
        | {name.format(k, "B"): torch.randn(576, 8) * 0.2 for k in range(30)},
        tmp_path / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 8, "target_modules": ["o_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "smollm2"}))
    address = Address.of(vllm_server.location)
    run_sync(load_lora, address, "ft:smollm2:noise", str(tmp_path))
    tuned = vllm_server.model_copy(update={"adapter": "ft:smollm2:noise"})
    asked = question("Which is larger, A: 3 or B: 4? Reply with one letter.", answers=("A", "B"), max_tokens=4)
    (own,), (other,) = (ask(OpenAIBackend(ref), [asked]) for ref in (vllm_server, tuned))
    assert own.answer_logprobs != other.answer_logprobs
    with pytest.raises(CapabilityError, match="did not load the adapter"):
        run_sync(load_lora, address, "ft:smollm2:none", str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_an_adapter_that_was_tuned_here_answers_on_vllm_as_it_does_here(
    vllm_server: ModelRef, flats: ScenarioSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Put there by hand, and by the provider "vllm" on its own, from where the training left it."""
    from introspect.backend.local.export import save_model

    base, style = model_ref("smollm2"), ChatStyle()
    hidden = PreferenceSampler().sample(flats, rng=0)
    lessons = TrialGenerator().label(TrialGenerator().trials(flats, 8, rng=2), hidden, rng=3)
    spec = TrainingSpec(epochs=2, batch_size=8, learning_rate=1e-3, lora_rank=8)
    tuned = FineTuner(spec=spec, style=style, jobs=tmp_path / "jobs", on_canary="warn").instil(base, lessons, hidden)
    folder = save_model(tuned.ref, tmp_path / "adapter")
    run_sync(load_lora, Address.of(vllm_server.location), "ft:smollm2:flats", str(folder))
    asked = [request_of(style.choice(*one)) for one in TrialGenerator().trials(flats, 6, rng=4)]
    places = {
        "base here": base,
        "tuned here": tuned.ref,
        "tuned there": vllm_server.model_copy(update={"adapter": "ft:smollm2:flats"}),
        "asked there": tuned.ref.model_copy(update={"provider": "vllm"}),
    }
    assert vllm_server.location is not None
    monkeypatch.setenv("INTROSPECT_VLLM_URL", vllm_server.location)
    found = {name: ask(open_model(ref), asked) for name, ref in places.items()}
    told = {name: [reply.answer_logprobs or {} for reply in replies] for name, replies in found.items()}
    odds = {name: np.array([row["A"] - row["B"] for row in rows]) for name, rows in told.items()}
    moved = np.abs(odds["tuned here"] - odds["base here"]).mean()
    apart = np.maximum(*(np.abs(odds[name] - odds["tuned here"]) for name in ("tuned there", "asked there")))
    print(f"training moved log-odds by {moved:.2f} nat; here and on vLLM differ by {apart.max():.3f} at most")
    # vLLM computes in bfloat16, which rounds logits of about 20 by up to .06 each.
    assert apart.max() < 0.3 < moved


def test_a_server_that_loads_no_adapters_says_so(llama_server: ModelRef, tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="has to be vLLM"):
        run_sync(load_lora, Address.of(llama_server.location), "ft:x", str(tmp_path))
