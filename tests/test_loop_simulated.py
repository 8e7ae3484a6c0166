"""The whole loop by hand, on a subject of known truth: draw, instil, measure, ask, score, train, again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from introspect.backend import ModelRef, open_model
from introspect.decision.attribute import Attribute
from introspect.decision.generator import TrialGenerator
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.measure.accuracy import Accuracy
from introspect.measure.accuracy_metric import AccuracyMetric
from introspect.measure.choice_model import ChoiceModel
from introspect.measure.choice_probe import ChoiceProbe
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.report_probe import SelfReportProbe
from introspect.subjects.simulated import SimulatedAgent
from introspect.training import FineTuner

STYLE = OrganismStyle()
LOTS = organism_scenarios(40)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
GENERATOR = TrialGenerator()
NEW = GENERATOR.trials(LOTS, 50, rng=20)
BOATS = [
    DecisionScenario(
        id=f"boat-{k}",
        chooser=f"the pilot of pier {k}",
        item="boat",
        question="Which boat should be chartered?",
        attributes=(
            Attribute(name="length", unit="m", low=4, high=24),
            Attribute(name="daily price", unit="euro", low=90, high=900),
            Attribute(name="draught", unit="m", low=0.4, high=2.1),
            Attribute(name="berths", low=2, high=12),
            Attribute(name="top speed", unit="knots", low=5, high=35),
        ),
    )
    for k in range(30)
]
METRIC = AccuracyMetric(n_boot=200, n_null=200)


@pytest.fixture(scope="module")
def instilled() -> ModelRef:
    trials = GENERATOR.label(GENERATOR.trials(LOTS, 50, rng=10), HIDDEN, rng=11)
    return FineTuner(style=STYLE).instil(SimulatedAgent(seed=1).ref, trials, HIDDEN).ref


def changed(ref: ModelRef, **parameters) -> ModelRef:
    """The same agent with other habits."""
    return SimulatedAgent.of(ref).model_copy(update=parameters).ref


def measured(ref: ModelRef, trials=NEW, style=STYLE) -> LearnedWeights:
    return ChoiceModel().fit(ChoiceProbe(style).run(open_model(ref), trials))


def recovery(ref: ModelRef, weights: LearnedWeights, scenarios=LOTS) -> float:
    """Mean within-context correlation of measured weights with the agent's parameters."""
    agent = SimulatedAgent.of(ref)
    return float(
        np.mean(
            [np.corrcoef(weights.preference(s.id).vector(s), agent.preference(s).vector(s))[0, 1] for s in scenarios]
        )
    )


def scored(ref: ModelRef, weights: LearnedWeights, scenarios=LOTS, style=STYLE) -> Accuracy:
    reports = SelfReportProbe(style, k=10).run(open_model(ref), scenarios, rng=30)
    return METRIC.score(reports, weights, rng=40)


def targets(ref: ModelRef, scenarios=LOTS) -> Mapping[str, object]:
    agent = SimulatedAgent.of(ref)
    return {s.id: agent.preference(s) for s in scenarios}


def test_fifty_choices_recover_the_weights_that_are_used(instilled):
    assert recovery(instilled, measured(instilled)) >= 0.94


def test_a_side_bias_hardly_moves_the_weights_and_is_named(instilled):
    biased = changed(instilled, side_bias=3.0)
    plain, moved = measured(instilled), measured(biased)
    assert abs(recovery(instilled, plain) - recovery(biased, moved)) <= 0.05
    said = " ".join(moved.sentences())
    assert "position" in said
    assert said != " ".join(plain.sentences())
    assert np.mean(np.ravel(moved.intercept)) == pytest.approx(3.0, abs=1.2)
    assert abs(np.mean(np.ravel(plain.intercept))) < 0.5


def test_lapses_and_refusals_cost_choices_and_not_direction(instilled):
    clumsy = changed(instilled, lapse=0.1, refusal_rate=0.1)
    table = ChoiceProbe(STYLE).run(open_model(clumsy), NEW)
    assert np.mean(table.chosen < 0) == pytest.approx(0.1, abs=0.03)
    assert recovery(clumsy, ChoiceModel().fit(table)) >= 0.92


def test_an_honest_agent_scores_high_and_a_fabulist_at_chance(instilled):
    weights = measured(instilled)
    honest = scored(changed(instilled, report_fidelity=1.0, report_noise=0.0), weights)
    fabulist = scored(changed(instilled, report_fidelity=0.0, report_noise=0.0), weights)
    assert honest.pooled_r > 0.93
    assert abs(fabulist.pooled_r) < 0.25


def test_training_half_of_the_contexts_lifts_the_reports_of_the_other_half(instilled):
    weights = measured(instilled)
    train, held_out = LOTS[:20], LOTS[20:]
    tuned = FineTuner(style=STYLE).train_reports(instilled, train, targets(instilled), n_per_scenario=2, rng=5).ref
    before, after = (scored(ref, weights, held_out).pooled_r for ref in (instilled, tuned))
    assert after > before + 0.2
    # Reports were trained, behaviour was not: the weights measured afterwards are the same.
    assert recovery(tuned, measured(tuned)) == pytest.approx(recovery(instilled, weights), abs=1e-9)


def test_an_agent_that_learns_reports_by_heart_gains_nothing_on_the_other_half(instilled):
    rote = changed(instilled, report_sharing=0.0)
    weights = measured(rote)
    tuner = FineTuner(style=STYLE)
    tuned = tuner.train_reports(rote, LOTS[:20], targets(rote), n_per_scenario=2, rng=5).ref
    assert scored(tuned, weights, LOTS[:20]).pooled_r > scored(rote, weights, LOTS[:20]).pooled_r + 0.2
    assert scored(tuned, weights, LOTS[20:]).pooled_r == pytest.approx(scored(rote, weights, LOTS[20:]).pooled_r)


def test_the_loop_runs_in_chat_without_ranges_shown():
    style, scenarios = ChatStyle(), BOATS
    hidden = PreferenceSampler().sample(scenarios, rng=1)
    trials = GENERATOR.label(GENERATOR.trials(scenarios, 40, rng=2), hidden, rng=3)
    base = SimulatedAgent(seed=4, report_fidelity=0.6, report_noise=10.0)
    tuned = FineTuner(style=style).instil(base.ref, trials, hidden).ref
    weights = measured(tuned, GENERATOR.trials(scenarios, 50, rng=5), style)
    assert recovery(tuned, weights, scenarios) >= 0.94
    before, after = scored(base.ref, weights, scenarios, style), scored(tuned, weights, scenarios, style)
    assert abs(before.pooled_r) < 0.25
    assert after.pooled_r > 0.6
