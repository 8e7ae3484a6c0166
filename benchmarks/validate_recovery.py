"""How well the default estimator recovers the direction of known weights, against the figures that it was chosen by.

Five kinds of chooser: deterministic (`det`), logistic with 10, 5 or 2 logits from end to end of the heaviest attribute
(`logit10`, `logit5`, `logit2`), deterministic with a tenth of random picks (`lapse10`). Weights are uniform in [-1, 1],
rescaled to a largest magnitude of 1; options are uniform in their ranges. A cell is the mean over contexts of Pearson's
r between estimated and true weights. The reference had 300 contexts a cell and no intercept; the last column but two is
the difference in units of the combined standard error, and the script fails where one is below -2.

Run: python benchmarks/validate_recovery.py [--contexts 3000] [--trials 20 50 100 200]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from introspect.decision import Attribute, DecisionScenario, TrialBlock, TrialSet
from introspect.measure import ChoiceModel

REFERENCE = {
    "det": {20: 0.948, 50: 0.989, 100: 0.997, 200: 0.999},
    "logit10": {20: 0.931, 50: 0.975, 100: 0.990, 200: 0.995},
    "logit5": {20: 0.884, 50: 0.954, 100: 0.979, 200: 0.990},
    "logit2": {20: 0.700, 50: 0.864, 100: 0.931, 200: 0.961},
    "lapse10": {20: 0.892, 50: 0.960, 100: 0.984, 200: 0.991},
}
"""Mean within-context r of the prototype's empirical-Bayes ridge, scale not clipped (300 contexts a cell)."""

REFERENCE_CONTEXTS = 300
N_ATTRIBUTES = 5


def labels(noise: str, utility: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0 where the first option is chosen, for utility differences in units of the heaviest weight."""
    if noise.startswith("logit"):
        first = rng.random(utility.shape) < 1.0 / (1.0 + np.exp(-float(noise[5:]) * utility))
    else:
        first = utility > 0
        if noise == "lapse10":
            first = np.where(rng.random(utility.shape) < 0.1, rng.random(utility.shape) < 0.5, first)
    return np.where(first, 0, 1)


def cell(noise: str, n_trials: int, n_contexts: int, seed: int) -> tuple[np.ndarray, float]:
    """r of each context, and the scale that was chosen."""
    rng = np.random.default_rng([seed, n_trials, sorted(REFERENCE).index(noise)])
    weights = rng.uniform(-1, 1, (n_contexts, N_ATTRIBUTES))
    weights /= np.abs(weights).max(axis=1, keepdims=True)
    values = rng.uniform(0, 1, (n_contexts, n_trials, 2, N_ATTRIBUTES))
    utility = np.einsum("cnd,cd->cn", values[:, :, 0] - values[:, :, 1], weights)
    axes = tuple(Attribute(name=f"a{k}", low=0, high=1) for k in range(N_ATTRIBUTES))
    contexts = tuple(
        DecisionScenario(id=f"k{c}", chooser=f"K{c}", item="lot", question="Which lot?", attributes=axes)
        for c in range(n_contexts)
    )
    index = np.repeat(np.arange(n_contexts), n_trials)
    chosen = labels(noise, utility, rng).ravel()
    block = TrialBlock.of(contexts, index, values.reshape(-1, 2, N_ATTRIBUTES), chosen)
    learned = ChoiceModel().fit(TrialSet([block]))
    place = {scenario.id: c for c, scenario in enumerate(contexts)}
    usable = [i for i, name in enumerate(learned.scenario_ids) if name not in learned.unusable()]
    estimate = np.array([learned.coef[i] for i in usable])
    truth = weights[[place[learned.scenario_ids[i]] for i in usable]]
    estimate, truth = (a - a.mean(axis=1, keepdims=True) for a in (estimate, truth))
    norm = np.sqrt((estimate**2).sum(axis=1) * (truth**2).sum(axis=1))
    return (estimate * truth).sum(axis=1) / norm, learned.tau


def main() -> None:
    """Print one row a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contexts", type=int, default=3000, help="per cell")
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.contexts} contexts a cell, {N_ATTRIBUTES} attributes, ChoiceModel()")
    print(
        f"{'noise':9}{'trials':>7}{'r':>8}{'s.e.':>8}{'reference':>11}{'difference, s.e.':>18}{'scale':>7}{'used':>7}"
    )
    worst = np.inf
    for noise, row in REFERENCE.items():
        for n_trials in options.trials:
            r, tau = cell(noise, n_trials, options.contexts, options.seed)
            spread = r.std(ddof=1)
            # The reference's rows are printed to three digits, which is an error of its own.
            combined = np.sqrt(spread**2 / len(r) + spread**2 / REFERENCE_CONTEXTS + 0.001**2 / 12)
            gap = (r.mean() - row[n_trials]) / combined if n_trials in row else np.nan
            worst = np.nanmin([worst, gap])
            known = row.get(n_trials, np.nan)
            print(
                f"{noise:9}{n_trials:>7}{r.mean():>8.4f}{spread / np.sqrt(len(r)):>8.4f}{known:>11.3f}{gap:>18.1f}"
                f"{tau:>7.2f}{len(r):>7}",
                flush=True,
            )
    print(f"worst difference: {worst:+.1f} combined standard errors")
    if worst < -2:
        raise SystemExit("recovery is worse than the reference by more than two combined standard errors")


if __name__ == "__main__":
    main()
