"""With the real weights of SmolLM2, once they were fetched with `introspect models get smollm2`."""

from __future__ import annotations

import pytest

from introspect.backend import (
    FolderJobs,
    Message,
    Request,
    TrainingExample,
    TrainingSet,
    TrainingSpec,
    ask,
    models,
    run_sync,
    trainer_for,
)
from introspect.backend import open_model as open_ref
from introspect.decision import TrialGenerator, catalogue
from introspect.decision.styles.chat import ChatStyle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(models.locate("smollm2") is None, reason="run `introspect models get smollm2` first"),
]

STYLE = ChatStyle()


def messages(prompt):
    return tuple(Message(role=m.role, content=m.content) for m in prompt.messages)


@pytest.fixture(scope="module")
def ref():
    return models.model_ref("smollm2")


@pytest.fixture(scope="module")
def choices():
    return [STYLE.choice(s, t) for s, t in TrialGenerator().trials(catalogue()[:40], 1, 5)]


def test_prompts_of_the_catalogue_are_trained_as_they_are_asked(ref, choices):
    trials = list(TrialGenerator().trials(catalogue()[:40], 1, 6))
    reports = [STYLE.report(s, t)[0] for s, t in trials]
    examples = [
        TrainingExample(messages=(*messages(p), Message(role="assistant", content=answer)))
        for p, answer in (
            *((p, STYLE.answer_choice(p.content, 1)) for p in choices),
            *((p, STYLE.answer_report(p.content, dict.fromkeys(p.content.asked, -100.0))) for p in reports),
        )
    ]
    check = trainer_for(ref).check(ref, TrainingSet(examples))
    assert check.n_examples == 2 * len(trials)
    assert check.longest < 600


def test_choices_are_read_and_training_lowers_the_loss(ref, choices, tmp_path):
    examples = TrainingSet(
        [TrainingExample(messages=(*messages(p), Message(role="assistant", content="B"))) for p in choices[:8]]
    )
    losses = []
    jobs = FolderJobs(tmp_path, on_progress=lambda done, total, loss: losses.append(loss))
    spec = TrainingSpec(max_steps=6, batch_size=4, learning_rate=1e-3, lora_rank=8, schedule="constant")
    tuned = run_sync(trainer_for(ref).train, ref, examples, spec, jobs)
    assert losses[-1] < losses[0] / 2
    requests = [Request(messages=messages(p), answers=p.answers) for p in choices[:8]]
    for before, after in zip(ask(open_ref(ref), requests), ask(open_ref(tuned), requests), strict=True):
        assert after.answer_logprobs["B"] > before.answer_logprobs["B"]
        assert after.mass_outside < before.mass_outside


def test_a_report_is_written_the_same_in_a_batch_as_alone(ref):
    trials = list(TrialGenerator().trials(catalogue()[:3], 1, 7))[:3]
    requests = [Request(messages=messages(STYLE.report(s, t)[0]), max_tokens=24) for s, t in trials]
    together = ask(open_ref(ref), requests)
    alone = [ask(open_ref(ref), [request])[0] for request in requests]
    assert [r.text for r in together] == [r.text for r in alone]
