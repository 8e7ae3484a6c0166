"""How long a million trials take to draw and to label, against a plain loop over trials.

Run: python benchmarks/bench_trials.py [--scenarios 1000] [--trials 1000]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from introspect.decision import (
    Attribute,
    DecisionScenario,
    Preference,
    PreferenceSampler,
    TrialGenerator,
    TrialSet,
)

NAIVE_TRIALS = 20_000


def contexts(n: int) -> list[DecisionScenario]:
    """Five-attribute contexts with ranges of every rounding rule."""
    ranges = ((0, 100), (18, 65), (0.5, 4), (0.1, 0.9), (200, 9000))
    axes = [Attribute(name=name, low=lo, high=hi) for name, (lo, hi) in zip("pqrst", ranges, strict=True)]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which lot?", attributes=axes)
        for i in range(n)
    ]


def naive_draw(scenario: DecisionScenario, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """One trial at a time, with the same promises: on the grid, no tie, no repeated pair."""
    seen: set[frozenset[bytes]] = set()
    out: list[np.ndarray] = []
    sizes = [a.grid.n for a in scenario.attributes]
    while len(out) < n:
        index = np.array([[rng.integers(size) for size in sizes] for _ in range(2)])
        key = frozenset(option.tobytes() for option in index)
        if len(key) == 2 and key not in seen:
            seen.add(key)
            pairs = zip(scenario.attributes, index.T, strict=True)
            values = np.array([attribute.grid.at(column) for attribute, column in pairs]).T
            out.append(values if rng.random() < 0.5 else values[::-1])
    return out


def naive_label(scenario: DecisionScenario, preference: Preference, values: list[np.ndarray]) -> list[int]:
    """One trial at a time."""
    low = np.array([a.low for a in scenario.attributes])
    width = np.array([a.high - a.low for a in scenario.attributes])
    weights = preference.vector(scenario)
    return [int(np.argmax(((pair - low) / width) @ weights)) for pair in values]


def timed(what: Callable[[], object]) -> tuple[float, object]:
    """Best of three, in seconds of processor time, and the last result."""
    best, result = float("inf"), None
    for _ in range(3):
        start = time.process_time()
        result = what()
        best = min(best, time.process_time() - start)
    return best, result


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=1000, help="per scenario")
    options = parser.parse_args()
    scenarios = contexts(options.scenarios)
    total = options.scenarios * options.trials
    generator = TrialGenerator()
    preferences = PreferenceSampler().sample(scenarios, rng=1)

    draw_s, trials = timed(lambda: generator.trials(scenarios, options.trials, rng=2))
    assert isinstance(trials, TrialSet)
    label_s, labelled = timed(lambda: generator.label(trials, preferences, rng=3))
    assert isinstance(labelled, TrialSet)

    chosen_s, _ = timed(lambda: TrialGenerator(design="d-optimal").trials(scenarios, 50, rng=2))

    rng = np.random.default_rng(0)
    slow_draw_s, values = timed(lambda: naive_draw(scenarios[0], NAIVE_TRIALS, rng))
    assert isinstance(values, list)
    slow_label_s, _ = timed(lambda: naive_label(scenarios[0], preferences["k0"], values))

    share = total / NAIVE_TRIALS
    print(f"{total:,} trials over {options.scenarios:,} five-attribute contexts, one core, processor seconds")
    for name, fast, slow in (("draw", draw_s, slow_draw_s), ("label", label_s, slow_label_s)):
        loop = slow * share
        print(f"{name:6} {fast:6.2f} s   plain loop {loop:7.1f} s   {loop / fast:6.0f} times faster")
    print(f"d-optimal {chosen_s:6.2f} s for 50 trials per context, each from 600 candidates")
    print(f"labelled A: {float((labelled.labels == 0).mean()):.3f}")


if __name__ == "__main__":
    main()
