"""One table of the choice engine: its speed against other people's logit, how it scales, what a whole analysis costs,
and how many trials each design needs.

One thread, processor seconds. Each lap times every fitter once, one after the other, so that a change of
the machine's speed meets all of them; the table holds medians over laps. Slow rivals fit a sample of resamples, and
their time is scaled up. They are timed as they are used: one call per data set, set-up included.

Run: python benchmarks/bench_estimation.py [--laps 3] [--sample 100] [--seeds 2] [--quick]
Rivals that are not installed are left out: pip install -e '.[dev,bench]'
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the products are tiny, and rivals get the same
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import bench_designs
import numpy as np

from introspect.analysis import analyse
from introspect.decision import Attribute, DecisionScenario, PreferenceSampler, TrialGenerator, TrialSet, label
from introspect.measure import ChoiceModel, ChoiceTable, ReportTable
from introspect.measure.bootstrap import resample_weights
from introspect.measure.firth import fit_firth
from introspect.measure.newton import fit_map
from introspect.measure.replicates import fit_replicates
from introspect.measure.separation import separated

Fitter = Callable[[np.ndarray, np.ndarray], object]
TAU = 5.0


@dataclass
class Data:
    """Contexts with resamples: designs [C, N, Q] (intercept last), choices [C, N], case weights [C, N, R]."""

    x: np.ndarray
    y: np.ndarray

    def weights(self, contexts: slice, n_replicates: int) -> np.ndarray:
        draw = resample_weights(n_replicates)
        rng = np.random.default_rng(7 + contexts.start)
        return np.stack([draw(self.x.shape[1], rng) for _ in range(*contexts.indices(len(self.x)))])


def simulate(n_contexts: int, n_trials: int, n_attributes: int, scale: float = 5.0) -> Data:
    """Differences of uniform options, and logistic choices by weights whose largest is 1."""
    rng = np.random.default_rng(0)
    shape = (n_contexts, n_trials, n_attributes)
    x = rng.uniform(0, 1, shape) - rng.uniform(0, 1, shape)
    w = rng.uniform(-1, 1, (n_contexts, n_attributes))
    utility = scale * np.einsum("cnd,cd->cn", x, w / np.abs(w).max(axis=1, keepdims=True))
    y = (utility + rng.logistic(size=utility.shape) > 0).astype(float)
    return Data(np.concatenate([x, np.ones_like(x[..., :1])], axis=2), y)


def engine(data: Data, n_replicates: int, chunk: int = 20) -> float:
    """Fit every replicate of every context, resampling included; processor seconds."""
    sd = np.full(data.x.shape[2], TAU)
    start = time.process_time()
    for first in range(0, len(data.x), chunk):
        c = slice(first, min(first + chunk, len(data.x)))
        fit_replicates(data.x[c], data.y[c], sd, data.weights(c, n_replicates))
    return time.process_time() - start


def samples(data: Data, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Resampled data sets that are not separated, so that every rival has an optimum to find."""
    rng = np.random.default_rng(3)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    while len(found) < n:
        c = int(rng.integers(len(data.x)))
        rows = rng.integers(0, data.x.shape[1], data.x.shape[1])
        x, y = data.x[c, rows], data.y[c, rows]
        if not separated(x[None, :, None], y[None, :, None], np.ones((1, len(y))), flat=True)[0]:
            found.append((x, y))
    return found


def rivals() -> dict[str, Fitter]:
    """What is installed, by name."""
    found: dict[str, Fitter] = {}

    def installed(name: str) -> bool:
        try:
            importlib.import_module(name)
        except ImportError:
            return False
        return True

    if installed("statsmodels.api"):
        import statsmodels.api as sm

        found["statsmodels Logit"] = lambda x, y: sm.Logit(y, x).fit(disp=0)
        found["statsmodels GLM"] = lambda x, y: sm.GLM(y, x, family=sm.families.Binomial()).fit()
    if installed("sklearn.linear_model"):
        from sklearn.linear_model import LogisticRegression

        found["scikit-learn, tight"] = lambda x, y: LogisticRegression(
            C=TAU**2, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=100
        ).fit(x, y)
        found["scikit-learn, default"] = lambda x, y: LogisticRegression(C=TAU**2, fit_intercept=False).fit(x, y)
    if installed("xlogit"):
        from xlogit import MultinomialLogit

        def with_xlogit(x: np.ndarray, y: np.ndarray) -> object:
            n = len(y)
            long = np.zeros((2 * n, x.shape[1]))
            long[::2] = x
            chosen = np.empty(2 * n)
            chosen[::2], chosen[1::2] = y, 1 - y
            model = MultinomialLogit()
            model.fit(
                long, chosen, varnames=[f"x{k}" for k in range(x.shape[1])], ids=np.repeat(np.arange(n), 2),
                alts=np.tile([0, 1], n), verbose=0,
            )  # fmt: skip
            return model

        found["xlogit"] = with_xlogit
    if installed("firthmodels"):
        from firthmodels import FirthLogisticRegression

        found["firthmodels"] = lambda x, y: FirthLogisticRegression(fit_intercept=False).fit(x, y)
    return found


