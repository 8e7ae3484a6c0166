"""Whether intervals cover and nulls reject as often as they say: simulated contexts of known truth.

Run: python benchmarks/validate_intervals.py [--quick] [--sets 1000] [--sizes 100 20 10] [--only intervals,nulls]

Every data set has a number of contexts with five weights each, scaled to a largest magnitude of 100 on both sides.
What is "true" is the same number over a hundred thousand contexts. A share of .95 from 1,000 data sets has a standard
error of .007, one of .05 likewise.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from introspect.decision import Attribute, DecisionScenario, PreferenceSampler, TrialGenerator
from introspect.decision.labels import label
from introspect.measure import ChoiceModel, Moments, Pairing
from introspect.measure.baselines import baselines_of
from introspect.measure.ceiling import ceiling_of, weight_halves
from introspect.measure.intervals import calibration_of, pooled_interval, within_of
from introspect.measure.nulls import null_draws
from introspect.measure.pairing import max_scaled, pair
from introspect.measure.partial import partial_of
from introspect.measure.resampling import Interval, Resamples, p_value
from introspect.measure.rise import rise_between

Floats = NDArray[np.float64]
World = Callable[[int, np.random.Generator], tuple[Floats, Floats]]

NAMES = tuple("pqrst")
N_BOOT = 1000
N_NULL = 499
METHODS = ("percentile", "z-t", "jackknife")


# ---- worlds: what is said and what is learned, [n, 5] each


def weights(n: int, rng: np.random.Generator) -> Floats:
    """True weights as the sampler draws them, with the errors that 50 noisy choices leave."""
    return max_scaled(rng.uniform(-1, 1, (n, 5))) / 100


def homogeneous(n: int, rng: np.random.Generator, spread: float = 0.0) -> tuple[Floats, Floats]:
    """Errors of one size everywhere (`spread`: the log-sd of their size over contexts)."""
    truth = weights(n, rng)
    size = 0.55 * np.exp(rng.normal(0, spread, (n, 1))) if spread else np.full((n, 1), 0.55)
    return truth + size * rng.normal(size=truth.shape), truth + 0.18 * rng.normal(size=truth.shape)


def varied(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The quality of reports differs between contexts."""
    return homogeneous(n, rng, spread=0.8)


