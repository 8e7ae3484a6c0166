"""Separation is found exactly, and cheaply."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from introspect.measure import separation
from introspect.measure.newton import fit_map
from introspect.measure.separation import separated

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def by_definition(design: np.ndarray, outcome: np.ndarray) -> bool:
    """Whether a direction exists that never lowers a chosen option's utility against another and once raises it."""
    full = np.concatenate([design, np.zeros_like(design[:, :1])], axis=1)
    share = np.concatenate([outcome, 1 - outcome.sum(axis=1, keepdims=True)], axis=1)
    rows = np.array(
        [
            full[n, k] - full[n, j]
            for n in range(len(full))
            for k in range(full.shape[1])
            for j in range(full.shape[1])
            if k != j and share[n, k] > 1e-9
        ]
    )
    found = linprog(-rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    return bool(found.fun < -1e-6)


def choices(seed: int, n_rivals: int, n_trials: int, scale: float, levels: int | None):
    rng = np.random.default_rng(seed)
    shape = (4, n_trials, n_rivals, 3)
    design = rng.uniform(-1, 1, shape) if levels is None else rng.integers(-levels, levels + 1, shape).astype(float)
    utility = np.einsum("cnkq,cq->cnk", design, rng.normal(size=(4, 3)) * scale)
    noisy = np.concatenate([utility, np.zeros((4, n_trials, 1))], axis=2) + rng.gumbel(size=(4, n_trials, n_rivals + 1))
    return design, (noisy.argmax(axis=2)[..., None] == np.arange(n_rivals)).astype(float)


@quick
@given(
    seed=seeds,
    n_rivals=st.sampled_from([1, 1, 2]),
    n_trials=st.integers(1, 25),
    scale=st.sampled_from([0.0, 2.0, 6.0, 100.0]),
    levels=st.sampled_from([None, 1, 2]),
    tau=st.sampled_from([None, 0.5, 5.0, 20.0]),
)
def test_it_says_what_the_definition_says_whatever_fit_it_starts_from(seed, n_rivals, n_trials, scale, levels, tau):
    # Few levels make quasi-complete separation frequent.
    design, outcome = choices(seed, n_rivals, n_trials, scale, levels)
    case = np.ones(outcome.shape[:2])
    coef = None if tau is None else fit_map(design, outcome, np.full(3, tau), case).coef
    expected = [by_definition(x, y) for x, y in zip(design, outcome, strict=True)]
    assert separated(design, outcome, case, coef).tolist() == expected


def test_complete_quasi_complete_and_no_separation():
    x = np.array([1.0, 2.0, 0.0, 0.0, -1.0])[None, :, None, None]
    overlap = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    quasi = np.array([1.0, 1.0, 1.0, 0.0, 0.0])  # at 0 both, elsewhere all explained
    both = np.concatenate([x, np.ones_like(x)], axis=3)
    for outcome, expected in ((overlap, False), (quasi, True)):
        assert separated(both, outcome[None, :, None], np.ones((1, 5)))[0] == expected


def test_padding_and_missing_choices_do_not_count():
    x = np.array([1.0, 2.0, -1.0, 1.5])[None, :, None, None]
    y = np.array([1.0, 1.0, 0.0, 0.0])[None, :, None]
    assert not separated(x, y, np.array([[1.0, 1.0, 1.0, 1.0]]))[0]
    assert separated(x, y, np.array([[1.0, 1.0, 1.0, 0.0]]))[0]
    assert not separated(x, y, np.zeros((1, 4)))[0]
    assert separated(x, y, np.zeros((1, 4)), flat=True)[0]


def test_a_predictor_that_never_differs_is_flat_and_not_separated():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (1, 40, 1, 2))
    x[..., 1] = 0.0
    y = rng.integers(0, 2, (1, 40, 1)).astype(float)
    assert not separated(x, y, np.ones((1, 40)))[0]
    assert separated(x, y, np.ones((1, 40)), flat=True)[0]


def test_fractions_overlap_by_themselves_unless_they_are_all_ties():
    x = np.random.default_rng(0).uniform(-1, 1, (1, 10, 1, 2))
    share = 1 / (1 + np.exp(-(x @ np.array([9.0, -4.0]))))
    assert not separated(x, share, np.ones((1, 10)))[0]
    assert separated(x, (share > 0.5).astype(float), np.ones((1, 10)))[0]


@pytest.mark.parametrize("scale", [2.0, 5.0, 10.0, 1e3])
def test_hardly_any_context_needs_a_linear_programme(scale, monkeypatch):
    calls = []
    exact = separation._programme
    monkeypatch.setattr(separation, "_programme", lambda rows: calls.append(1) or exact(rows))
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (300, 50, 1, 5)) - rng.uniform(0, 1, (300, 50, 1, 5))
    x = np.concatenate([x, np.ones_like(x[..., :1])], axis=3)
    utility = np.einsum("cnkq,cq->cnk", x[..., :5], rng.uniform(-1, 1, (300, 5))) * scale
    y = (utility + rng.logistic(size=utility.shape) > 0).astype(float)
    coef = fit_map(x, y, np.full(6, 5.0)).coef
    start = time.process_time()
    separated(x, y, np.ones((300, 50)), coef)
    assert time.process_time() - start < 2.0
    assert len(calls) <= 15
