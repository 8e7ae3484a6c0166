"""How many trials each design needs until the weights are recovered, under five kinds of noise.

A cell is the number of trials per context at which the mean r, within a context, of estimated and true weights
reaches a level (interpolated), and the saving against random pairs with its jackknife standard error over seeds.

Run: python benchmarks/bench_designs.py [--seeds 2] [--contexts 200] [--longest 120] [--quick]
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from introspect._random import stream
from introspect.decision import Attribute, DecisionScenario, TrialGenerator
from introspect.decision.designs.bald import choose_batch
from introspect.decision.designs.candidates import draw_candidates, grids_of
from introspect.measure import MapFit, fit_map

NOISES = ("det", "logit10", "logit5", "lapse10", "item")
DESIGNS = ("random", "d-optimal", "d-optimal, 4 levels", "bald")
LEVELS = (0.95, 0.98)
ENOUGH = 0.99  # a curve ends here; the mean over seeds still crosses the highest level before
START, BATCH = 10, 5
SCALES = (0.625, 1.25, 2.5, 5.0, 10.0, 20.0)
INTERCEPT_SD = 5.0

# Savings of the prototype and their standard errors, at both levels (four to six seeds of 200 contexts).
PROTOTYPE: dict[str, dict[str, tuple[tuple[float, float] | None, ...]]] = {
    "d-optimal": {
        "det": ((1.29, 0.06), (1.20, 0.05)),
        "logit10": ((1.47, 0.06), (1.43, 0.07)),
        "logit5": ((1.75, 0.07), None),
        "lapse10": ((1.21, 0.06), (1.05, 0.05)),
        "item": ((1.62, 0.06), (1.58, 0.09)),
    },
    "d-optimal, 4 levels": {
        "det": ((1.26, 0.04), (1.22, 0.03)),
        "logit10": ((1.59, 0.06), (1.68, 0.09)),
        "logit5": ((2.04, 0.03), None),
        "lapse10": ((1.16, 0.08), (1.02, 0.04)),
        "item": ((1.73, 0.07), (1.91, 0.07)),
    },
    "bald": {
        "det": ((1.57, 0.06), (2.02, 0.07)),
        "logit10": ((1.84, 0.05), (2.55, 0.10)),
        "logit5": ((2.27, 0.09), None),
        "lapse10": ((1.90, 0.03), (2.58, 0.08)),
        "item": ((1.93, 0.09), (2.64, 0.13)),
    },
}


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    seeds: int
    contexts: int
    longest: int
    candidates: int
    interior: float
    ridge: float | None = None


class Choosers:
    """Contexts with true weights, and what they choose under one kind of noise."""

    def __init__(self, noise: str, n: int, seed: int) -> None:
        self.noise = noise
        weights = stream(seed, "truth").uniform(-1, 1, (n, 5))
        self.weights = weights / np.abs(weights).max(axis=1, keepdims=True)
        self._rng = stream(seed, "noise", noise)

    def choose(self, x: np.ndarray) -> np.ndarray:
        """Whether the first option is taken, for differences as shown [C, n, 5] -> [C, n]."""
        utility = np.einsum("cnp,cp->cn", x, self.weights)
        coins = self._rng.random((2, *utility.shape))
        if self.noise.startswith("logit"):
            return coins[0] < 1 / (1 + np.exp(-float(self.noise.removeprefix("logit")) * utility))
        if self.noise == "item":  # a mood of each pair, and a liking for the first side
            utility = utility + 0.1 + 0.2 * self._rng.standard_normal(utility.shape)
        best = utility > 0
        return np.where(coins[0] < 0.1, coins[1] < 0.5, best) if self.noise == "lapse10" else best


def scenarios(n: int, n_levels: int | None = None) -> list[DecisionScenario]:
    """Contexts of five attributes with 101 values each, or with so many."""
    high = 100 if n_levels is None else n_levels - 1
    axes = [Attribute(name=name, low=0, high=high, step=1) for name in "pqrst"]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which lot?", attributes=axes)
        for i in range(n)
    ]


class Estimator:
    """Ridge of a fixed prior scale, or empirical Bayes: one scale for all contexts, that of the highest evidence near
    the last one. Fits begin at those of fewer trials.
    """

    def __init__(self, ridge: float | None = None) -> None:
        self._scales = SCALES if ridge is None else (ridge,)
        self._at = self._scales.index(10.0) if ridge is None else 0
        self._start: dict[int, np.ndarray] = {}

    def fit(self, x: np.ndarray, chosen: np.ndarray) -> MapFit:
        """Posterior of the weights and the side effect, from x [C, n, 5] and chosen [C, n]."""
        rows = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)[:, :, None]
        outcome = chosen[..., None].astype(float)
        fits: dict[int, MapFit] = {}
        while True:
            around = [i for i in (self._at - 1, self._at, self._at + 1) if 0 <= i < len(self._scales)]
            for i in around:
                if i not in fits:
                    fits[i] = fit_map(
                        rows, outcome, prior_sd(self._scales[i]), start=self._start.get(i), tolerance=1e-4
                    )
                    self._start[i] = fits[i].coef
            best = max(around, key=lambda i: fits[i].log_evidence.sum())
            if best == self._at:
                return fits[best]
            self._at = best

    @property
    def scale(self) -> float:
        """The scale last chosen."""
        return self._scales[self._at]


def prior_sd(scale: float) -> np.ndarray:
    """Of five weights and the side effect."""
    return np.array([scale] * 5 + [INTERCEPT_SD])


def within_r(coef: np.ndarray, weights: np.ndarray) -> float:
    """Mean over contexts of Pearson's r."""
    a = coef[:, :5] - coef[:, :5].mean(axis=1, keepdims=True)
    b = weights - weights.mean(axis=1, keepdims=True)
    return float(((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))).mean())


