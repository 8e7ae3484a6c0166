"""A domain of your own, in Python: contexts made from a template, studied on a subject whose truth is known.

Run: python examples/own_domain.py
"""

from __future__ import annotations

import tempfile

from introspect import Attribute, ChatStyle, DecisionScenario, ScenarioSet, SimulatedAgent, Study, check_leakage

TOWNS = (
    "Aldmoor",
    "Brinkholt",
    "Cawdry",
    "Dunsey",
    "Eskmouth",
    "Fellgate",
    "Garrow",
    "Hythe End",
    "Inverlay",
    "Juniper",
)


def depot(town: str) -> DecisionScenario:
    """Where a town's bus company builds its next depot."""
    return DecisionScenario(
        id=f"depot-{town.lower().replace(' ', '-')}",
        chooser=f"the bus company of {town}",
        item=f"site for a depot in {town}",
        question=f"Which site would the bus company of {town} buy?",
        attributes=(
            Attribute(name="price of the land", unit="million euro", low=0.5, high=4.5),
            Attribute(name="distance to the centre", unit="km", low=1, high=15),
            Attribute(name="buses it holds", low=20, high=200, step=10),
            Attribute(name="annual rainfall", unit="mm", low=100, high=2000, scale="log"),
            Attribute(name="ground", levels=("rock", "clay", "sand"), ordered=False),
        ),
        tags=("transport",),
    )


def main() -> None:
    """Make the contexts, check them, run a study."""
    contexts = ScenarioSet(depot(town) for town in TOWNS)
    print(f"{len(contexts)} contexts, each with the weights {', '.join(contexts[0].predictors)}")

    # All towns name their attributes alike. That is fine for a first look; a claim about *new* kinds of choice needs
    # held-out contexts that share nothing with the trained ones, and this is the check for it.
    train, held_out = contexts.split(0.5, rng=0)
    for sentence in check_leakage(train, held_out).sentences():
        print(sentence)

    subject = SimulatedAgent(name="clerk", report_fidelity=0.4).with_scenarios(contexts)
    with tempfile.TemporaryDirectory() as folder:
        result = Study(subject.ref, contexts, style=ChatStyle(), out=folder).run()
    print("\n".join(result.sentences()))


if __name__ == "__main__":
    main()
