"""Whether instilling took is decided on held-out choices, and what went wrong is named, likeliest cause first."""

from __future__ import annotations

import numpy as np
import pytest

from introspect.backend import ModelRef, TrainingSpec
from introspect.decision import PreferenceSampler, TrialGenerator
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import TrainingError
from introspect.training import Canary, FineTuner, RateTrial, judge, recipe_for
from introspect.training.rate_probe import best_rate

N = 200
LABEL = np.arange(N) % 2


def answers(accuracy: float, one_sided: float = 0.5) -> np.ndarray:
    """Choices of which this share is right and this share is A."""
    chosen = LABEL.copy()
    wrong = round(N * (1 - accuracy))
    to_a = round((N * (one_sided - 0.5) + wrong) / 2)
    chosen[np.flatnonzero(LABEL == 1)[:to_a]] = 0
    chosen[np.flatnonzero(LABEL == 0)[: wrong - to_a]] = 1
    return chosen


def canary(after: float, **kwargs) -> Canary:
    given = {"kind": "choice", "n": 32, "changed": 0.5, "accuracy_before": 0.5, "unread_after": 0.0, "chance": 0.5}
    return Canary.model_validate({**given, "accuracy_after": after, **kwargs})


@pytest.mark.parametrize(
    ("accuracy", "one_sided", "status"),
    [(0.9, 0.5, "took"), (0.76, 0.5, "took"), (0.7, 0.5, "weak"), (0.55, 0.5, "failed"), (0.5, 1.0, "failed")],
)
def test_held_out_accuracy_and_balance_decide(accuracy, one_sided, status):
    verdict = judge(answers(accuracy, one_sided), LABEL)
    assert (verdict.status, verdict.n) == (status, N)
    assert verdict.accuracy == pytest.approx(accuracy, abs=0.01)
    assert verdict.one_sided == pytest.approx(one_sided, abs=0.01)
    assert verdict.low < verdict.accuracy < verdict.high or accuracy == 0.5
    assert bool(verdict.flag) == (status != "took")


def test_a_failure_in_which_nothing_unusual_is_seen_is_explained_too():
    seen = {"losses": np.linspace(3.0, 0.7, 100), "per_context": 240, "canary": canary(0.55)}
    (cause,) = judge(answers(0.54), LABEL, **seen).causes
    assert cause.name == "too few examples"
    assert "240 examples for each context they follow the target in 54%" in cause.evidence
    assert "fewer contexts at once" in cause.advice
    assert judge(answers(0.9), LABEL, **seen).causes == ()


def test_a_right_model_that_mostly_says_one_letter_did_not_take():
    label = np.array([0] * 170 + [1] * 30)
    assert judge(label, label).status == "weak"
    assert judge(label[:170], label[:170]).status == "failed"


def test_what_cannot_be_read_is_wrong_and_what_has_no_label_does_not_count():
    chosen, label = LABEL.copy(), LABEL.copy()
    chosen[:60], label[:20] = -1, -1
    verdict = judge(chosen, label)
    assert (verdict.n, verdict.accuracy) == (180, pytest.approx(140 / 180))


def test_a_model_that_answers_nothing_failed_and_its_verdict_is_plain_json():
    verdict = judge(np.full(N, -1), LABEL)
    assert (verdict.status, verdict.one_sided) == ("failed", None)
    assert "none was readable" in verdict.sentences()[0]
    assert type(verdict).model_validate_json(verdict.model_dump_json()) == verdict
    assert "no held-out choice" in judge([], []).sentences()[0]


