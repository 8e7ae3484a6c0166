"""The Tinker provider against a fake service that takes and gives the official SDK's own types."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tinker
from tinker import types
from tinker.types.topk_logprobs import TopkLogprobs

from introspect.backend import FolderJobs, Message, ModelRef, Request, TrainingSpec, ask, known_providers, run_sync
from introspect.backend.tinker.backend import TinkerBackend
from introspect.backend.tinker.checkup import check_up
from introspect.backend.tinker.trainer import TinkerTrainer
from introspect.errors import BackendError, FatalBackendError, TrainingError

_spec = importlib.util.spec_from_file_location("tiny_models", Path(__file__).parents[1] / "local/tiny_chat.py")
tiny_models = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny_models)
TOKENIZER = tiny_models.make_tokenizer()
LETTERS = TOKENIZER("AB", add_special_tokens=False)["input_ids"]


def fresh():
    """A base that likes A a little more than B, and both more than anything else."""
    logits = np.zeros(len(TOKENIZER))
    logits[LETTERS] = 1.5, 1.0
    return logits


BASE = ModelRef(provider="tinker", model="org/base")


class Done:
    """A future of the SDK's kind: awaited, once."""

    def __init__(self, value=None, error=None):
        self.value, self.error = value, error

    def __await__(self):
        yield from ()
        if self.error is not None:
            raise self.error
        return self.value


class FakeService:
    """A model that is one vector: how likely each token is after any other. Training moves it along its gradient."""

    def __init__(self):
        self.saved = {}
        self.calls = []
        self.broken = None

    def create_sampling_client(self, model_path=None, base_model=None):
        if self.broken is not None:
            return Done(error=self.broken)
        return Done(Sampler(self, self.saved[model_path] if model_path else fresh()))

    def create_lora_training_client(self, base_model, rank, seed, train_mlp, train_attn, train_unembed):
        types.LoraConfig(rank=rank, seed=seed, train_mlp=train_mlp, train_attn=train_attn, train_unembed=train_unembed)
        self.calls.append(("new", base_model, rank))
        return Done(Learner(self, fresh()))

    async def get_server_capabilities_async(self):
        models = [types.SupportedModel(model_name="org/base", trainable=True)]
        return types.GetServerCapabilitiesResponse(supported_models=models)

    def create_training_client_from_state(self, path):
        self.calls.append(("from", path))
        return Done(Learner(self, self.saved[path].copy()))

    def create_training_client_from_state_with_optimizer(self, path):
        self.calls.append(("resume", path))
        return Done(Learner(self, self.saved[path].copy()))


class Sampler:
    def __init__(self, service, logits):
        self.service, self.logits = service, logits

    def get_tokenizer(self):
        return TOKENIZER

    def sample(self, prompt, num_samples, sampling_params, topk_sample_logprobs=0):
        assert isinstance(prompt, types.ModelInput)
        assert isinstance(sampling_params, types.SamplingParams)
        assert prompt.length == len(prompt.to_ints()) > 5
        if "provoke" in TOKENIZER.decode(prompt.to_ints()):
            return Done(error=tinker.APITimeoutError(request=None))
        logits = self.logits.copy()
        logits[TOKENIZER.eos_token_id] = -30  # nobody ends a turn before it begins
        logprobs = logits - np.log(np.exp(logits).sum())
        order = np.argsort(-logprobs, kind="stable")
        best = int(order[0])
        tokens = [best] * min(2, sampling_params.max_tokens)
        top = None
        if topk_sample_logprobs:
            ids = np.tile(order[:topk_sample_logprobs].astype(np.int32), (len(tokens), 1))
            top = TopkLogprobs(token_ids=ids, logprobs=logprobs[ids].astype(np.float32))
        sequence = types.SampledSequence(
            stop_reason="length",
            sequence_id="s",
            tokens_np=np.array(tokens, np.int32),
            logprobs_np=logprobs[tokens].astype(np.float32),
            topk_logprobs_np=top,
        )
        return Done(types.SampleResponse(sequences=[sequence]))


class Learner:
    def __init__(self, service, logits):
        self.service, self.logits = service, logits
        self.gradient = None

    def get_tokenizer(self):
        return TOKENIZER

    def forward_backward(self, data, loss_fn):
        assert loss_fn == "cross_entropy"
        self.gradient = np.zeros_like(self.logits)
        outputs = []
        logprobs = self.logits - np.log(np.exp(self.logits).sum())
        for datum in data:
            assert isinstance(datum, types.Datum)
            targets = datum.loss_fn_inputs["target_tokens"].to_numpy()
            weights = datum.loss_fn_inputs["weights"].to_numpy()
            assert len(targets) == len(weights) == datum.model_input.length
            np.add.at(self.gradient, targets, weights)
            self.gradient -= weights.sum() * np.exp(logprobs)
            outputs.append({"logprobs": types.TensorData.from_numpy(logprobs[targets].astype(np.float32))})
        return Done(types.ForwardBackwardOutput(loss_fn_output_type="ArrayRecord", loss_fn_outputs=outputs))

    def optim_step(self, parameters):
        assert isinstance(parameters, types.AdamParams)
        self.logits = self.logits + 200 * parameters.learning_rate * self.gradient
        self.service.calls.append(("step", round(parameters.learning_rate, 8)))
        return Done(types.OptimStepResponse(metrics={}))

    def _keep(self, name, kind):
        path = f"tinker://run/{kind}/{name}"
        self.service.saved[path] = self.logits.copy()
        return path

    def save_state(self, name):
        return Done(types.SaveWeightsResponse(path=self._keep(name, "weights")))

    def save_weights_for_sampler(self, name):
        return Done(types.SaveWeightsForSamplerResponse(path=self._keep(name, "sampler_weights")))


