"""What a ridge logit must keep, whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from introspect.errors import MeasureError
from introspect.measure.newton import MapFit, fit_map, modes

SD = np.array([5.0, 5.0, 5.0, 5.0])


def data(seed: int, n_contexts: int = 2, n_trials: int = 25, n_rivals: int = 1, n_coef: int = 4, scale: float = 6.0):
    """Random differences in [-1, 1] and choices made from them; a large scale explains every choice."""
    rng = np.random.default_rng(seed)
    design = rng.uniform(-1, 1, (n_contexts, n_trials, n_rivals, n_coef))
    true = rng.normal(size=(n_contexts, n_coef)) * scale
    utility = np.einsum("cnkq,cq->cnk", design, true)
    noisy = np.concatenate([utility, np.zeros((n_contexts, n_trials, 1))], axis=2)
    noisy += rng.gumbel(size=noisy.shape)
    picks = noisy.argmax(axis=2)
    return design, (picks[..., None] == np.arange(n_rivals)).astype(float)


def same(a: MapFit, b: MapFit, tolerance: float = 1e-8) -> None:
    np.testing.assert_allclose(a.coef, b.coef, atol=tolerance)
    np.testing.assert_allclose(a.cov, b.cov, atol=tolerance)


seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([0.0, 1.0, 6.0, 200.0])
quick = settings(max_examples=25, deadline=None)


@quick
@given(seeds, scales)
def test_showing_any_trials_the_other_way_round_changes_nothing(seed, scale):
    design, outcome = data(seed, scale=scale)
    swap = np.random.default_rng(seed + 1).random(outcome.shape[:2]) < 0.5
    turned = np.where(swap[..., None, None], -design, design)
    answered = np.where(swap[..., None], 1 - outcome, outcome)
    same(fit_map(design, outcome, SD), fit_map(turned, answered, SD))


@quick
@given(seeds, scales, st.sampled_from([1, 2]))
def test_the_order_of_attributes_only_reorders_the_weights(seed, scale, n_rivals):
    design, outcome = data(seed, scale=scale, n_rivals=n_rivals)
    order = np.random.default_rng(seed + 1).permutation(4)
    fit, moved = fit_map(design, outcome, SD), fit_map(design[..., order], outcome, SD)
    np.testing.assert_allclose(moved.coef, fit.coef[:, order], atol=1e-8)
    np.testing.assert_allclose(moved.cov, fit.cov[:, order][:, :, order], atol=1e-8)


@quick
@given(seeds, scales, st.sampled_from([1, 2]))
def test_turning_an_attribute_round_only_turns_its_weight(seed, scale, n_rivals):
    design, outcome = data(seed, scale=scale, n_rivals=n_rivals)
    sign = np.where(np.random.default_rng(seed + 1).random(4) < 0.5, -1.0, 1.0)
    moved = fit_map(design * sign, outcome, SD)
    np.testing.assert_allclose(moved.coef, fit_map(design, outcome, SD).coef * sign, atol=1e-8)


@quick
@given(seeds, scales, st.sampled_from([1, 2]))
def test_the_order_of_trials_does_not_matter(seed, scale, n_rivals):
    design, outcome = data(seed, scale=scale, n_rivals=n_rivals)
    order = np.random.default_rng(seed + 1).permutation(design.shape[1])
    same(fit_map(design, outcome, SD), fit_map(design[:, order], outcome[:, order], SD))


@quick
@given(seeds, scales)
def test_choosing_the_opposite_everywhere_negates_the_weights(seed, scale):
    design, outcome = data(seed, scale=scale)
    np.testing.assert_allclose(fit_map(design, 1 - outcome, SD).coef, -fit_map(design, outcome, SD).coef, atol=1e-8)


@quick
@given(seeds, scales)
def test_pairs_without_a_difference_say_nothing_about_weights(seed, scale):
    design, outcome = data(seed, scale=scale)
    ties = np.zeros((2, 5, 1, 4))
    answers = np.random.default_rng(seed).integers(0, 2, (2, 5, 1)).astype(float)
    more = fit_map(np.concatenate([design, ties], axis=1), np.concatenate([outcome, answers], axis=1), SD)
    same(fit_map(design, outcome, SD), more)


@quick
@given(seeds)
def test_both_answers_to_every_trial_cancel(seed):
    design, outcome = data(seed)
    both = fit_map(np.concatenate([design] * 2, axis=1), np.concatenate([outcome, 1 - outcome], axis=1), SD)
    np.testing.assert_allclose(both.coef, 0.0, atol=1e-9)


@quick
@given(seeds, scales, st.sampled_from([1, 2]))
def test_case_weights_count_rows(seed, scale, n_rivals):
    design, outcome = data(seed, n_contexts=1, scale=scale, n_rivals=n_rivals)
    counts = np.random.default_rng(seed + 1).integers(0, 4, (1, design.shape[1]))
    weighted = fit_map(design, outcome, SD, counts.astype(float))
    repeated = fit_map(np.repeat(design, counts[0], axis=1), np.repeat(outcome, counts[0], axis=1), SD)
    same(weighted, repeated)
    same(fit_map(design, outcome, SD), fit_map(design, outcome, SD, np.ones(counts.shape)))


@quick
@given(seeds, st.sampled_from([1, 2]))
def test_fitting_together_is_fitting_one_by_one(seed, n_rivals):
    parts = [data(seed + i, n_contexts=1, scale=scale, n_rivals=n_rivals) for i, scale in enumerate((0, 2, 200))]
    design, outcome = (np.concatenate(side) for side in zip(*parts, strict=True))
    together = fit_map(design, outcome, SD)
    for c, (x, y) in enumerate(parts):
        alone = fit_map(x, y, SD)
        np.testing.assert_allclose(together.coef[c], alone.coef[0], atol=1e-8)
        np.testing.assert_allclose(together.log_evidence[c], alone.log_evidence[0], atol=1e-8)


@quick
@given(seeds, scales)
def test_weights_grow_with_the_prior_scale(seed, scale):
    design, outcome = data(seed, scale=scale)
    norms = [np.linalg.norm(fit_map(design, outcome, np.full(4, tau)).coef, axis=1) for tau in (0.5, 1, 5, 20)]
    assert (np.diff(norms, axis=0) >= -1e-9).all()


@quick
@given(seeds, st.sampled_from([50.0, 1e6]), st.sampled_from([1, 3]), st.sampled_from([5.0, 20.0, 1000.0]))
def test_the_fit_stands_still_even_where_every_choice_is_explained(seed, scale, n_rivals, tau):
    design, outcome = data(seed, scale=scale, n_rivals=n_rivals)
    fit = fit_map(design, outcome, np.full(4, tau))
    assert fit.converged.all()
    assert (fit.gradient < 1e-8).all()
    assert np.isfinite(fit.coef).all()


@quick
@given(seeds, scales, st.sampled_from([1, 2]), st.integers(0, 30))
def test_the_covariance_is_symmetric_and_positive(seed, scale, n_rivals, n_trials):
    design, outcome = data(seed, n_trials=n_trials, scale=scale, n_rivals=n_rivals)
    cov = fit_map(design, outcome, SD).cov
    np.testing.assert_array_equal(cov, np.swapaxes(cov, 1, 2))
    assert (np.linalg.eigvalsh(cov) > 0).all()
    assert (np.linalg.eigvalsh(cov) < 25 * (1 + 1e-9)).all()  # data never add doubt to the prior's


@pytest.mark.parametrize("n_rivals", [1, 2, 4])
def test_the_mode_is_the_one_a_general_optimiser_finds(n_rivals):
    design, outcome = data(3, n_contexts=1, n_trials=60, n_rivals=n_rivals, scale=3.0)

    def cost(b):
        eta = design[0] @ b
        total = np.logaddexp.reduce(np.concatenate([eta, np.zeros((60, 1))], axis=1), axis=1)
        return total.sum() - (outcome[0] * eta).sum() + 0.5 * (b**2 / SD**2).sum()

    found = minimize(cost, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(fit_map(design, outcome, SD).coef[0], found.x, atol=1e-5)


def test_the_evidence_is_the_integral_over_the_prior():
    design, outcome = data(4, n_contexts=1, n_trials=40, n_coef=1, scale=2.0)
    sd = 2.0
    grid = np.linspace(-12, 12, 20001)
    eta = design[0, :, 0, 0][:, None] * grid
    log_like = (outcome[0] * eta - np.logaddexp(0, eta)).sum(axis=0)
    density = np.exp(log_like - 0.5 * (grid / sd) ** 2) / (sd * np.sqrt(2 * np.pi))
    exact = np.log(density.sum() * (grid[1] - grid[0]))
    assert fit_map(design, outcome, np.array([sd])).log_evidence[0] == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("start", [4.0, -4.0, 20.0, 300.0])
def test_no_start_sends_the_search_to_and_fro(start):
    # Balanced answers: a capped step from 4 lands on -4, which is exactly as good.
    found = fit_map(
        np.ones((1, 20, 1, 1)),
        (np.arange(20) < 10)[None, :, None] * 1.0,
        np.array([50.0]),
        start=np.full((1, 1), start),
    )
    assert found.converged.all()
    assert found.coef[0, 0] == pytest.approx(0.0, abs=1e-9)


@quick
@given(seeds, scales, st.sampled_from([1, 2]), st.sampled_from([0.5, 3.0, 20.0]))
def test_the_search_for_a_scale_sees_the_same_modes_and_evidence_as_the_fit(seed, scale, n_rivals, tau):
    design, outcome = data(seed, n_rivals=n_rivals, scale=scale)
    fit = fit_map(design, outcome, SD * tau / 5.0)
    coef, evidence = modes(design, outcome, SD * tau / 5.0, np.ones(outcome.shape[:2]), None, 1e-10)
    np.testing.assert_allclose(coef, fit.coef, atol=1e-7)
    np.testing.assert_allclose(evidence, fit.log_evidence, atol=1e-7)


def test_shapes_that_do_not_fit_are_refused_with_both_shapes():
    design, outcome = data(0)
    with pytest.raises(MeasureError, match=r"\(2, 25, 1, 4\).*\(2, 24, 1\)"):
        fit_map(design, outcome[:, 1:], SD)
    with pytest.raises(MeasureError, match="finite"):
        fit_map(np.full_like(design, np.nan), outcome, SD)
    with pytest.raises(MeasureError, match="positive"):
        fit_map(design, outcome, np.zeros(4))
