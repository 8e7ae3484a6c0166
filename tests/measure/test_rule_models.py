"""Which rule do these choices follow?"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from introspect.decision import RuleSampler, TrialGenerator, TrialSet, label
from introspect.errors import MeasureError
from introspect.measure.by_scenario import by_scenario
from introspect.measure.rule_models import compare_rules, fit_lexicographic, prior_scales

KINDS = ("linear", "interaction", "screening", "lexicographic")


def follows(make_world, kind: str, n: int = 150, contexts: int = 8, noise: str = "deterministic"):
    scenarios = make_world(n_scenarios=contexts, n_trials=1)[0]
    rules = RuleSampler(kind=kind).sample(scenarios, rng=4)
    trials = TrialGenerator().trials(scenarios, n, rng=0)
    return scenarios, rules, trials, label(trials, rules, noise, rng=1)


@pytest.mark.parametrize("kind", KINDS)
def test_each_rule_is_named_on_its_own_choices_more_often_than_any_other(make_world, kind):
    *_, trials = follows(make_world, kind, contexts=6)
    found = compare_rules(trials)
    counts = Counter(found.best().values())
    assert counts.most_common(1)[0][0] == kind
    assert counts[kind] >= 4
    if kind != "linear":
        lead, error = found.lead(kind)
        assert lead > 2 * error > 0


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "kind", ["screening", pytest.param("interaction", marks=SLOW), pytest.param("lexicographic", marks=SLOW)]
)
def test_the_linear_control_of_a_rule_is_called_linear(make_world, kind):
    scenarios, rules, trials, _ = follows(make_world, kind, n=100)
    controls = rules.linear_controls(scenarios, rng=0)
    counts = Counter(compare_rules(label(trials, controls, rng=1)).best().values())
    assert counts["linear"] >= 7


def test_fitted_rules_choose_as_the_true_ones_do(make_world):
    from introspect.decision.rules import agreement

    for kind in KINDS:
        scenarios, rules, _, trials = follows(make_world, kind, n=150, contexts=3)
        fitted = compare_rules(trials, kinds=[kind]).rules(kind)
        shares = [agreement(fitted[s.id], rules[s.id], s, rng=0) for s in scenarios]
        assert np.mean(shares) > 0.9


def test_the_share_of_blind_picks_is_fitted_beside_the_rule(make_world):
    for noise, low, high in (("deterministic", 0.01, 0.03), ("lapse", 0.05, 0.2)):
        *_, trials = follows(make_world, "lexicographic", noise=noise)
        lapses = [fit["lexicographic"].lapse for fit in compare_rules(trials, kinds=["lexicographic"]).fits.values()]
        assert low <= np.mean(lapses) <= high


def test_guessing_scores_as_guessing(make_world):
    _, _, trials, _ = follows(make_world, "linear", n=80)
    tossed = trials.with_labels(np.random.default_rng(0).integers(0, 2, len(trials)))
    found = compare_rules(tossed)
    for row in found.table():
        assert row["held_out"] == pytest.approx(-math.log(2), abs=0.12)
    assert sum(kind != "linear" for kind in found.best().values()) <= 3


def test_more_than_two_options_are_fine(make_world):
    scenarios = make_world(n_scenarios=3, n_trials=1)[0]
    trials = TrialGenerator(n_options=3).trials(scenarios, 120, rng=0)
    for kind in ("interaction", "screening", "lexicographic"):
        rules = RuleSampler(kind=kind).sample(scenarios, rng=2)
        lead, _ = compare_rules(label(trials, rules, rng=0), kinds=["linear", kind], n_folds=2).lead(kind)
        assert lead > 0


def test_a_scenario_is_compared_alike_alone_and_among_others_of_equal_scales(make_world):
    *_, trials = follows(make_world, "lexicographic", contexts=3)
    among = compare_rules(trials, kinds=["lexicographic"], rng=3).fits["s001"]["lexicographic"]
    alone = compare_rules(trials.for_scenario("s001"), kinds=["lexicographic"], rng=3).fits["s001"]["lexicographic"]
    assert among.rule == alone.rule
    np.testing.assert_array_equal(among.scores, alone.scores)


def test_the_exact_search_finds_an_order_no_worse_than_the_true_one(make_world):
    _, rules, _, trials = follows(make_world, "lexicographic", n=60, noise="lapse")
    for part in by_scenario(trials):
        cases = np.ones((1, part.n))
        found = fit_lexicographic(part, cases)
        hits = [np.take_along_axis(p, part.chosen[:, None], axis=1).sum() for p in (
            found.probability[0], np.exp(rules[part.scenario.id].utility(part.scenario, part.values)))]  # fmt: skip
        assert hits[0] >= hits[1] - 3  # it pays for each turn, so a turn or two may be left out


def test_scenarios_share_their_prior_scales(make_world):
    sharp = by_scenario(follows(make_world, "linear", n=80)[3])
    tau, _, product = prior_scales(sharp)
    assert tau >= 8.0
    assert product <= 0.5
    noisy = by_scenario(make_world(n_scenarios=8, n_trials=80, scale=2.0)[2])
    assert prior_scales(noisy)[0] <= 3.0


def test_what_cannot_be_compared_is_left_out_with_a_reason(make_world):
    _, _, trials, labelled = follows(make_world, "linear", n=40, contexts=3)
    labels = labelled.labels.astype(int)
    labels[:40] = 0
    labels[40:75] = -1
    found = compare_rules(trials.with_labels(labels), kinds=["linear"])
    assert set(found.skipped) == {"s000", "s001"}
    assert list(found.fits) == ["s002"]
    assert any("one side" in line for line in found.sentences())
    assert compare_rules(TrialSet()).sentences() == ["No scenario had choices that rules could be fitted to."]
    with pytest.raises(MeasureError, match="some of linear"):
        compare_rules(trials, kinds=["quadratic"])
    with pytest.raises(MeasureError, match="n_folds"):
        compare_rules(trials, n_folds=1)
    with pytest.raises(MeasureError, match="'screening'"):
        found.rules("screening")


def test_the_comparison_becomes_a_frame_and_sentences(make_world):
    *_, trials = follows(make_world, "lexicographic", n=60, contexts=3)
    found = compare_rules(trials)
    frame = found.to_pandas()
    assert len(frame) == 12
    assert frame.groupby("scenario_id").best.sum().tolist() == [1, 1, 1]
    assert "lexicographic rule foretells" in " ".join(found.sentences())
    assert [row["rule"] for row in found.table()] == list(KINDS)
    fit = found.fits["s000"]["linear"]
    assert fit.bic == pytest.approx(fit.n_parameters * math.log(60) - 2 * fit.log_likelihood)