def question(text, **settings):
    return Request(messages=(Message(role="user", content=text),), **settings)


def test_the_provider_is_known():
    assert "tinker" in known_providers()


def test_a_training_lowers_the_loss_and_what_it_made_answers_so(tmp_path):
    service, losses = FakeService(), []
    jobs = FolderJobs(tmp_path, on_progress=lambda done, total, loss: losses.append(loss))
    spec = TrainingSpec(epochs=4, batch_size=4, learning_rate=0.01, lora_rank=8)
    data = tiny_models.examples(8, answer=lambda i: "B")
    tuned = run_sync(TinkerTrainer(service=service).train, BASE, data, spec, jobs)
    logprobs = fresh() - np.log(np.exp(fresh()).sum())
    assert losses[0] == pytest.approx(-logprobs[[LETTERS[1], TOKENIZER.eos_token_id]].mean(), abs=1e-5)
    assert losses[-1] < losses[0] - 1
    assert (tuned.parent, tuned.model) == (BASE, "org/base")
    asked = question("Which boat?", answers=("A", "B"), max_tokens=1)
    (before,), (after,) = (ask(TinkerBackend(ref, service=service), [asked]) for ref in (BASE, tuned))
    assert after.answer_logprobs["B"] > before.answer_logprobs["B"] + 1
    assert before.answer_logprobs["B"] == pytest.approx(logprobs[LETTERS[1]], abs=0.01)
    assert before.text.strip() == "A"
    assert after.text.strip() == "B"
    assert after.status == "completed"
    # Found again without another step, and gone on with from its state.
    steps = len(service.calls)
    assert run_sync(TinkerTrainer(service=service).train, BASE, data, spec, jobs) == tuned
    assert len(service.calls) == steps
    (tmp_path / "more").mkdir()
    run_sync(TinkerTrainer(service=service).train, tuned, data, spec, FolderJobs(tmp_path / "more"))
    assert ("from", tuned.location) in service.calls


def test_a_killed_training_goes_on_from_its_last_saved_state(tmp_path):
    spec = TrainingSpec(epochs=3, batch_size=2, learning_rate=0.01, schedule="linear")
    data = tiny_models.examples(8)

    class Killed(BaseException):
        pass

    def kill(done, total, loss):
        if done == 7:
            raise Killed

    service, whole = FakeService(), FakeService()
    with pytest.raises(Killed):
        run_sync(
            TinkerTrainer(service=service, save_every=5).train, BASE, data, spec, FolderJobs(tmp_path, on_progress=kill)
        )
    tuned = run_sync(TinkerTrainer(service=service, save_every=5).train, BASE, data, spec, FolderJobs(tmp_path))
    (tmp_path / "whole").mkdir()
    straight = run_sync(TinkerTrainer(service=whole).train, BASE, data, spec, FolderJobs(tmp_path / "whole"))
    assert [call[0] for call in service.calls].count("resume") == 1
    np.testing.assert_allclose(service.saved[tuned.adapter], whole.saved[straight.adapter])


@pytest.mark.parametrize(
    ("change", "words"),
    [({"method": "full"}, "LoRA only"), ({"lora_alpha": 8}, "lora_alpha"), ({"extra": {"lyers": 1}}, "lyers")],
)
def test_settings_that_the_service_does_not_know_are_refused_before_it_is_asked(tmp_path, change, words):
    service = FakeService()
    with pytest.raises(TrainingError, match=words):
        run_sync(
            TinkerTrainer(service=service).train,
            BASE,
            tiny_models.examples(4),
            TrainingSpec(**change),
            FolderJobs(tmp_path),
        )
    assert service.calls == []


def test_one_request_that_fails_is_a_failed_reply_and_the_others_are_delivered():
    replies = ask(TinkerBackend(BASE, service=FakeService()), [question("a"), question("provoke"), question("b")])
    assert [reply.status for reply in replies] == ["truncated", "failed", "truncated"]
    assert replies[1].provenance["failure"]["kind"] == "timeout"


def test_a_model_that_is_not_there_ends_the_run():
    service = FakeService()
    service.broken = ValueError("no such base model")
    with pytest.raises(FatalBackendError, match="no such base model"):
        ask(TinkerBackend(BASE, service=service), [question("a")])


def test_without_a_key_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("TINKER_API_KEY", raising=False)
    with pytest.raises(FatalBackendError, match="TINKER_API_KEY"):
        TinkerBackend(BASE)
    with pytest.raises(BackendError, match="settings"):
        TinkerBackend(BASE.model_copy(update={"settings": {"dtype": "x"}}), service=FakeService())


def test_the_check_up_trains_and_asks_again():
    steps = run_sync(check_up, None, FakeService())
    assert [step.name for step in steps] == [
        "models",
        "sampling",
        "log-probabilities",
        "training",
        "asking what was trained",
    ]
    assert all(step.works for step in steps)


def test_the_check_up_stops_at_what_does_not_work():
    service = FakeService()
    service.broken = ValueError("no capacity")
    (*_, last) = run_sync(check_up, "org/base", service)
    assert (last.works, "no capacity" in last.detail) == (False, True)
