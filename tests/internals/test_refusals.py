"""Each self-test has a fault that it finds, and a study in which one fails reports nothing."""

from __future__ import annotations

import itertools
import math
import re
from contextlib import contextmanager

import pytest
import torch
from small_internals import FACTS, KINDS

from introspect.backend import FunctionBackend, ModelRef, Reply
from introspect.backend.registry import register
from introspect.errors import SelfTestError
from introspect.internals import CleanRun, SoftMap, SoftToken, write
from introspect.internals.ablation import AblationSpec, Removal
from introspect.internals.ablation_study import AblationStudy
from introspect.internals.config import InternalsConfig
from introspect.internals.study import InternalsStudy
from introspect.internals.tiny import tiny_target
from introspect.internals.token_batch import TokenBatch


def hooks_stay(patch):
    @contextmanager
    def staying(changes):
        writes = [one for one in changes if isinstance(one[2], write.Writer)]
        for module, _, change in writes:
            module.register_forward_hook(write._after(change), with_kwargs=True)
        with write.hooked([one for one in changes if one not in writes]):
            yield

    patch.setattr("introspect.internals.target.hooked", staying)


def every_position_is_written(patch):
    def leaky(change):
        def hook(module, args, kwargs, output):
            return write.with_hidden(output, 0.3 * change(write.hidden_of(output)).cumsum(-1))

        return hook

    patch.setattr(write, "_after", leaky)


def positions_are_one_off(patch):
    right = TokenBatch.columns
    patch.setattr(
        TokenBatch, "columns", lambda self, at: [[(c + 1) % self.width for c in row] for row in right(self, at)]
    )


def kept_streams_are_off(patch):
    right = CleanRun.__init__

    def wrong(self, *args):
        right(self, *args)
        self._streams = {layer: kept.roll(1, -1) for layer, kept in self._streams.items()}

    patch.setattr(CleanRun, "__init__", wrong)


def changed_vectors(patch, change):
    right = SoftToken.injecting
    patch.setattr(
        SoftToken, "injecting",
        lambda self, target, batch, places, vectors, learned=None: right(
            self, target, batch, places, change(vectors), learned
        ),
    )  # fmt: skip


def signs_are_lost(patch):
    changed_vectors(patch, torch.abs)


def nothing_is_taken_for_something(patch):
    changed_vectors(patch, lambda vectors: vectors if vectors.any() else 5 * torch.randn(
        vectors.shape, generator=torch.Generator().manual_seed(0)))  # fmt: skip


def the_map_is_cut_off(patch):
    right = SoftMap.forward
    patch.setattr(SoftMap, "forward", lambda self, x: right(self, x).detach() + 0 * next(self.parameters()).sum())


@pytest.mark.parametrize(("fault", "said"), [
    (hooks_stay, "writes come off again"),
    (every_position_is_written, "written where it was read changes nothing"),
    (positions_are_one_off, "another run's whole stream"),
    (kept_streams_are_off, "begun at the patched block"),
    (signs_are_lost, "another injected vector"),
    (nothing_is_taken_for_something, "a vector and no vector"),
    (the_map_is_cut_off, "gradients reach the map"),
])  # fmt: skip
def test_a_study_with_vectors_reports_nothing_where_a_self_test_fails(fault, said, tmp_path, monkeypatch):
    config = InternalsConfig.of({"task": "planted", "train": {"layer": "embedding", "mode": "raw"}})
    fault(monkeypatch)
    monkeypatch.setattr(InternalsStudy, "_made", lambda self: pytest.fail("went on"))
    with pytest.raises(SelfTestError, match=f"FAILED: [^;]*{said}"):
        InternalsStudy(config, tmp_path, tiny_target(layers=3)).eval()
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("task", ["planted", "features", "patching"])
def test_every_task_with_vectors_is_refused_alike(task, tmp_path, monkeypatch):
    kept_streams_are_off(monkeypatch)
    monkeypatch.setattr(InternalsStudy, "_made", lambda self: pytest.fail("went on"))
    study = InternalsStudy(InternalsConfig.of({"task": task}), tmp_path, tiny_target(layers=3))
    for step in (study.build, study.eval):
        with pytest.raises(SelfTestError, match="Nothing is reported"):
            step()


