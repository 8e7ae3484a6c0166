"""The loop by hand: draw, instil, measure, ask, score, train, and again.

Run: python examples/manual_loop.py
"""

from __future__ import annotations

from introspect import (
    AccuracyMetric,
    ChoiceModel,
    ChoiceProbe,
    FineTuner,
    LearnedWeights,
    ModelRef,
    OrganismStyle,
    PreferenceSampler,
    ReportTable,
    SelfReportProbe,
    SimulatedAgent,
    TrialGenerator,
    open_model,
    organism_scenarios,
)

CONTEXTS = organism_scenarios(40)
STYLE = OrganismStyle()
GENERATOR = TrialGenerator()


def measured(model: ModelRef) -> LearnedWeights:
    """The weights that a model's choices reveal; every model is shown the same fresh pairs."""
    return ChoiceModel().fit(ChoiceProbe(STYLE).run(open_model(model), GENERATOR.trials(CONTEXTS, 50, rng=20)))


def asked(model: ModelRef) -> ReportTable:
    """The weights that a model says it has."""
    return SelfReportProbe(STYLE, k=10).run(open_model(model), CONTEXTS, rng=30)


def main() -> None:
    """Run it once and print what it found."""
    untuned = SimulatedAgent(name="demo", seed=1, report_fidelity=0.4).ref
    hidden = PreferenceSampler().sample(CONTEXTS, rng=1)
    lessons = GENERATOR.label(GENERATOR.trials(CONTEXTS, 50, rng=10), hidden, rng=11)
    tuner, metric = FineTuner(style=STYLE), AccuracyMetric()

    instilled = tuner.instil(untuned, lessons, hidden).ref
    weights = measured(instilled)
    print(f"weights against the hidden preferences: r = {metric.score(weights, hidden, rng=0).pooled_r:.2f}")
    for name, model in (("untuned", untuned), ("instilled", instilled)):
        print(f"reports of the {name} model: r = {metric.score(asked(model), weights, rng=0).pooled_r:.2f}")

    train, held_out = CONTEXTS.split(0.5, rng=40)
    trained = tuner.train_reports(instilled, train, hidden, n_per_scenario=2, rng=50).ref
    before, after = (asked(model).select(held_out.ids) for model in (instilled, trained))
    print(*metric.compare(before, after, weights, rng=0).sentences(), sep="\n")
    # If the choices had moved towards the reports, r would have risen without any introspection.
    print(f"weights before and after: r = {metric.score(measured(trained), weights, rng=0).pooled_r:.2f}")


if __name__ == "__main__":
    main()
