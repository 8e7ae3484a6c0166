"""Choices, reports and a probe: three routes to one model's weights."""

from __future__ import annotations

import numpy as np
import pytest

from introspect import ChoiceModel, ChoiceProbe, OrganismStyle, SelfReportProbe, TrialGenerator, open_model
from introspect.errors import MeasureError
from introspect.internals import Target
from introspect.internals.bridge import bridge, probe_weights
from introspect.subjects import native_scenarios, organism_ref

STYLE, GENERATOR = OrganismStyle(), TrialGenerator()


@pytest.fixture(scope="module")
def routes():
    ref, contexts = organism_ref("shared"), native_scenarios("shared", 40)
    choices = ChoiceModel().fit(ChoiceProbe(STYLE).run(open_model(ref), GENERATOR.trials(contexts, 40, rng=1)))
    reports = SelfReportProbe(STYLE, k=2).run(open_model(ref), contexts, rng=2)
    texts: dict[str, list[str]] = {}
    shown = GENERATOR.trials(contexts, 4, rng=3)
    for scenario, trial in (shown[i] for i in range(len(shown))):
        texts.setdefault(scenario.id, []).append(STYLE.choice(scenario, trial).messages[-1].content)
    return Target.open(ref), texts, choices, reports


def test_a_probe_reads_the_weights_that_an_organism_chooses_by_and_a_shuffled_one_does_not(routes):
    found = bridge(*routes, at=2, folds=8)
    assert found.probe_choices.pooled_r > 0.6
    assert found.floor.pooled_r < found.probe_choices.pooled_r - 0.3
    assert [row["routes"] for row in found.rows()] == [
        "report, choices", "probe, choices", "probe, report", "shuffled probe, choices",
    ]  # fmt: skip


def test_no_context_is_predicted_by_a_probe_that_was_fitted_to_it():
    """Weights that are noise cannot be told, however many numbers the stream has."""
    rng = np.random.default_rng(0)
    streams, goal = rng.normal(size=(60, 2, 80)).astype(np.float32), rng.normal(size=(60, 5))
    told, _ = probe_weights(streams, goal, folds=6)
    assert abs(np.corrcoef(told.ravel(), goal.ravel())[0, 1]) < 0.4


def test_the_probe_finds_the_layer_that_holds_the_weights():
    rng = np.random.default_rng(0)
    goal = rng.normal(size=(60, 3))
    streams = rng.normal(size=(60, 3, 10)).astype(np.float32)
    streams[:, 1, :3] = goal
    told, layers = probe_weights(streams, goal, folds=6)
    assert set(layers) == {1}
    assert np.corrcoef(told.ravel(), goal.ravel())[0, 1] > 0.9


def test_too_few_contexts_are_refused(routes):
    target, texts, choices, reports = routes
    few = dict(list(texts.items())[:3])
    with pytest.raises(MeasureError, match="at least 10 contexts"):
        bridge(target, few, choices, reports)
