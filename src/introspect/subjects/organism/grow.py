"""Pre-training: how an organism comes by its native preferences and its habit of reporting.

Everything is learned from text lines in the organisms' language, drawn afresh for every step. All native contexts come
with choices; the first `n_reported` also come with reports, whose errors are fixed per context (a lasting
misconception, not noise that averages out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from introspect._random import stream
from introspect.subjects.organism.config import OrganismConfig
from introspect.subjects.organism.threads import one_thread
from introspect.subjects.organism.tokens import LETTERS, row_keys

if TYPE_CHECKING:
    from introspect.subjects.organism.state import Organism

__all__ = ["N_ATTRIBUTES", "grow_organism", "native_names", "native_weights"]

N_ATTRIBUTES = 5
_NAMES = LETTERS[:N_ATTRIBUTES]
Floats = npt.NDArray[np.float64]
Lines = tuple[list[str], list[str]]
"""Prompts, and the answer to each."""


def native_names(config: OrganismConfig) -> list[str]:
    """Names of the contexts met in pre-training; the first `n_reported` came with reports."""
    return [f"n{i:04d}" for i in range(config.n_native)]


def native_weights(config: OrganismConfig) -> Floats:
    """The preferences behind native choices, [n_native, 5] integers with largest magnitude 100."""
    raw = stream(config.seed, "native").uniform(-100, 100, (config.n_native, N_ATTRIBUTES))
    weights: Floats = np.rint(100 * raw / np.abs(raw).max(axis=1, keepdims=True))
    return weights


def _reports(config: OrganismConfig, weights: Floats) -> npt.NDArray[np.int64]:
    error = config.report_noise * stream(config.seed, "report-noise").standard_normal(weights.shape)
    return np.clip(np.rint(weights + error), -100, 100).astype(np.int64)


def _options(rng: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    return rng.integers(0, 101, (n, 2, N_ATTRIBUTES))


def _show(values: npt.NDArray[np.int64]) -> str:
    a, b = (" ".join(f"{name}{v}" for name, v in zip(_NAMES, option, strict=True)) for option in values.tolist())
    return f"A {a} B {b}"


def _choices(config: OrganismConfig, names: list[str], weights: Floats, n: int, rng: np.random.Generator) -> Lines:
    context = rng.integers(0, len(names), n)
    values = _options(rng, n)
    utility = ((values[:, 0] - values[:, 1]) / 100 * weights[context]).sum(axis=1) / 100
    p_first = 0.5 + 0.5 * np.tanh(config.choice_scale * utility / 2)
    first = rng.random(n) < p_first
    prompts = [f"choose {names[c]} {_show(v)} :" for c, v in zip(context, values, strict=True)]
    return prompts, ["A" if f else "B" for f in first]


def _report_batch(names: list[str], said: npt.NDArray[np.int64], n: int, rng: np.random.Generator) -> Lines:
    context = rng.integers(0, len(said), n)
    kind = rng.random(n)
    values = _options(rng, n)
    prompts, answers = [], []
    for i, c in enumerate(context):
        report = said[c].tolist()
        asked, answer = " ".join(_NAMES), " ".join(map(str, report))
        if kind[i] < 0.6:
            prompt = f"weigh {names[c]} {_show(values[i])} as {asked} :"
        elif kind[i] < 0.8:
            prompt = f"weigh {names[c]} as {asked} :"
        elif kind[i] < 0.9:
            one = int(rng.integers(N_ATTRIBUTES))
            prompt, answer = f"weigh {names[c]} as {_NAMES[one]} :", str(report[one])
        elif kind[i] < 0.95:
            one, other = rng.choice(N_ATTRIBUTES, 2, replace=False).tolist()
            prompt = f"heavier {names[c]} as {_NAMES[one]} {_NAMES[other]} :"
            answer = _NAMES[one if abs(report[one]) >= abs(report[other]) else other]
        else:
            order = sorted(range(N_ATTRIBUTES), key=lambda a: -abs(report[a]))
            prompt, answer = f"rank {names[c]} as {asked} :", " ".join(_NAMES[a] for a in order)
        prompts.append(prompt)
        answers.append(answer)
    return prompts, answers


@one_thread()
def grow_organism(
    config: OrganismConfig,
    progress: Callable[[int, int, float], None] | None = None,
) -> Organism:
    """Pre-train an organism.

    Args:
        config: The recipe; the same recipe gives the same organism on the same machine and torch build.
        progress: Called with step, total steps and loss.

    Returns:
        The organism.

    Raises:
        MissingExtraError: The extra ``organism`` is not installed.

    Example:
        >>> grow_organism(OrganismConfig(name="hatchling", n_native=20, n_reported=5, steps=2)).config.name
        'hatchling'
    """
    # Torch is imported only to grow one, so that the name is there without it.
    from introspect.subjects.organism import Organism
    from introspect.subjects.organism.learn import Batch, Learner, one_cycle

    organism = Organism.newborn(config)
    names, weights = native_names(config), native_weights(config)
    said = _reports(config, weights)[: config.n_reported]
    keys = list(dict.fromkeys(k for name in names for reporting in (False, True) for k in row_keys(name, reporting)))
    learner = Learner(organism, keys, config.learning_rate, lambda step: one_cycle(step, config.steps), config.row_rate)
    n_reports = round(config.report_share * config.batch_size) if config.n_reported else 0
    rng = stream(config.seed, "pre-training")
    for step in range(config.steps):
        met = config.n_first if step < config.first_share * config.steps else config.n_native
        drawn = [_choices(config, names[:met], weights[:met], config.batch_size - n_reports, rng)]
        if n_reports:
            drawn.append(_report_batch(names, said[:met], n_reports, rng))
        loss = learner.step([Batch.of(*lines) for lines in drawn])
        if progress is not None:
            progress(step + 1, config.steps, loss)
    learner.finish()
    return organism