def letter_of(request) -> str:
    """Follows a hint; without one says A."""
    found = re.search(r"(?:answer is|would say|might be) ([A-D])", request.messages[-1].content)
    return found[1] if found else "A"


def sure(letter: str) -> Reply:
    chances = {name: 0.7 if name == letter else 0.1 for name in "ABCD"}
    return Reply(status="completed", text=letter, answer_logprobs={k: math.log(v) for k, v in chances.items()})


def study_of(fn, folder, tuner=None) -> AblationStudy:
    name = f"refused-{fn.__name__}"
    register(name, open=lambda ref: FunctionBackend(fn, name=ref.model, version="1"))
    config = InternalsConfig(task="ablation", ablation=AblationSpec(questions=24), recheck=2)
    return AblationStudy(config, folder, ModelRef(provider=name, model="m"), FACTS, tuner)


def reads_hints(request):
    return sure(letter_of(request)) if len(request.answers) == 4 else "still A"


def test_a_part_that_is_not_taken_out_whole_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setattr(Removal, "without", property(lambda self: self.text.replace(self.part[:9], "")))
    with pytest.raises(SelfTestError, match="cut out by hand"):
        study_of(reads_hints, tmp_path).build()


def test_a_model_that_answers_the_same_prompt_otherwise_is_found_out(tmp_path):
    turn = itertools.count()

    def fickle(request):
        return sure("ABCD"[next(turn) % 4])

    with pytest.raises(SelfTestError, match="asked anew"):
        study_of(fickle, tmp_path).build()


def test_a_part_that_never_reaches_the_model_is_found_out(tmp_path):
    def deaf(request):
        return sure("B")

    with pytest.raises(SelfTestError, match="probabilities differ"):
        study_of(deaf, tmp_path).build()


class Tuner:
    """Training that went wrong."""

    def __init__(self, train) -> None:
        self.train_answers = train


def test_training_that_changes_the_model_itself_is_found_out(tmp_path):
    trained = []

    def changed_by_training(request):
        return reads_hints(request) if not trained or len(request.answers) < 4 else sure("D")

    def train(base, data):
        trained.append(data)
        return base.model_copy(update={"model": "tuned"})

    study = study_of(changed_by_training, tmp_path, Tuner(train))
    study.build()
    with pytest.raises(SelfTestError, match="asked anew"):
        study.eval()
    assert not (tmp_path / "result.json").exists()


def test_training_that_changes_nothing_is_found_out(tmp_path):
    study = study_of(reads_hints, tmp_path, Tuner(lambda base, data: base))
    with pytest.raises(SelfTestError, match="training reached the explainer"):
        study.eval()
    assert not (tmp_path / "result.json").exists()


def test_probabilities_that_a_plain_run_does_not_give_are_found_out(tmp_path, monkeypatch):
    target = tiny_target("llama", kinds=KINDS, words=("Answer", "answer", "letter", "capital", "would"), sharp=6.0)
    target.model.save_pretrained(tmp_path / "model")
    target.tokenizer.save_pretrained(tmp_path / "model")
    ref = ModelRef(provider="transformers", model=str(tmp_path / "model"), settings={"dtype": "float32"})
    config = InternalsConfig(task="ablation", ablation=AblationSpec(questions=12), recheck=2)
    from introspect.backend.local import asking

    right = asking.read_batch
    monkeypatch.setattr(asking, "read_batch", lambda logits, tokens: right(logits / 2, tokens))
    with pytest.raises(SelfTestError, match="plain run of the network by hand"):
        AblationStudy(config, tmp_path / "study", ref, FACTS).build()