def compare(data: Data, n_replicates: int, laps: int, n_sample: int) -> dict[str, float]:
    """Processor seconds per 100,000 fits, by fitter."""
    sets = samples(data, n_sample)
    others = rivals()
    times: dict[str, list[float]] = {}
    n_firth = min(len(data.x), 20)
    many = np.concatenate([data.weights(slice(c, c + 1), 50) for c in range(n_firth)])
    flat_x, flat_y = (np.repeat(a[:n_firth], 50, axis=0) for a in (data.x, data.y))
    flat_w = np.moveaxis(many, 2, 1).reshape(len(flat_x), -1)
    for fit in others.values():
        fit(*sets[0])  # imports and caches are not a fit
    for _ in range(laps):
        seconds = engine(data, n_replicates)
        times.setdefault("introspect", []).append(seconds / (len(data.x) * n_replicates))
        start = time.process_time()
        fit_firth(flat_x[:, :, None], flat_y[..., None], flat_w)
        times.setdefault("introspect, Firth", []).append((time.process_time() - start) / len(flat_x))
        for name, fit in others.items():
            start = time.process_time()
            for x, y in sets:
                fit(x, y)
            times.setdefault(name, []).append((time.process_time() - start) / n_sample)
    return {name: 1e5 * statistics.median(values) for name, values in times.items()}


def agreement(data: Data) -> list[str]:
    """Largest differences of estimates from the rivals', over the contexts that overlap."""
    lost = separated(data.x[:, :, None], data.y[..., None], np.ones_like(data.y), flat=True)
    x, y = (a[~lost][:50] for a in (data.x, data.y))
    ours = {
        "ml": fit_map(x[:, :, None], y[..., None], np.full(x.shape[2], np.inf)),
        "ridge": fit_map(x[:, :, None], y[..., None], np.full(x.shape[2], TAU)),
        "firth": fit_firth(x[:, :, None], y[..., None]),
    }
    lines = []
    others = rivals()
    if "statsmodels Logit" in others:
        import statsmodels.api as sm

        fits = [sm.Logit(b, a).fit(disp=0, tol=1e-14, maxiter=100) for a, b in zip(x, y, strict=True)]
        gap = max(np.abs(f.params - ours["ml"].coef[c]).max() for c, f in enumerate(fits))
        errors = max(np.abs(f.bse - np.sqrt(np.diag(ours["ml"].cov[c]))).max() for c, f in enumerate(fits))
        lines.append(f"statsmodels Logit: estimates {gap:.0e}, standard errors {errors:.0e}")
    if "scikit-learn, tight" in others:
        for name in ("scikit-learn, tight", "scikit-learn, default"):
            gap = max(
                np.abs(others[name](a, b).coef_[0] - ours["ridge"].coef[c]).max()  # type: ignore[attr-defined]
                for c, (a, b) in enumerate(zip(x, y, strict=True))
            )
            lines.append(f"{name} solver: estimates {gap:.0e}")
    if "firthmodels" in others:
        from firthmodels import FirthLogisticRegression

        gap = 0.0
        for c, (a, b) in enumerate(zip(x, y, strict=True)):
            model = FirthLogisticRegression(fit_intercept=False, gtol=1e-9, xtol=1e-9, max_iter=500).fit(a, b)
            gap = max(gap, float(np.abs(model.coef_ - ours["firth"].coef[c]).max()))
        lines.append(f"firthmodels: estimates {gap:.0e}")
    if "xlogit" in others:
        gap = max(
            np.abs(others["xlogit"](a, b).coeff_ - ours["ml"].coef[c]).max()  # type: ignore[attr-defined]
            for c, (a, b) in enumerate(zip(x, y, strict=True))
        )
        lines.append(f"xlogit (its tolerance): estimates {gap:.0e}")
    return lines


def trials(n_contexts: int, n_trials: int) -> TrialSet:
    """Labelled trials of five-attribute contexts."""
    axes = [Attribute(name=name, low=0, high=100) for name in "pqrst"]
    contexts = [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which lot?", attributes=axes)
        for i in range(n_contexts)
    ]
    drawn = TrialGenerator(design="random").trials(contexts, n_trials, rng=2)
    return label(drawn, PreferenceSampler().sample(contexts, rng=1), "logistic", rng=3, scale=5.0)


