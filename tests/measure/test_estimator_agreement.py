"""The estimators against other people's implementations, on choices that overlap."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from introspect.measure import ChoiceModel
from introspect.measure.firth import fit_firth
from introspect.measure.newton import fit_map
from introspect.measure.separation import separated

N_CONTEXTS = 10


@pytest.fixture(scope="module")
def data():
    """Ten contexts of 100 trials, five attributes and an intercept; none separated."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (N_CONTEXTS, 100, 5)) - rng.uniform(0, 1, (N_CONTEXTS, 100, 5))
    utility = np.einsum("cnq,cq->cn", x, rng.uniform(-4, 4, (N_CONTEXTS, 5)))
    y = (utility + rng.logistic(size=utility.shape) > 0).astype(float)
    x = np.concatenate([x, np.ones_like(x[..., :1])], axis=2)
    assert not separated(x[:, :, None], y[..., None], np.ones_like(y), flat=True).any()
    return x, y


def test_maximum_likelihood_agrees_with_statsmodels_in_estimates_and_standard_errors(data):
    sm = pytest.importorskip("statsmodels.api")
    x, y = data
    ours = fit_map(x[:, :, None], y[..., None], np.full(6, np.inf))
    for c in range(N_CONTEXTS):
        theirs = sm.Logit(y[c], x[c]).fit(disp=0, tol=1e-14, maxiter=100)
        np.testing.assert_allclose(ours.coef[c], theirs.params, atol=1e-8)
        np.testing.assert_allclose(np.sqrt(np.diag(ours.cov[c])), theirs.bse, atol=1e-8)
        assert ours.log_likelihood[c] == pytest.approx(theirs.llf, abs=1e-8)


@pytest.mark.parametrize("tau", [1.0, 5.0, np.inf])
def test_ridge_agrees_with_scikit_learns_tight_solver(data, tau):
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = data
    ours = fit_map(x[:, :, None], y[..., None], np.full(6, tau))
    for c in range(N_CONTEXTS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = linear.LogisticRegression(
                C=tau**2, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=200
            ).fit(x[c], y[c])
        np.testing.assert_allclose(ours.coef[c], theirs.coef_[0], atol=1e-8)


@pytest.mark.parametrize("n_trials", [15, 40, 100])
def test_firth_agrees_with_firthmodels(data, n_trials):
    firthmodels = pytest.importorskip("firthmodels")
    x, y = (a[:, :n_trials] for a in data)
    sound = ~separated(x[:, :, None], y[..., None], np.ones_like(y), flat=True)
    ours = fit_firth(x[:, :, None], y[..., None])
    assert sound.any()
    for c in np.flatnonzero(sound):
        theirs = firthmodels.FirthLogisticRegression(fit_intercept=False, gtol=1e-9, xtol=1e-9, max_iter=500).fit(
            x[c], y[c]
        )
        np.testing.assert_allclose(ours.coef[c], theirs.coef_, atol=1e-7)


def test_the_model_on_trials_is_the_fit_on_its_differences(make_world):
    sm = pytest.importorskip("statsmodels.api")
    _, _, trials = make_world(n_scenarios=4, n_trials=150, scale=2.0)
    weights = ChoiceModel("ml").fit(trials)
    assert weights.converged.all()
    for i, name in enumerate(weights.scenario_ids):
        own = trials.for_scenario(name)
        x = np.column_stack([own.differences(own.blocks[0]), np.ones(len(own))])
        theirs = sm.Logit(own.labels == 0, x).fit(disp=0, tol=1e-14, maxiter=100)
        np.testing.assert_allclose(np.append(weights.coef[i], weights.intercept[i]), theirs.params, atol=1e-8)
        np.testing.assert_allclose(np.sqrt(np.diag(weights.cov[i])), theirs.bse, atol=1e-8)
