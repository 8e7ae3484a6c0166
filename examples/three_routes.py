"""Choices, reports and a probe: three routes to the weights that an organism was given.

Organisms are told apart by what a report can reach: in "shared" what choices teach lies where reports look, in "split"
it does not. A linear probe of the stream shows whether the weights are there all the same.

Run: python examples/three_routes.py [--contexts 80] [--figure three_routes.png]
"""

from __future__ import annotations

import argparse

from introspect import (
    ChoiceModel,
    ChoiceProbe,
    FineTuner,
    OrganismStyle,
    PreferenceSampler,
    SelfReportProbe,
    TrialGenerator,
    open_model,
    organism_scenarios,
)
from introspect.internals import Target
from introspect.internals.bridge import Bridge, bridge
from introspect.show import plot_internals
from introspect.subjects import organism_ref

STYLE, GENERATOR = OrganismStyle(), TrialGenerator()


def routes(name: str, contexts: int) -> Bridge:
    """Instil an organism, then ask its choices, its reports and its stream at the context's name."""
    scenarios = organism_scenarios(contexts)
    hidden = PreferenceSampler().sample(scenarios, rng=1)
    lessons = GENERATOR.label(GENERATOR.trials(scenarios, 50, rng=10), hidden, rng=11)
    model = FineTuner(style=STYLE).instil(organism_ref(name), lessons, hidden).ref
    choices = ChoiceModel().fit(ChoiceProbe(STYLE).run(open_model(model), GENERATOR.trials(scenarios, 50, rng=20)))
    reports = SelfReportProbe(STYLE, k=5).run(open_model(model), scenarios, rng=30)
    texts: dict[str, list[str]] = {}
    for scenario, trial in GENERATOR.trials(scenarios, 8, rng=40):
        texts.setdefault(scenario.id, []).append(STYLE.choice(scenario, trial).messages[-1].content)
    return bridge(Target.open(model), texts, choices, reports, at=2)


def main() -> None:
    """Run both organisms and print, and draw, what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=80)
    parser.add_argument("--figure")
    options = parser.parse_args()
    rows = []
    for name in ("shared", "split"):
        found = routes(name, options.contexts)
        print(name, *found.sentences(), sep="\n  ")
        rows += [{"arm": row["routes"], "split": name, "figure": "r", "value": row["r"], **row} for row in found.rows()]
    if options.figure:
        plot_internals(rows, "r").save(options.figure)


if __name__ == "__main__":
    main()
