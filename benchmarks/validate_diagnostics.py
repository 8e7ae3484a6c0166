"""How often the diagnostics cry wolf, and how often they notice: measured on simulated choosers.

Run: python benchmarks/validate_diagnostics.py [--quick]

Five attributes, weights uniform and scaled to a largest magnitude of 1, independent uniform pairs. Noise:
`logit s` has P(A) = sigmoid(s u); `lapse 10 %` is deterministic with a tenth of blind picks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from introspect.decision import (
    Attribute,
    DecisionScenario,
    PreferenceSampler,
    PreferenceSet,
    TrialGenerator,
    TrialSet,
    label,
)
from introspect.measure.by_scenario import by_scenario
from introspect.measure.detection import likelihood_ratio, score_test
from introspect.measure.dominance import lapses
from introspect.measure.linearity import linearity

NOISE = {
    "logit 2": ("logistic", {"scale": 2.0}, 1.5),
    "logit 5": ("logistic", {"scale": 5.0}, 3.0),
    "logit 10": ("logistic", {"scale": 10.0}, 8.0),
    "lapse 10 %": ("lapse", {"lapse": 0.1}, 4.4),
    "deterministic": ("deterministic", {}, 20.0),
}
"""Name -> labelling rule, its settings, and the prior scale that empirical Bayes finds there."""


def world(n_contexts: int, n: int, seed: int) -> tuple[PreferenceSet, TrialSet]:
    """Contexts with 5 attributes, their preferences and unlabelled trials."""
    axes = [Attribute(name=f"a{k}", low=0, high=1000) for k in range(5)]
    contexts = [
        DecisionScenario(id=f"k{i:04d}", chooser=f"person {i}", item="lot", question="Which?", attributes=axes)
        for i in range(n_contexts)
    ]
    return PreferenceSampler(decimals=None).sample(contexts, rng=seed), TrialGenerator().trials(contexts, n, rng=seed)


def detection(n_contexts: int) -> Iterator[str]:
    """Level of the tests that no weight matters, on coin tosses."""
    from scipy.special import chdtrc

    for n in (20, 50):
        _, trials = world(n_contexts, n, seed=n)
        coin = np.random.default_rng(n).integers(0, 2, len(trials))
        parts = by_scenario(trials.with_labels(coin))
        score = score_test(
            np.stack([p.design() for p in parts]), np.stack([p.outcome for p in parts]), np.ones((len(parts), n)), 5
        )
        few = parts[: n_contexts // 4]
        ratio = [likelihood_ratio(p, rng=1, n_permutations=99) for p in few]
        yield (
            f"| no preference, {n} trials | score, beta {np.mean(score.p < 0.05):.3f} "
            f"| score, chi-square {np.mean(chdtrc(5, score.statistic) < 0.05):.3f} "
            f"| likelihood ratio, permuted {np.mean([r.p <= 0.05 for r in ratio]):.3f} "
            f"| likelihood ratio, chi-square {np.mean([chdtrc(5, r.statistic) < 0.05 for r in ratio]):.3f} |"
        )


def straightness(n_contexts: int, n_sets: int) -> Iterator[str]:
    """Level of the test of linearity in a context, and of all contexts together."""
    for n in (50, 100):
        wishes, trials = world(n_contexts, n, seed=n)
        for name, (rule, settings, tau) in NOISE.items():
            labelled = label(trials, wishes, rule, rng=1, **settings)
            p = np.array([s.p for s in linearity(by_scenario(labelled), 0, tau, n_boot=0)[1].values()])
            pooled = []
            for k in range(n_sets if n == 50 else 0):
                some, pairs = world(20, n, seed=1000 + k)
                drawn = label(pairs, some, rule, rng=k, **settings)
                pooled.append(linearity(by_scenario(drawn), k, tau, n_boot=39)[0].p)
            together = f"{np.mean(np.array(pooled) <= 0.05):.3f}" if pooled else "-"
            yield f"| linearity, {name}, {n} trials | in a context {np.mean(p < 0.05):.3f} | together {together} |"


def blindness(n_contexts: int) -> Iterator[str]:
    """What dominance failures say about blind picks, with signs given and fitted."""
    for n in (20, 50, 100):
        wishes, trials = world(n_contexts, n, seed=n)
        for share, tau in ((0.0, 20.0), (0.1, 4.4), (0.3, 2.0)):
            parts = by_scenario(label(trials, wishes, "lapse", rng=2, lapse=share))
            given, fitted = lapses(parts, wishes)[0], lapses(parts, tau=tau)[0]
            yield (
                f"| lapse {share:.0%}, {n} trials | signs given {given.rate:.3f} [{given.low:.3f}, {given.high:.3f}] "
                f"| fitted {fitted.rate:.3f} [{fitted.low:.3f}, {fitted.high:.3f}] |"
            )


def main() -> None:
    """Print every table row as it is known."""
    quick = "--quick" in sys.argv[1:]
    for row in detection(400 if quick else 4000):
        print(row, flush=True)
    for row in blindness(200 if quick else 1000):
        print(row, flush=True)
    for row in straightness(200 if quick else 2000, 10 if quick else 200):
        print(row, flush=True)


if __name__ == "__main__":
    main()