CASES = {
    "one-sided answers": ({"chosen": answers(0.5, 1.0)}, "one letter in 100%"),
    "template mismatch": (
        {"chosen": answers(0.5), "canary": canary(0.5), "losses": np.geomspace(0.7, 0.01, 100)},
        "the loss fell to",
    ),
    "learning rate": ({"chosen": answers(0.5), "losses": [0.7] * 100}, "the loss hardly fell"),
    "too few examples": (
        {"chosen": answers(0.55), "canary": canary(1.0), "losses": np.geomspace(0.7, 0.01, 100)},
        "learned by heart",
    ),
    "base model already decided": (
        {"chosen": answers(0.5), "before": answers(0.5), "losses": np.linspace(0.7, 0.4, 100)},
        "still the base's own",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_cause_is_ranked_first_where_it_is_what_happened(name):
    given, words = CASES[name]
    verdict = judge(label=LABEL, **given)
    assert verdict.status == "failed"
    assert verdict.causes[0].name == name
    assert words in verdict.causes[0].evidence
    assert [c.weight for c in verdict.causes] == sorted((c.weight for c in verdict.causes), reverse=True)
    assert verdict.sentences()[1].startswith(f"1. {name}: ")
    assert "Try: " in verdict.sentences()[1]


def test_a_loss_that_rises_again_speaks_for_a_lower_rate():
    losses = [*np.linspace(0.7, 0.5, 50), *np.linspace(0.5, 2.0, 50)]
    (cause,) = judge(answers(0.5), LABEL, losses=losses).causes
    assert (cause.name, "lower" in cause.advice) == ("learning rate", True)


def test_an_adapter_that_changes_nothing_is_a_mismatch_before_anything_else():
    same = canary(0.5, changed=0.0, logprob_change=0.0)
    verdict = judge(answers(0.5, 0.9), LABEL, before=answers(0.5, 0.9), canary=same, losses=[0.7] * 50)
    assert verdict.causes[0].name == "template mismatch"
    assert {"one-sided answers", "learning rate"} <= {c.name for c in verdict.causes}


def test_a_base_that_follows_the_target_already_is_said_even_where_all_is_well():
    verdict = judge(answers(0.9), LABEL, before=answers(0.85))
    assert (verdict.status, [c.name for c in verdict.causes]) == ("took", ["base model already decided"])


def lots(n_trials: int, seed: int = 1):
    scenarios = organism_scenarios(2)
    hidden = PreferenceSampler().sample(scenarios, rng=seed)
    generator = TrialGenerator()
    trials = generator.label(generator.trials(scenarios, n_trials, rng=2), hidden, rng=3)
    fresh = generator.label(generator.trials(scenarios, 30, rng=9), hidden, rng=3)
    return hidden, trials, fresh


DEMO = ModelRef(provider="simulated", model="demo")


def test_held_out_trials_make_a_verdict_of_a_training():
    hidden, trials, fresh = lots(60)
    tuned = FineTuner(style=OrganismStyle()).instil(DEMO, trials, hidden, held_out=fresh)
    assert tuned.verdict is not None
    assert (tuned.verdict.status, tuned.verdict.n) == ("took", 60)
    assert tuned.verdict.accuracy_before is not None
    assert type(tuned).model_validate_json(tuned.model_dump_json()) == tuned


def test_trials_that_were_trained_on_are_not_held_out():
    hidden, trials, _ = lots(20)
    with pytest.raises(TrainingError, match="40 of 40 held-out trials are training trials"):
        FineTuner(style=OrganismStyle()).instil(DEMO, trials, hidden, held_out=trials)


def test_a_probe_of_rates_asks_for_choices_and_never_for_reports():
    hidden, trials, _ = lots(60)
    asked = []

    def opened(ref, cache):
        from introspect.backend import open_model

        model = open_model(ref, cache)
        generate = model.generate

        def watching(requests):
            asked.extend(requests)
            return generate(requests)

        model.generate = watching
        return model

    spec = TrainingSpec(epochs=1, batch_size=4, learning_rate=1e-3)
    tuner = FineTuner(style=OrganismStyle(), spec=spec, lr="probe", open=opened)
    tuned = tuner.instil(DEMO, trials, hidden)
    assert [t.rate for t in tuned.rates] == pytest.approx([2.5e-4, 1e-3, 4e-3])
    assert tuned.spec.learning_rate in [t.rate for t in tuned.rates]
    assert {t.steps for t in tuned.rates} == {20}
    assert asked
    assert all(request.answers for request in asked)
    with pytest.raises(TrainingError, match="for instil"):
        tuner.train_reports(DEMO, organism_scenarios(2), hidden)


def test_the_rate_is_chosen_by_accuracy_then_by_log_loss_and_never_a_failed_one():
    def tried(rate, accuracy, loss):
        return RateTrial(rate=rate, steps=9, accuracy=accuracy, log_loss=loss)

    failed = RateTrial(rate=9.0, steps=9, problem="the loss is nan")
    assert best_rate([tried(1, 0.9, 0.9), tried(2, 0.6, 0.1), failed], 64) == 1
    assert best_rate([tried(1, 0.6, 0.66), tried(2, 0.58, 0.6), failed], 64) == 2
    with pytest.raises(TrainingError, match="the loss is nan"):
        best_rate([failed], 64)


@pytest.mark.parametrize("lr", [0, -1.0, "search"])
def test_a_rate_that_is_none_is_refused(lr):
    with pytest.raises(TrainingError, match="lr must be"):
        FineTuner(lr=lr)


def test_recipes_go_by_size_and_name_their_source():
    large, small = recipe_for(None), recipe_for(135_000_000)
    assert (large.instil.learning_rate, large.instil.lora_rank, large.instil.epochs) == (5e-5, 64, 3)
    assert small.instil != large.instil
    assert all(recipe.source for recipe in (large, small))
