"""Make the files of examples/data: choices of a simulated agent, and reports of it before and after it knew itself.

python scripts/make_example_data.py
"""

from __future__ import annotations

from pathlib import Path

from introspect import (
    ChatStyle,
    ChoiceProbe,
    PreferenceSampler,
    ScenarioSet,
    SelfReportProbe,
    SimulatedAgent,
    TrialGenerator,
    catalogue,
    open_model,
    write_tidy,
)

OUT = Path(__file__).parents[1] / "examples" / "data"


def main() -> None:
    """Ask an agent of known truth, and write what it said."""
    plain = catalogue().filter(lambda s: all(a.levels is None and a.scale == "linear" for a in s.attributes))
    contexts = ScenarioSet(plain[:12])
    hidden = PreferenceSampler().sample(contexts, rng=1)
    style, trials = ChatStyle(), TrialGenerator().trials(contexts, 30, rng=2)
    reports = {}
    for arm, fidelity in (("before", 0.45), ("after", 0.8)):
        agent = SimulatedAgent(
            name="example", scale=8, refusal_rate=0.02, report_fidelity=fidelity, report_noise=15
        ).with_preferences(contexts, hidden)
        model = open_model(agent.ref)
        reports[arm] = SelfReportProbe(style, k=4).run(model, contexts, rng=3)
    # Only the reports differ: the choices, and so the weights, are the same in both arms.
    choices = ChoiceProbe(style).run(model, trials)
    for path in write_tidy(OUT, choices, reports, hidden).values():
        print(path)


if __name__ == "__main__":
    main()
