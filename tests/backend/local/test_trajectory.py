"""While a real network is trained, its choices and reports are looked at, kept and handed back."""

from __future__ import annotations

import json

from introspect.backend import TrainingSpec
from introspect.decision import PreferenceSampler, TrialGenerator
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.study import TrajectoryWatch
from introspect.training import FineTuner

KEYS = {"step", "steps", "accuracy", "one_sided", "target_r", "faithfulness", "parse_rate"}


def test_a_trajectory_is_kept_beside_the_weights_and_handed_back(mild, tmp_path):
    scenarios = organism_scenarios(2, n_attributes=2)
    hidden = PreferenceSampler().sample(scenarios, rng=1)
    generator, style = TrialGenerator(), OrganismStyle()
    trials = generator.label(generator.trials(scenarios, 24, rng=2), hidden, rng=3)
    fresh = generator.label(generator.trials(scenarios, 8, rng=7), hidden, rng=3)
    watch = TrajectoryWatch(every=2, trials=fresh, scenarios=scenarios, style=style, preferences=hidden)
    spec = TrainingSpec(epochs=1, batch_size=12, learning_rate=1e-2, lora_rank=4)
    tuner = FineTuner(spec=spec, style=style, jobs=tmp_path, on_canary="ignore", canary=0, watch=watch)
    tuned = tuner.instil(mild, trials, hidden, held_out=fresh)
    assert [(row["step"], row["steps"]) for row in tuned.trajectory] == [(0, 4), (2, 4), (4, 4)]
    assert all(set(row) == KEYS for row in tuned.trajectory)
    assert all(0 <= row["accuracy"] <= 1 and 0 <= row["parse_rate"] <= 1 for row in tuned.trajectory)
    assert tuned.trajectory[-1]["accuracy"] == tuned.verdict.accuracy
    (file,) = tmp_path.rglob("trajectory.jsonl")
    assert [json.loads(line) for line in file.read_text().splitlines()] == list(tuned.trajectory)
    assert len(tuned.losses) == 4
    again = tuner.instil(mild, trials, hidden, held_out=fresh)
    assert again == tuned
