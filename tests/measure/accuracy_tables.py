"""Reports and weights as tables, for what is computed from them."""

from __future__ import annotations

import numpy as np

from introspect.measure import AccuracyMetric, ReportTable

METRIC = AccuracyMetric(n_boot=200, n_null=99, n_splits=6)


NAMES = tuple("pqrst")


def named(rows):
    return {f"k{i:04d}": dict(zip(NAMES, map(float, row), strict=True)) for i, row in enumerate(rows)}


def table(said, statuses=None):
    rows = [
        {"scenario_id": f"k{i:04d}", "repeat": k, "text": [], "problems": [], "shown": None,
         "status": "answered" if statuses is None else statuses[i][k],
         "weights": dict(zip(NAMES, map(float, said[i, k]), strict=True))}
        for i in range(said.shape[0]) for k in range(said.shape[1])
    ]  # fmt: skip
    source = {"model": "m", "probe": "p", "seed": 0, "signed": True}
    return ReportTable.of_rows(rows, {f"k{i:04d}": NAMES for i in range(said.shape[0])}, source)


# ---- noise ceilings


def noisy(seed: int, n: int = 300, report_noise: float = 0.6, trial_noise: float = 0.5, repeats: int = 6):
    """Truth, repeated reports, and the weights that two halves of the trials reveal."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n, 5))
    belief = truth + rng.normal(0, 0.4, truth.shape)  # what the model thinks of itself, apart from noise
    said = belief[:, None] + rng.normal(0, report_noise, (n, repeats, 5))
    halves = truth[:, None, None] + rng.normal(0, trial_noise, (n, 2, 8, 5))
    return truth, belief, said, halves
