"""Tidy files of known content."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]

AXES = {"rent": (400.0, 1400.0), "size": (20.0, 120.0), "noise": (0.0, 9.0)}


def write_rows(path: Path, rows: Iterable[Row], delimiter: str = ",", encoding: str = "utf-8", end: str = "\n") -> Path:
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def choice_rows(
    n_scenarios: int = 2,
    n_trials: int = 12,
    seed: int = 0,
    axes: Mapping[str, tuple[float, float]] = AXES,
    temperature: float = 0.0,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """Long rows of a chooser with known weights, and those weights."""
    rng = np.random.default_rng(seed)
    low, high = np.array(list(axes.values())).T
    rows, truth = [], {}
    for s in range(n_scenarios):
        weights = rng.uniform(-1, 1, len(axes))
        weights *= 100 / np.abs(weights).max()
        truth[f"k{s}"] = dict(zip(axes, weights.tolist(), strict=True))
        for t in range(n_trials):
            values = np.round(rng.uniform(low, high, (2, len(axes))), 2)
            gap = (values[0] - values[1]) / (high - low) @ weights / 100
            if temperature:
                gap += rng.logistic() * temperature
            rows += [
                {
                    "scenario": f"k{s}", "trial": t, "attribute": name, "low": low[k], "high": high[k],
                    "value_a": values[0, k], "value_b": values[1, k], "choice": "A" if gap > 0 else "B",
                }
                for k, name in enumerate(axes)
            ]  # fmt: skip
    return rows, truth


def report_rows(truth: Mapping[str, Mapping[str, float]], error: float = 0.0, samples: int = 2, seed: int = 0):
    """Reports of the truth with normal errors."""
    rng = np.random.default_rng(seed)
    return [
        {"scenario": k, "sample": i, "attribute": name, "weight": round(weight + error * rng.normal(), 3)}
        for k, own in truth.items()
        for i in range(samples)
        for name, weight in own.items()
    ]