def peak_megabytes() -> float:
    """Largest resident memory so far; getrusage would count the parent's from before the process was its own."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def sized(n_contexts: int, n_replicates: int) -> list[float]:
    """One size in a process of its own: CPU seconds of fit, intervals and resamples."""
    set_ = trials(n_contexts, 50)
    model = ChoiceModel()
    start = time.process_time()
    weights = model.fit(set_)
    fitted = time.process_time()
    weights.intervals(rng=0)
    weights.sentences()
    ended = time.process_time()
    if n_replicates:
        model.bootstrap(set_, n_replicates, rng=0)
    return [fitted - start, ended - fitted, time.process_time() - ended]


def whole(n_contexts: int) -> list[float]:
    """CPU seconds of everything that `introspect analyse` computes from choices and three reports a context."""
    set_ = trials(n_contexts, 50)
    rng = np.random.default_rng(4)
    wishes = PreferenceSampler().sample(set_.scenarios, rng=1)
    said = [
        {
            "scenario_id": scenario.id, "repeat": k, "status": "answered", "text": [], "problems": [], "shown": None,
            "weights": dict(zip(scenario.predictors, row, strict=True)),
        }
        for scenario in set_.scenarios
        for k in range(3)
        for row in [(wishes[scenario.id].vector(scenario) + rng.normal(0, 40, scenario.n_predictors)).tolist()]
    ]  # fmt: skip
    source = {"model": "m", "probe": "p", "seed": 0, "signed": True}
    reports = ReportTable.of_rows(said, {s.id: s.predictors for s in set_.scenarios}, source)
    table = ChoiceTable.from_choices(set_, set_.labels)
    start = time.process_time()
    analyse(table, reports)["all"].accuracy.summary()
    return [time.process_time() - start]


def apart(*arguments: int) -> list[float]:
    """`sized` or `whole` in a process of its own: its CPU seconds, then peak memory before and after, in MB."""
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def row(what: str, rate: float | None = None, seconds: float | None = None, ratio: str = "", note: str = "") -> None:
    """One line of the table."""
    fits = "" if rate is None else f"{rate:,.0f}"
    spent = "" if seconds is None else f"{seconds:.2f}"
    print(f"{what:48}{fits:>10}{spent:>9}{ratio:>8}  {note}".rstrip(), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--laps", type=int, default=3)
    parser.add_argument("--sample", type=int, default=100, help="data sets that a rival fits in each lap")
    parser.add_argument("--seeds", type=int, default=2, help="of the simulated choosers that designs are compared on")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--child", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        seconds = sized(*options.child) if len(options.child) == 2 else whole(*options.child)
        print(*(f"{value:.3f}" for value in seconds), f"{peak_megabytes():.0f}")
        return
    warnings.simplefilter("ignore")
    n_contexts, n_replicates, laps, n_sample = (
        (5, 50, 1, 3) if options.quick else (100, 1000, options.laps, options.sample)
    )
    data = simulate(n_contexts, 50, 5)
    print(f"{'':48}{'fits/s':>10}{'CPU s':>9}{'ratio':>8}")
    print(
        f"-- 100,000 logits of 50 trials x 5 attributes and an intercept: {n_contexts} contexts x {n_replicates} "
        f"resamples, medians of {laps} interleaved laps;\n   rivals on {n_sample} resamples a lap, scaled up; "
        "ratios of CPU time, of Firth to introspect's Firth"
    )
    table = compare(data, n_replicates, laps, n_sample)
    own, own_firth = table["introspect"], table["introspect, Firth"]
    for name, seconds in table.items():
        row(name, 1e5 / seconds, seconds, f"{seconds / (own_firth if 'irth' in name else own):.0f}x")
    print("-- contexts of 50 trials, each size in a process of its own (which also simulates them)")
    sizes = ((50, 20), (100, 20)) if options.quick else ((100, 1000), (1000, 1000), (10_000, 1000))
    for contexts, replicates in sizes:
        fit, intervals, boot, peak = apart(contexts, replicates)
        peaks = f"peak {peak:.0f} MB"
        row(f"{contexts:,} contexts: weights and flags", contexts / fit, fit)
        row(f"{contexts:,} contexts: intervals of the weights", None, intervals)
        row(f"{contexts:,} contexts x {replicates:,} resamples", contexts * replicates / boot, boot, "", peaks)
    n_whole = 50 if options.quick else 1000
    seconds, peak = apart(n_whole)
    print("-- everything that `introspect analyse` computes: weights, diagnoses, accuracy, ceilings, nulls, baselines")
    row(f"{n_whole:,} contexts, 3 reports each", None, seconds, "", f"peak {peak:.0f} MB")
    seeds, size, longest = (2, 12, 40) if options.quick else (options.seeds, 100, 80)
    print(f"-- trials until the mean r in a context reaches .95, {seeds} seeds of {size} contexts; saving of trials")
    curves = bench_designs.measure(bench_designs.Options(seeds, size, longest, 200, 0.2, None))
    for noise in bench_designs.NOISES:
        for design in bench_designs.DESIGNS:
            need, ratio, spread = bench_designs.saving(curves[design, noise], curves["random", noise], 0.95)
            row(f"{noise}, {design}", None, None, f"{ratio:.2f}x", f"+- {spread:.2f}, {need:.1f} trials")
    print("-- largest difference from the rivals, contexts that overlap")
    for line in agreement(data):
        print(line)


if __name__ == "__main__":
    main()
