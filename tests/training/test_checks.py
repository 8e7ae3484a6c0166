"""What is promised about the checks before training: a set that cannot teach what it should is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision.generator import TrialGenerator
from introspect.decision.preference_set import PreferenceSet
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.decision.trial_set import TrialSet
from introspect.errors import TrainingError
from introspect.training import (
    check_answers,
    check_labels,
    check_one_sided,
    check_round_trip,
    choice_examples,
    contradictions,
)

LOTS = organism_scenarios(10)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
GENERATOR = TrialGenerator()
DRAWN = GENERATOR.trials(LOTS, 30, rng=2)
TRIALS = GENERATOR.label(DRAWN, HIDDEN, rng=3)
NEGATED = PreferenceSet(
    p.model_copy(update={"weights": {n: -w for n, w in p.weights.items()}}) for p in HIDDEN.values()
)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n_options=st.integers(2, 4))
def test_deterministic_labels_contradict_nothing(seed, n_options):
    generator = TrialGenerator(n_options=n_options)
    hidden = PreferenceSampler().sample(LOTS[:3], rng=seed)
    trials = generator.label(generator.trials(LOTS[:3], 10, rng=seed), hidden, rng=seed)
    assert not contradictions(trials, hidden).any()
    check_labels(trials, hidden)


def test_a_contradiction_is_found_where_it_is():
    labels = TRIALS.labels.copy()
    labels[17] = 1 - labels[17]
    assert np.flatnonzero(contradictions(TRIALS.with_labels(labels), HIDDEN)).tolist() == [17]


def test_without_label_noise_one_contradiction_is_too_many():
    labels = TRIALS.labels.copy()
    labels[17] = 1 - labels[17]
    with pytest.raises(TrainingError, match="1 of 300 labels"):
        check_labels(TRIALS.with_labels(labels), HIDDEN)


def test_an_exact_tie_contradicts_nothing():
    block = TRIALS.blocks[0]
    tie = replace(block, values=np.repeat(block.values[:, :1], 2, axis=1))
    for labels in (np.zeros(len(TRIALS), int), np.ones(len(TRIALS), int)):
        assert not contradictions(TrialSet([tie]).with_labels(labels), HIDDEN).any()


def test_preferences_of_other_scenarios_are_refused():
    ids = [lot.id for lot in LOTS]
    shifted = PreferenceSet(
        HIDDEN[a].model_copy(update={"scenario_id": b}) for a, b in zip(ids, ids[1:] + ids[:1], strict=True)
    )
    with pytest.raises(TrainingError, match="contradict the preferences"):
        check_labels(TRIALS, shifted, label_noise=0.2)


def test_stated_noise_excuses_what_it_explains_and_no_more():
    noisy = GENERATOR.label(DRAWN, HIDDEN, "lapse", rng=3, lapse=0.2)
    check_labels(noisy, HIDDEN, label_noise=0.1)
    with pytest.raises(TrainingError, match="contradict"):
        check_labels(noisy, HIDDEN)
    with pytest.raises(TrainingError, match="label noise of 1 %"):
        check_labels(noisy, HIDDEN, label_noise=0.01)


def test_one_reversed_context_does_not_hide_in_the_noise_of_the_others():
    labels = np.where(TRIALS.scenario_ids == "k0004", 1 - TRIALS.labels, TRIALS.labels)
    with pytest.raises(TrainingError, match="in scenario 'k0004'"):
        check_labels(TRIALS.with_labels(labels), HIDDEN, label_noise=0.15)


def test_labels_without_preferences_are_taken_as_they_are():
    check_labels(TRIALS.with_labels(1 - TRIALS.labels), None)


def test_missing_labels_and_preferences_are_named():
    labels = TRIALS.labels.copy()
    labels[:3] = -1
    with pytest.raises(TrainingError, match="3 of 300 trials have no label"):
        check_labels(TRIALS.with_labels(labels), HIDDEN)
    with pytest.raises(TrainingError, match="'k0009'"):
        check_labels(TRIALS, PreferenceSet(p for p in HIDDEN.values() if p.scenario_id != "k0009"))
    with pytest.raises(TrainingError, match="no trials"):
        check_labels(TrialSet(), HIDDEN)
    with pytest.raises(TrainingError, match="label_noise"):
        check_labels(TRIALS, HIDDEN, label_noise=0.7)


@pytest.mark.parametrize(("share", "outcome"), [(0.5, "passes"), (0.75, "warns"), (0.95, "refuses"), (1.0, "refuses")])
def test_one_sided_answers_are_warned_of_and_refused(share, outcome):
    labels = (np.arange(len(TRIALS)) >= share * len(TRIALS)).astype(int)
    trials = TRIALS.with_labels(labels)
    if outcome == "refuses":
        with pytest.raises(TrainingError, match="'A'"):
            check_one_sided(trials)
    else:
        assert bool(check_one_sided(trials)) == (outcome == "warns")


def test_a_handful_of_equal_answers_is_nothing_unusual():
    few = TRIALS.take(slice(5))
    assert check_one_sided(few.with_labels(np.zeros(5, int))) == ()


def test_two_answers_to_one_prompt_are_refused_unless_noise_is_meant():
    style = OrganismStyle()
    torn = (*choice_examples(TRIALS, style), *choice_examples(TRIALS.with_labels(1 - TRIALS.labels), style))
    with pytest.raises(TrainingError, match="300 of 300"):
        check_answers(torn)
    assert len(check_answers(torn, noisy=True)) == 1
    assert check_answers(choice_examples(TRIALS, style)) == ()


def test_a_prompt_that_its_style_does_not_read_back_is_refused():
    style = OrganismStyle()
    examples = choice_examples(TRIALS, style)
    check_round_trip(examples, style)
    wrong = replace(examples[0], prompt=replace(examples[0].prompt, messages=examples[1].prompt.messages))
    with pytest.raises(TrainingError, match="'k0000'"):
        check_round_trip([wrong], style)
    with pytest.raises(TrainingError, match="unparsable"):
        check_round_trip([replace(examples[0], answer="Z")], style)
    garbled = replace(examples[0].prompt, messages=(examples[0].prompt.messages[0]._replace(content="?"),))
    with pytest.raises(TrainingError, match="cannot read"):
        check_round_trip([replace(examples[0], prompt=garbled)], style)