def lengths(longest: int) -> np.ndarray:
    """Numbers of trials at which recovery is looked at."""
    return np.arange(START, longest + 1, BATCH)


def static(design: str, options: Options, seed: int) -> np.ndarray:
    """Differences as shown, [C, longest, 5]."""
    generator = TrialGenerator(design="random" if design == "random" else "d-optimal", interior_share=options.interior)
    contexts = scenarios(options.contexts, 4 if "levels" in design else None)
    trials = generator.trials(contexts, options.longest, rng=seed)
    return trials.differences(trials.blocks[0]).reshape(options.contexts, options.longest, 5)


def curve(x: np.ndarray, choosers: Choosers, ridge: float | None) -> np.ndarray:
    """Recovery from the first n trials, for each n."""
    chosen, estimator, found = choosers.choose(x), Estimator(ridge), []
    for n in lengths(x.shape[1]):
        found.append(within_r(estimator.fit(x[:, :n], chosen[:, :n]).coef, choosers.weights))
        if found[-1] > ENOUGH:
            break
    return np.array(found)


def adaptive(start: np.ndarray, choosers: Choosers, options: Options, seed: int) -> np.ndarray:
    """Recovery after each batch that the answers so far have chosen."""
    rng = stream(seed, "candidates")
    n, (scenario,) = len(start), scenarios(1)
    x, chosen = start, choosers.choose(start)
    estimator, found = Estimator(options.ridge), []
    for size in lengths(options.longest):
        fit = estimator.fit(x, chosen)
        found.append(within_r(fit.coef, choosers.weights))
        if size + BATCH > options.longest or found[-1] > ENOUGH:
            break
        index = draw_candidates(scenario, grids_of(scenario), n * options.candidates, 2, rng, stretched=True)
        encoded = (index / 100).reshape(n, options.candidates, 2, 5)
        coins = rng.random((n, (BATCH + 1) // 2)) < 0.5
        flips = np.stack([coins, ~coins], axis=2).reshape(n, -1)[:, :BATCH]
        free = np.ones(encoded.shape[:2], dtype=bool)
        picked = choose_batch(encoded, flips, free, fit.coef, fit.cov, prior_sd(estimator.scale))
        pairs = encoded[np.arange(n)[:, None], picked]
        fresh = (pairs[:, :, 0] - pairs[:, :, 1]) * np.where(flips, -1, 1)[..., None]
        x = np.concatenate([x, fresh], axis=1)
        chosen = np.concatenate([chosen, choosers.choose(fresh)], axis=1)
    return np.array(found)


def reached(recovery: np.ndarray, level: float) -> float:
    """Trials at which a curve first reaches a level, interpolated; NaN where it does not."""
    above = np.flatnonzero(recovery >= level)
    if not len(above):
        return float("nan")
    k = int(above[0])
    if k == 0:
        return float(START)
    share = (level - recovery[k - 1]) / (recovery[k] - recovery[k - 1])
    return float(START + BATCH * (k - 1 + share))


def shortest_mean(curves: list[np.ndarray]) -> np.ndarray:
    """Mean over seeds, as far as all of them go."""
    size = min(map(len, curves))
    return np.mean([c[:size] for c in curves], axis=0)


def saving(ours: list[np.ndarray], theirs: list[np.ndarray], level: float) -> tuple[float, float, float]:
    """Trials needed, the saving against the other design, and its jackknife standard error over seeds."""

    def ratio(keep: list[int]) -> float:
        need, base = (reached(shortest_mean([c[i] for i in keep]), level) for c in (ours, theirs))
        return base / need

    everyone = list(range(len(ours)))
    without = (
        np.array([ratio([i for i in everyone if i != j]) for j in everyone]) if len(ours) > 1 else np.array([np.nan])
    )
    spread = np.sqrt((len(ours) - 1) / len(ours) * ((without - without.mean()) ** 2).sum())
    return reached(shortest_mean(ours), level), ratio(everyone), float(spread)


def measure(options: Options) -> dict[tuple[str, str], list[np.ndarray]]:
    """Recovery curves by design and noise, one per seed."""
    curves: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed in range(options.seeds):
        for design in DESIGNS:
            x = static("d-optimal" if design == "bald" else design, options, seed)
            for noise in NOISES:
                choosers = Choosers(noise, options.contexts, seed)
                found = (
                    adaptive(x[:, :START], choosers, options, seed)
                    if design == "bald"
                    else curve(x, choosers, options.ridge)
                )
                curves.setdefault((design, noise), []).append(found)
    return curves


def main() -> None:
    """Print trials and savings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--contexts", type=int, default=200)
    parser.add_argument("--longest", type=int, default=120, help="trials per context at most")
    parser.add_argument("--candidates", type=int, default=200, help="fresh ones for each adaptive batch")
    parser.add_argument("--interior", type=float, default=0.2, help="share of pairs with middle values")
    parser.add_argument("--ridge", type=float, help="fixed prior scale instead of empirical Bayes")
    parser.add_argument("--quick", action="store_true", help="only make sure that it runs")
    given = parser.parse_args()
    seeds, contexts, longest = (2, 12, 40) if given.quick else (given.seeds, given.contexts, given.longest)
    options = Options(seeds, contexts, longest, given.candidates, given.interior, given.ridge)
    start = time.process_time()
    curves = measure(options)
    seconds = time.process_time() - start
    ridge = "empirical-Bayes ridge" if given.ridge is None else f"ridge {given.ridge:g}"
    print(
        f"Trials until the mean r within a context reaches .95 / .98, and the saving (+- se) against random pairs\n"
        f"{seeds} seeds of {contexts} contexts with five attributes, {ridge}, at most {longest} trials, "
        f"{seconds:.0f} s of processor time"
    )
    print(f"{'noise':<9}{'r':>4}{'random':>9}" + "".join(f"{design:>24}" for design in DESIGNS[1:]))
    worse = []
    for noise in NOISES:
        for k, level in enumerate(LEVELS):
            base, _, _ = saving(curves["random", noise], curves["random", noise], level)
            line = f"{noise:<9}{level:>4.2f}{base:9.1f}"
            for design in DESIGNS[1:]:
                need, ratio, spread = saving(curves[design, noise], curves["random", noise], level)
                line += f"{need:9.1f}  x{ratio:4.2f} +- {spread:4.2f}"
                known = PROTOTYPE[design][noise][k]
                if known is not None and ratio < known[0] - 2 * np.hypot(spread, known[1]):
                    worse.append(
                        f"{design}, {noise}, {level:.2f}: x{ratio:.2f} +- {spread:.2f}, prototype x{known[0]:.2f}"
                    )
            print(line)
    print("\n".join(["Savings below the prototype's by more than two standard errors:", *(worse or ["none"])]))


if __name__ == "__main__":
    main()
