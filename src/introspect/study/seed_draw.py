"""What one seed draws: preferences or rules, trials to instil, measure and validate with, and folds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from introspect._random import stream
from introspect.decision import (
    PreferenceSampler,
    PreferenceSet,
    RuleSampler,
    RuleSet,
    ScenarioSet,
    TrialGenerator,
    TrialSet,
)
from introspect.study.drawing import first_of_each, unseen
from introspect.study.protocol import StudyProtocol

__all__ = ["drawn_of", "sizes_of"]


def drawn_of(
    protocol: StudyProtocol,
    scenarios: ScenarioSet,
    native: ScenarioSet,
    generator: TrialGenerator,
    seed: int,
    keep: Callable[[TrialSet], str],
) -> dict[str, Any]:
    """Draw it all, as plain JSON.

    Args:
        protocol: How many, by which rule and design.
        scenarios: The contexts.
        native: Contexts that nothing is instilled for; may be empty.
        generator: Draws trials as they are instilled from.
        seed: Each part has a stream of its own under it.
        keep: Stores trials, and gives their digest.
    """
    p = protocol
    hidden: PreferenceSet | RuleSet
    if p.rule == "linear":
        hidden = closest = PreferenceSampler().sample(scenarios, stream(seed, "preferences"))
    else:
        hidden = RuleSampler(kind=p.rule).sample(scenarios, stream(seed, "rules"))
        closest = hidden.linear_controls(scenarios, stream(seed, "linear controls"))
    measure = (
        generator if p.measure_design == "random" else TrialGenerator(design=p.measure_design, n_options=p.n_options)
    )
    drawn = generator.trials(scenarios, p.n_instil + p.n_validation, stream(seed, "instil"))
    trained = first_of_each(drawn, p.n_instil)
    instil, validation = drawn.take(trained), drawn.take(~trained)
    # Measuring pairs must be fresh: a pair that was trained on would show memory, not weights.
    more = measure.trials(scenarios, p.n_instil + p.n_validation + p.n_measure, stream(seed, "measure"))
    extra = unseen(more, drawn, p.n_measure)
    untaught = measure.trials(native, p.n_native, stream(seed, "native")) if native else TrialSet()
    folds = scenarios.folds(p.n_folds, stream(seed, "folds"))
    return {
        "preferences": closest.to_json(),
        **({"rules": hidden.to_json()} if isinstance(hidden, RuleSet) else {}),
        "instil": keep(generator.label(instil, hidden, rng=stream(seed, "labels", "instil"))),
        "measure": keep(generator.label(extra, hidden, rng=stream(seed, "labels", "measure"))),
        "native": keep(untaught),
        "validation": keep(generator.label(validation, hidden, rng=stream(seed, "labels", "validation"))),
        "folds": [[list(train.ids), list(test.ids)] for train, test in folds],
    }


def sizes_of(protocol: StudyProtocol) -> list[object]:
    """The settings that a draw follows from; what is as it always was is left out, so that old draws are found."""
    p = protocol
    sizes: list[object] = [p.n_instil, p.n_measure, p.n_native, p.n_folds]
    if p.measure_design != "random":
        sizes.append(p.measure_design)
    if p.n_validation or not p.counterbalance:
        sizes.append([p.n_validation, p.counterbalance])
    if p.n_options != 2 or p.rule != "linear":
        sizes.append([p.n_options, p.rule])
    return sizes