def offset(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """... and each report has a level of its own."""
    said, learned = varied(n, rng)
    return said + 0.5 * rng.normal(size=(n, 1)), learned


def nuisance(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """... and both sides of a context share a nuisance."""
    said, learned = varied(n, rng)
    shared = rng.normal(size=(n, 1))
    return said + shared, learned + shared


SITUATIONS: dict[str, World] = {
    "homogeneous": homogeneous,
    "report quality varies by context": varied,
    "... plus a per-context report offset": offset,
    "... plus a nuisance shared in a context": nuisance,
}


def independent(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Reports that know nothing."""
    return weights(n, rng), weights(n, rng)


def slots(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Reports that know nothing, but on both sides the first-listed attribute is heavier."""
    pull = np.array([0.9, 0.0, 0.0, 0.0, 0.0])
    return rng.uniform(-1, 1, (n, 5)) + pull, rng.uniform(-1, 1, (n, 5)) + pull


def polarity(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Reports that know nothing, but in half of the contexts all weights of both sides lean to one side."""
    lean = rng.choice([-0.7, 0.7], (n, 1))
    return rng.uniform(-1, 1, (n, 5)) + lean, rng.uniform(-1, 1, (n, 5)) + lean


NULLS: dict[str, World] = {"independent": independent, "slot effect": slots, "shared polarity": polarity}


def paired(said: Floats, learned: Floats) -> Pairing:
    """Both sides as the metric has them."""
    x, y = max_scaled(said), max_scaled(learned)
    ids = tuple(f"k{i:06d}" for i in range(len(x)))
    return Pairing(ids, tuple(x), tuple(y), len(x), predictors=(NAMES,) * len(x))


def moments_of(said: Floats, learned: Floats) -> Moments:
    """Sums of both sides."""
    return Moments.of([f"k{i:06d}" for i in range(len(said))], max_scaled(said), max_scaled(learned))


def naive(r: float, n_points: int) -> Interval:
    """Fisher's z as if all weights were independent: what the table warns of."""
    half = 1.959964 / math.sqrt(n_points - 3)
    return Interval(math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))


# ---- tables


def intervals(sets: int, sizes: tuple[int, ...], big: int) -> None:
    """Coverage and length of the pooled r's interval."""
    print("\n## Interval of the pooled r: coverage (mean length), nominal .95\n")
    print("| contexts | situation | true r | " + " | ".join(("naive", *METHODS)) + " |")
    print("|---|---|---|" + "---|" * 4)
    for n in sizes:
        for number, (name, world) in enumerate(SITUATIONS.items()):
            true = moments_of(*world(big, np.random.default_rng(99))).pooled()
            rng = np.random.default_rng([n, number])
            found: dict[str, list[Interval]] = defaultdict(list)
            for _ in range(sets):
                moments = moments_of(*world(n, rng))
                resamples = Resamples.of(n, N_BOOT, rng)
                for method in METHODS:
                    found[method].append(pooled_interval(moments, resamples, method, {}))
                found["naive"].append(naive(moments.pooled(), 5 * n))
            cells = [_cover(found[method], true) for method in ("naive", *METHODS)]
            print(f"| {n} | {name} | {true:.3f} | " + " | ".join(cells) + " |", flush=True)


def summaries(sets: int, sizes: tuple[int, ...], big: int) -> None:
    """Coverage of the other intervals over contexts."""
    print("\n## Other intervals: coverage (mean length), nominal .95\n")
    names = ("mean within r", "median within r", "calibration slope", "calibration intercept", "margin")
    print("| contexts | situation | " + " | ".join(names) + " |")
    print("|---|---|" + "---|" * len(names))
    for n in sizes:
        for number, (name, world) in enumerate(SITUATIONS.items()):
            whole = paired(*world(big // 5, np.random.default_rng(99)))
            nothing, why = Resamples(None), dict[str, str]()
            true = {**within_of(whole.moments, nothing, why), **calibration_of(whole.moments, nothing, why)}
            true["margin"] = baselines_of(whole, nothing, np.random.default_rng(0)).margin
            keys = {
                "mean_within_r": "mean_within_interval", "median_within_r": "median_within_interval",
                "calibration_slope": "calibration_slope_interval",
                "calibration_intercept": "calibration_intercept_interval", "margin": "margin_interval",
            }  # fmt: skip
            rng = np.random.default_rng([n, number, 1])
            found: dict[str, list[Interval]] = defaultdict(list)
            for _ in range(sets):
                pairing = paired(*world(n, rng))
                resamples = Resamples.of(n, N_BOOT, rng)
                own = {**within_of(pairing.moments, resamples, why), **calibration_of(pairing.moments, resamples, why)}
                own["margin_interval"] = baselines_of(pairing, resamples, rng).margin_interval
                for key, interval in keys.items():
                    found[key].append(own[interval])
            cells = [_cover(found[key], float(true[key])) for key in keys]
            print(f"| {n} | {name} | " + " | ".join(cells) + " |", flush=True)


def nulls(sets: int, sizes: tuple[int, ...], _big: int) -> None:
    """How often each null rejects reports that know nothing."""
    print("\n## Nulls: share of data sets without introspection with p <= .05\n")
    print("| contexts | situation | mean r | naive | other contexts | permuted | the larger p |")
    print("|---|---|---|---|---|---|---|")
    for n in sizes:
        for number, (name, world) in enumerate(NULLS.items()):
            rng = np.random.default_rng([n, number, 2])
            rows = []
            for _ in range(sets):
                pairing = paired(*world(n, rng))
                r = pairing.moments.pooled()
                draws = null_draws(pairing, N_NULL, int(rng.integers(2**31)))
                both = p_value(draws.shuffle, r), p_value(draws.permutation, r)
                z = math.atanh(r) * math.sqrt(5 * n - 3)
                rows.append((r, z > 1.644854, both[0] <= 0.05, both[1] <= 0.05, max(both) <= 0.05))
            cells = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            print(f"| {n} | {name} | {cells} |", flush=True)


def rises(sets: int, sizes: tuple[int, ...], big: int) -> None:
    """Type I error and power of the paired comparison, and of one that takes before and after for strangers."""
    print("\n## Before and after on the same contexts: share with p <= .05, or interval without 0\n")
    print("| contexts | errors cut by | unpaired z | paired interval | swap permutation | coverage of the rise |")
    print("|---|---|---|---|---|---|")
    for n in sizes:
        for number, cut in enumerate((0.0, 0.1, 0.2)):

            def world(n: int, rng: np.random.Generator, cut: float = cut) -> tuple[Moments, Moments]:
                learned = weights(n, rng) + 0.18 * rng.normal(size=(n, 5))
                belief = 0.55 * rng.normal(size=(n, 5))  # what the model gets wrong, before as after
                own = [math.sqrt(0.5) * (belief + 0.55 * rng.normal(size=(n, 5))) for _ in range(2)]
                return moments_of(learned + own[0], learned), moments_of(learned + (1 - cut) * own[1], learned)

            before, after = world(big, np.random.default_rng(99))
            true = after.pooled() - before.pooled() if cut else 0.0
            rng = np.random.default_rng([n, number, 3])
            rows, spans = [], []
            for _ in range(sets):
                a, b = world(n, rng)
                rise = rise_between(a, b, n_boot=N_BOOT, n_null=N_NULL, min_contexts=10, rng=int(rng.integers(2**31)))
                z = (math.atanh(b.pooled()) - math.atanh(a.pooled())) / math.sqrt(2 / (5 * n - 3))
                rows.append((abs(z) > 1.959964, 0 not in rise.interval, rise.p <= 0.05))
                spans.append(rise.interval)
            cells = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            print(f"| {n} | {cut:.0%} | {cells} | {_cover(spans, true)} |", flush=True)


def partials(sets: int, sizes: tuple[int, ...], big: int) -> None:
    """Partial r given the target, of reports that recite it and of reports that look at behaviour."""
    print("\n## Partial r given what was taught: coverage (length) and share with p <= .05\n")
    print("| contexts | reports | true partial r | coverage | other contexts | permuted | the larger p |")
    print("|---|---|---|---|---|---|---|")
    for n in sizes:
        for number, looks in enumerate((0.0, 0.25)):

            def world(n: int, rng: np.random.Generator, looks: float = looks) -> tuple[Pairing, dict[str, object]]:
                target = weights(n, rng)
                behaviour = target + 0.35 * rng.normal(size=(n, 5))
                said = target + looks * (behaviour - target) + 0.4 * rng.normal(size=(n, 5))
                pairing = paired(said, behaviour)
                rows = (dict(zip(NAMES, row, strict=True)) for row in target.tolist())
                return pairing, dict(zip(pairing.ids, rows, strict=True))

            whole, target = world(big // 5, np.random.default_rng(99))
            true = partial_of(whole, target, Resamples(None), 1, 0, "true").r
            rng = np.random.default_rng([n, number, 4])
            rows, spans = [], []
            for _ in range(sets):
                pairing, target = world(n, rng)
                found = partial_of(
                    pairing, target, Resamples.of(n, N_BOOT, rng), N_NULL, int(rng.integers(2**31)), "sim"
                )
                rows.append((found.p_shuffle <= 0.05, found.p_permutation <= 0.05, found.p <= 0.05))
                spans.append(found.interval)
            cells = " | ".join(f"{value:.3f}" for value in np.mean(rows, axis=0))
            name = "follow behaviour a little" if looks else "recite the target"
            print(f"| {n} | {name} | {true:.3f} | {_cover(spans, true)} | {cells} |", flush=True)


def noise(sets: int, sizes: tuple[int, ...], big: int) -> None:
    """r without the noise of the weights, from real choices: bias and coverage against the true weights' r."""
    print("\n## r without the noise of the measured weights (100 contexts; from choices)\n")
    print("| choices | trials | r with true weights | observed r | half-based | coverage | ceiling | r(fit, truth) |")
    print("|---|---|---|---|---|---|---|---|")
    n = max(sizes)
    axes = [Attribute(name=name, low=0, high=1000) for name in NAMES]
    scenarios = [
        DecisionScenario(id=f"k{i:06d}", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        for i in range(n)
    ]
    for scale, trials in ((0.0, 50), (5.0, 20), (5.0, 50), (2.0, 50)):
        rows, spans, model = [], [], ChoiceModel()
        for number in range(sets):
            rng = np.random.default_rng([number, trials, 5])
            seed = int(rng.integers(2**31))
            preferences = PreferenceSampler(decimals=None).sample(scenarios, rng=seed)
            plain = TrialGenerator().trials(scenarios, trials, rng=seed)
            chosen = (
                label(plain, preferences, "logistic", rng=seed, scale=scale)
                if scale
                else label(plain, preferences, rng=seed)
            )
            truth = np.array([preferences[s.id].vector(s) for s in scenarios]) / 100
            said = truth + 0.6 * rng.normal(size=truth.shape)
            reports = {
                s.id: dict(zip(NAMES, row, strict=True)) for s, row in zip(scenarios, said.tolist(), strict=True)
            }
            fit = model.fit(chosen)
            pairing = pair(reports, fit)
            halves = weight_halves(pairing, model.split_halves(chosen, 10, rng), {s.id: NAMES for s in scenarios})
            found = ceiling_of(pairing, halves, None, Resamples.of(len(pairing), N_BOOT, rng))
            reached = pair(preferences, fit).moments.pooled()
            rows.append((pairing.moments.pooled(), found.disattenuated_r, found.weights, reached))
            spans.append(found.disattenuated_interval)
        rng = np.random.default_rng(99)
        truth = weights(big, rng)
        true = moments_of(truth + 0.6 * rng.normal(size=truth.shape), truth).pooled()
        observed, without, ceiling, reached = np.mean(rows, axis=0)
        name = f"logistic, {scale:g}" if scale else "deterministic"
        print(
            f"| {name} | {trials} | {true:.3f} | {observed:.3f} | {without:.3f} | {_cover(spans, true)} "
            f"| {ceiling:.3f} | {reached:.3f} |",
            flush=True,
        )


def singles(sets: int, _sizes: tuple[int, ...], _big: int) -> None:
    """Intervals of single weights, scaled to a largest magnitude of 100, from draws of the Laplace posterior; and of
    trial bootstraps."""
    print("\n## Single weights after scaling: coverage (mean length), nominal .95; the heaviest left out\n")
    print("| choices | trials | Laplace draws | trial bootstrap, percentile |")
    print("|---|---|---|---|")
    axes = [Attribute(name=name, low=0, high=1000) for name in NAMES]
    scenarios = [
        DecisionScenario(id=f"k{i:06d}", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        for i in range(sets)
    ]
    preferences = PreferenceSampler(decimals=None).sample(scenarios, rng=6)
    truth = np.array([preferences[s.id].vector(s) for s in scenarios])
    lighter = np.abs(truth) < np.abs(truth).max(axis=1, keepdims=True)
    for scale in (0.0, 10.0, 5.0, 2.0):
        for trials in (50, 100):
            plain = TrialGenerator().trials(scenarios, trials, rng=7)
            how = label(plain, preferences, rng=8)
            if scale:
                how = label(plain, preferences, "logistic", rng=8, scale=scale)
            fit = ChoiceModel().fit(how)
            draws = fit.intervals(rng=9)
            booted = ChoiceModel().bootstrap(how, 400, rng=9)
            ends = [np.array([draws[s.id] for s in scenarios]), np.empty((sets, 5, 2))]
            for row, s in enumerate(scenarios):
                scaled = booted[s.id] / np.abs(booted[s.id]).max(axis=1, keepdims=True) * 100
                ends[1][row] = np.quantile(scaled, [0.025, 0.975], axis=0).T
            cells = []
            for both in ends:
                low, high = both[..., 0], both[..., 1]
                inside = ((low <= truth) & (truth <= high))[lighter].mean()
                cells.append(f"{inside:.3f} ({(high - low)[lighter].mean():.0f})")
            name = f"logistic, {scale:g}" if scale else "deterministic"
            print(f"| {name} | {trials} | {' | '.join(cells)} |", flush=True)


def _cover(spans: list[Interval], true: float) -> str:
    low, high = np.array(spans).T
    return f"{np.mean((low <= true) & (true <= high)):.3f} ({np.nanmean(high - low):.2f})"


TABLES = {
    "intervals": intervals, "summaries": summaries, "nulls": nulls, "rises": rises, "partial": partials, "noise": noise,
    "singles": singles,
}  # fmt: skip


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few small data sets: only shows that it runs")
    parser.add_argument("--sets", type=int, default=1000, help="data sets per cell")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 20, 10], help="contexts of a data set")
    parser.add_argument("--only", default=",".join(TABLES), help="tables, joined by commas")
    options = parser.parse_args()
    sets, sizes, big = (2, (10,), 500) if options.quick else (options.sets, tuple(options.sizes), 100_000)
    start = time.process_time()
    for name in options.only.split(","):
        TABLES[name](sets, sizes, big)
    print(f"\n{sets} data sets a cell, {time.process_time() - start:.0f} processor seconds")


if __name__ == "__main__":
    main()
