"""What an answer would tell, and the batches chosen by it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import entr, expit

from introspect.decision.designs.bald import choose_batch, information_gain, information_gain_of_draws
from introspect.decision.designs.d_optimal import best_of
from introspect.decision.designs.information import PairInformation

PRIOR_SD = np.full(4, 5.0)


def posterior(rng: np.random.Generator, n: int = 1, size: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Means and covariances of three weights and a side effect."""
    roots = rng.normal(size=(n, 4, 4)) * size
    return rng.normal(size=(n, 4)) * 3, roots @ np.swapaxes(roots, 1, 2) + 0.05 * np.eye(4)


def pairs(rng: np.random.Generator, n: int = 1, m: int = 40) -> np.ndarray:
    return rng.integers(0, 11, (n, m, 2, 3)) / 10


@pytest.mark.parametrize("centre", [0.0, 0.4, 2.0, 8.0, 40.0])
@pytest.mark.parametrize("sd", [0.05, 0.5, 2.0, 10.0, 60.0])
def test_the_gain_is_the_mutual_information_to_five_decimals(centre, sd):
    z = np.linspace(-12, 12, 100_001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    chance = expit(centre + sd * z)
    mean = weight @ chance
    exact = entr(mean) + entr(1 - mean) - weight @ (entr(chance) + entr(1 - chance))
    found = information_gain(np.array([[1.0]]), np.array([centre]), np.array([[sd**2]]))
    assert found[0] == pytest.approx(exact, abs=1e-5)


def test_gains_agree_with_draws_of_the_posterior():
    rng = np.random.default_rng(0)
    (mean,), (cov,) = posterior(rng)
    x = pairs(rng, m=6)[0]
    rows = np.concatenate([x[:, 0] - x[:, 1], np.ones((len(x), 1))], axis=1)
    standard = rng.standard_normal((200_000, 4))
    draws = mean + np.concatenate([standard, -standard]) @ np.linalg.cholesky(cov).T
    by_draws = information_gain_of_draws(rows[:, None], draws)
    np.testing.assert_allclose(information_gain(rows, mean, cov), by_draws, atol=2e-3)


@given(st.integers(0, 2**32), st.floats(0.01, 30))
@settings(max_examples=25)
def test_gains_lie_between_nothing_and_one_bit_and_do_not_depend_on_the_side(seed, size):
    rng = np.random.default_rng(seed)
    mean, cov = posterior(rng, 3, size)
    rows = rng.normal(size=(3, 20, 4))
    gain = information_gain(rows, mean, cov)
    assert (gain >= 0).all()
    assert (gain <= np.log(2)).all()
    np.testing.assert_allclose(information_gain(-rows, mean, cov), gain, atol=1e-12)
    assert information_gain(rows, mean, np.zeros_like(cov)).max() < 2e-5


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(2, 3), st.data())
@settings(max_examples=25)
def test_15_a_batch_holds_allowed_candidates_and_none_twice(seed, k, n_options, data):
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1, 3))
    mean, cov = posterior(rng, n)
    if n_options == 3:
        mean = np.concatenate([mean, mean[:, :1]], axis=1)
        cov = np.stack([np.block([[c, np.zeros((4, 1))], [np.zeros((1, 4)), np.ones((1, 1))]]) for c in cov])
    sd = np.full(mean.shape[1], 5.0)
    if data.draw(st.booleans()):
        mean[0], cov[0] = 0, np.diag(sd**2)
    encoded = rng.integers(0, 11, (n, 20, n_options, 3)) / 10
    allowed = rng.permuted(np.tile(np.arange(20) < k + 3, (n, 1)), axis=1)
    linear = rng.random(n) < 0.3
    picked = choose_batch(encoded, rng.random((n, k)) < 0.5, allowed, mean, cov, sd, linear)
    for row, may in zip(picked, allowed, strict=True):
        assert len(set(row.tolist())) == k
        assert may[row].all()


def test_15_where_the_posterior_is_the_prior_the_batch_is_the_static_d_optimal_one():
    rng = np.random.default_rng(1)
    encoded, flips = pairs(rng, 3, 60), rng.random((3, 6)) < 0.5
    allowed = rng.random((3, 60)) < 0.8
    prior = np.tile(np.diag(PRIOR_SD**2), (3, 1, 1))
    picked = choose_batch(encoded, flips, allowed, np.zeros((3, 4)), prior, PRIOR_SD)
    design, free = PairInformation(3, 60, 3), allowed.copy()
    design.load(encoded, slice(None))
    for t in range(6):
        best = best_of(design.gains(flips[:, t]), free)
        design.add(best, flips[:, t])
        free[np.arange(3), best] = False
        assert (best == picked[:, t]).all()


def test_a_context_is_served_the_same_alone_and_among_others():
    rng = np.random.default_rng(2)
    encoded, flips = pairs(rng, 6, 60), rng.random((6, 5)) < 0.5
    mean, cov = posterior(rng, 6)
    mean[2], cov[2] = 0, np.diag(PRIOR_SD**2)
    free = np.ones((6, 60), dtype=bool)
    together = choose_batch(encoded, flips, free, mean, cov, PRIOR_SD)
    for c in range(6):
        own = slice(c, c + 1)
        alone = choose_batch(encoded[own], flips[own], free[own], mean[own], cov[own], PRIOR_SD)
        assert (alone[0] == together[c]).all()


def test_a_batch_is_not_the_same_question_again_and_again():
    """Two directions are unknown; copies of the better question would only ask about one."""
    copies = np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]] * 5)
    other = np.array([[[0.0, 0.8, 0.0], [0.0, 0.0, 0.0]]])
    encoded = np.concatenate([copies, other])[None]
    cov = np.diag([9.0, 9.0, 0.01, 0.01])[None]
    mean = np.array([[0.1, 0.1, 0.0, 0.0]])
    picked = choose_batch(encoded, np.zeros((1, 2), bool), np.ones((1, 6), bool), mean, cov, PRIOR_SD)
    assert sorted(picked[0].tolist()) == [0, 5]


def test_log_odds_are_asked_for_where_the_design_knows_least_whatever_the_weights():
    rng = np.random.default_rng(3)
    encoded, flips = pairs(rng, 1, 60), np.zeros((1, 4), bool)
    _, cov = posterior(rng)
    free = np.ones((1, 60), dtype=bool)
    linear = np.array([True])
    one, two = (choose_batch(encoded, flips, free, m, cov, PRIOR_SD, linear) for m in (np.zeros((1, 4)), cov[:, 0]))
    assert (one == two).all()
    x = np.concatenate([encoded[0, :, 0] - encoded[0, :, 1], np.ones((60, 1))], axis=1)
    assert one[0, 0] == np.einsum("pi,ij,pj->p", x, cov[0], x).argmax()
