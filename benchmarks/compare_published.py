"""How often the published analysis' interval holds the r that it estimates, beside the library's own.

    python benchmarks/compare_published.py [--sets 300]

Every data set: 100 contexts of five attributes, 50 noisy choices and one report each. What is estimated is the mean
over all data sets of the estimate itself, so that only the interval's length is judged.
"""

from __future__ import annotations

import argparse

import numpy as np

from introspect import AccuracyMetric, Attribute, ChoiceModel, DecisionScenario, TrialGenerator
from introspect.measure import ReportTable, pooled_z

CONTEXTS, TRIALS = 100, 50
NAMES = tuple("pqrst")
SITUATIONS = ("alike", "report quality varies", "errors shared in a context")


def reports(situation: str, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights as reported: right up to an error whose kind is the situation."""
    error = rng.normal(0, 50, weights.shape)
    if situation == "report quality varies":
        error *= np.exp(rng.normal(0, 0.8, (len(weights), 1)))
    elif situation == "errors shared in a context":
        error = 0.6 * error + rng.normal(0, 60, (len(weights), 1))
    return weights + error


def main() -> None:
    """Print one row per situation."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--sets", type=int, default=300)
    n_sets = words.parse_args().sets
    axes = [Attribute(name=name, low=0, high=100) for name in NAMES]
    contexts = [
        DecisionScenario(id=f"k{i:03d}", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        for i in range(CONTEXTS)
    ]
    trials = TrialGenerator().trials(contexts, TRIALS, rng=0)
    difference = trials.differences(trials.blocks[0]).reshape(CONTEXTS, TRIALS, len(NAMES))
    metric = AccuracyMetric(n_boot=400, n_null=1, n_splits=1)
    print(f"{'situation':<28}{'r':>7}{'naive':>8}{'ours':>7}{'length':>9}{'length':>8}")
    for situation in SITUATIONS:
        found = []
        for number in range(n_sets):
            rng = np.random.default_rng([number, SITUATIONS.index(situation)])
            weights = rng.uniform(-1, 1, (CONTEXTS, len(NAMES)))
            weights *= 100 / np.abs(weights).max(axis=1, keepdims=True)
            said = reports(situation, weights, rng)
            logits = 0.1 * np.einsum("ctp,cp->ct", difference, weights) + rng.logistic(size=(CONTEXTS, TRIALS))
            labelled = trials.with_labels((logits < 0).astype(int).reshape(-1))
            table = ReportTable.from_weights(
                {k.id: dict(zip(NAMES, row.tolist(), strict=True)) for k, row in zip(contexts, said, strict=True)}
            )
            old = pooled_z(labelled, table)
            new = metric.score(table, ChoiceModel().fit(labelled), rng=number)
            found.append((old.r, *old.interval, new.pooled_r, *new.pooled_interval))
        r, low, high, own, own_low, own_high = np.array(found).T
        naive = ((low <= r.mean()) & (r.mean() <= high)).mean()
        ours = ((own_low <= own.mean()) & (own.mean() <= own_high)).mean()
        print(
            f"{situation:<28}{r.mean():>7.3f}{naive:>8.3f}{ours:>7.3f}{(high - low).mean():>9.3f}"
            f"{(own_high - own_low).mean():>8.3f}"
        )


if __name__ == "__main__":
    main()
