"""What every design promises, whatever the scenario and the seed."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect._random import stream
from introspect.decision import (
    Attribute,
    ChatStyle,
    DecisionScenario,
    Preference,
    PreferenceSampler,
    TrialGenerator,
    TrialSet,
    label,
)
from introspect.decision.designs.candidates import grids_of, has_dominant_option, n_distinct
from introspect.decision.designs.pool import PoolSource, middle_counts
from introspect.errors import ScenarioError
from introspect.testing.strategies import attributes, preference_sets, scenario_sets, scenarios

# Fine enough that a handful of trials always fits.
FINE = scenarios(attributes=attributes(kinds=("numeric", "categorical")), min_attributes=3, max_attributes=5)
GENERATORS = st.builds(
    TrialGenerator,
    design=st.sampled_from(["random", "d-optimal"]),
    n_options=st.integers(2, 3),
    counterbalance=st.booleans(),
    shuffle_attributes=st.booleans(),
    n_candidates=st.sampled_from([24, 60, 200]),
    interior_share=st.sampled_from([0.0, 0.2, 1.0]),
)
AUDITED = st.builds(
    TrialGenerator,
    design=st.sampled_from(["random", "d-optimal"]),
    counterbalance=st.booleans(),
    shuffle_attributes=st.just(True),
    n_candidates=st.just(60),
    audit_share=st.floats(0.05, 0.5),
)
SEEDS = st.integers(0, 2**40)
FEW = settings(max_examples=15)
BOTH = pytest.mark.parametrize("design", ["random", "d-optimal"])


def contexts(n: int, n_attributes: int = 5, high: float = 100) -> list[DecisionScenario]:
    axes = [Attribute(name=f"a{i}", low=0, high=high) for i in range(n_attributes)]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    ]


def option_sets(trials: TrialSet) -> list[frozenset]:
    return [frozenset(trial.values) for _, trial in trials]


def information(trials: TrialSet) -> np.ndarray:
    """Of the weights and the side effects at the null, as shown."""
    shown = trials.blocks[0].encoded()
    n, n_options, _ = shown.shape
    sides = np.broadcast_to(np.eye(n_options)[:, :-1], (n, n_options, n_options - 1))
    rows = np.concatenate([shown, sides], axis=2)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.einsum("njp,njq->pq", rows, rows) / n_options


@FEW
@given(FINE, SEEDS, GENERATORS)
def test_1_every_value_lies_in_its_range_and_on_its_grid(scenario, seed, generator):
    (block,) = generator.trials([scenario], n=7, rng=seed).blocks
    block.check_values()
    for k, attribute in enumerate(scenario.attributes):
        values = block.values[..., k]
        assert (attribute.grid.at(attribute.grid.nearest(values)) == values).all()


@BOTH
@settings(max_examples=2, deadline=None)
@given(seed=SEEDS)
def test_2_the_same_seed_gives_the_same_trials_in_another_process(design, seed):
    code = (
        "from introspect.decision import *\n"
        "axes = [Attribute(name=f'a{i}', low=0, high=100) for i in range(5)]\n"
        "ks = [DecisionScenario(id=f'k{i}', chooser=f'K{i}', item='lot', question='Which?', attributes=axes)"
        " for i in (2, 0, 1)]\n"
        f"g = TrialGenerator(design={design!r}, audit_share=0.1)\n"
        "print(*(g.trials(ks, 30, rng=SEED).for_scenario(f'k{i}').hash for i in range(3)))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code.replace("SEED", str(seed))], capture_output=True, text=True, check=True
    ).stdout.split()
    here = TrialGenerator(design=design, audit_share=0.1).trials(contexts(3), 30, rng=seed)
    assert [here.for_scenario(f"k{i}").hash for i in range(3)] == there


@FEW
@given(scenario_sets(FINE), SEEDS, GENERATORS, st.randoms())
def test_3_trials_do_not_depend_on_other_contexts_or_their_order(scenarios, seed, generator, random):
    together = generator.trials(scenarios, n=6, rng=seed)
    again = generator.trials(random.sample(list(scenarios), len(scenarios)), n=6, rng=seed)
    for scenario in scenarios:
        alone = generator.trials([scenario], n=6, rng=seed)
        assert together.for_scenario(scenario.id) == alone
        assert again.for_scenario(scenario.id) == alone


def test_3_holds_where_many_contexts_share_arrays_and_rounding_could_tell():
    ranges = ((0, 100), (18, 65), (0.5, 4), (0.1, 0.9), (200, 9000))
    axes = [Attribute(name=c, low=lo, high=hi) for c, (lo, hi) in zip("pqrst", ranges, strict=True)]
    many = [k.model_copy(update={"attributes": tuple(axes)}) for k in contexts(60)]
    generator = TrialGenerator(design="d-optimal")
    together = generator.trials(many, 40, rng=5)
    for scenario in (many[0], many[31], many[59]):
        assert generator.trials([scenario], 40, rng=5) == together.for_scenario(scenario.id)


@FEW
@given(FINE, SEEDS, GENERATORS | AUDITED, st.integers(1, 9), st.integers(0, 9))
def test_4_the_first_n_of_more_trials_are_the_n_trial_draw(scenario, seed, generator, n, more):
    long = generator.trials([scenario], n=n + more, rng=seed)
    assert generator.trials([scenario], n=n, rng=seed) == long.take(slice(n))


@FEW
@given(FINE, SEEDS, GENERATORS)
def test_5_no_option_shown_twice_and_no_two_trials_with_the_same_options(scenario, seed, generator):
    trials = generator.trials([scenario], n=12, rng=seed)
    sets = option_sets(trials)
    assert all(len(options) == generator.n_options for options in sets)
    assert len(set(sets)) == len(sets)
    if generator.n_options == 2:
        assert (trials.differences(trials.blocks[0]) != 0).any(axis=1).all()


@BOTH
@pytest.mark.parametrize("n_options", [2, 3])
def test_5_a_small_grid_can_be_emptied_but_not_overdrawn(design, n_options):
    axes = tuple(Attribute(name=c, levels=("x", "y", "z")) for c in "pq")
    scenario = contexts(1)[0].model_copy(update={"attributes": axes})
    possible = n_distinct(grids_of(scenario), n_options)
    generator = TrialGenerator(design=design, n_options=n_options)
    assert len(set(option_sets(generator.trials([scenario], n=possible, rng=0)))) == possible
    with pytest.raises(ScenarioError, match=f"its 9 possible options give only {possible} distinct"):
        generator.trials([scenario], n=possible + 1, rng=0)


def test_5_a_grid_just_too_large_to_list_can_be_nearly_emptied():
    axes = tuple(Attribute(name=c, levels=("v", "w", "x", "y")) for c in "pq")
    scenario = contexts(1)[0].model_copy(update={"attributes": axes})  # 120 pairs, and 24 candidates a pool
    trials = TrialGenerator(design="d-optimal", n_candidates=24).trials([scenario], n=110, rng=0)
    assert len(set(option_sets(trials))) == 110


@FEW
@given(FINE, SEEDS, GENERATORS | AUDITED, st.integers(1, 12))
def test_6_sides_are_balanced_within_one_for_every_prefix(scenario, seed, generator, n):
    (block,) = generator.model_copy(update={"counterbalance": True}).trials([scenario], n=n, rng=seed).blocks
    assert np.abs(np.cumsum(np.where(block.flipped, 1, -1))).max() <= 1


@FEW
@given(FINE, SEEDS, GENERATORS | AUDITED)
def test_7_swapping_the_options_negates_the_predictors_exactly(scenario, seed, generator):
    trials = generator.model_copy(update={"n_options": 2}).trials([scenario], n=8, rng=seed)
    swapped = trials.swapped()
    assert (trials.differences(trials.blocks[0]) == -swapped.differences(swapped.blocks[0])).all()


@BOTH
@given(seed=SEEDS, factor=st.sampled_from([0.5, 3, 10, 1000]), shift=st.integers(-50, 50))
@settings(max_examples=10)
def test_8_other_units_leave_the_predictors_unchanged(design, seed, factor, shift):
    def trials(low: float, high: float, step: float) -> np.ndarray:
        axes = tuple(Attribute(name=c, low=low, high=high, step=step) for c in "pqr")
        scenario = contexts(1)[0].model_copy(update={"attributes": axes})
        drawn = TrialGenerator(design=design, n_candidates=120).trials([scenario], 12, rng=seed)
        return drawn.differences(drawn.blocks[0])

    there = trials(10 * factor + shift, 90 * factor + shift, 2 * factor)
    np.testing.assert_allclose(there, trials(10, 90, 2), rtol=0, atol=1e-12)


@FEW
@given(FINE, SEEDS, st.integers(2, 3), st.booleans())
def test_9_a_d_optimal_design_has_full_rank_from_as_many_trials_as_weights_on(scenario, seed, n_options, balanced):
    generator = TrialGenerator(design="d-optimal", n_options=n_options, counterbalance=balanced)
    (block,) = generator.trials([scenario], n=scenario.n_predictors, rng=seed).blocks
    shown = block.encoded()
    x = (shown[:, :-1] - shown[:, -1:]).reshape(-1, scenario.n_predictors)
    assert np.linalg.matrix_rank(x, tol=1e-6) == scenario.n_predictors


@pytest.mark.parametrize("n", [6, 15, 40])
@pytest.mark.parametrize("n_options", [2, 3])
@settings(max_examples=3, deadline=None)
@given(seed=SEEDS)
def test_10_a_d_optimal_design_tells_more_than_the_same_number_at_random(n, n_options, seed):
    scenarios = contexts(12)
    chosen = TrialGenerator(design="d-optimal", n_options=n_options).trials(scenarios, n, rng=seed)
    random = TrialGenerator(n_options=n_options, n_candidates=600).trials(scenarios, n, rng=seed)
    gains = []
    for scenario in scenarios:
        ours, theirs = (information(t.for_scenario(scenario.id)) for t in (chosen, random))
        gains.append(np.linalg.slogdet(ours)[1] - np.linalg.slogdet(theirs)[1])
    assert min(gains) > -0.2
    assert np.mean(gains) > 0.5


def test_10_sides_are_nearly_orthogonal_to_the_weights():
    """Although d-optimal differences are larger."""
    sizes = {}
    for design in ("random", "d-optimal"):
        trials = TrialGenerator(design=design).trials(contexts(40), 20, rng=2)
        each = [information(trials.for_scenario(f"k{i}"))[:-1, -1] for i in range(40)]
        sizes[design] = np.abs(each).mean()
    assert sizes["d-optimal"] < 0.7 * sizes["random"]


@FEW
@given(st.data(), SEEDS, st.sampled_from([0.0, 0.1, 0.34, 1.0]), st.integers(2, 3))
def test_11_the_dominated_share_keeps_its_cap_under_any_signs_and_for_every_prefix(data, seed, cap, n_options):
    scenario = contexts(1, data.draw(st.integers(2, 5)))[0]
    wishes = data.draw(preference_sets([scenario]))
    signs = np.sign(wishes[scenario.id].vector(scenario))
    if cap < 1 and np.count_nonzero(signs) < 2:
        return  # with one weight (nearly) every trial is dominated
    generator = TrialGenerator(design="d-optimal", max_dominated=cap, n_options=n_options, n_candidates=60)
    trials = generator.trials([scenario], n=15, rng=seed, preferences=wishes)
    dominated = has_dominant_option(trials.encoded(trials.blocks[0]) * signs)
    assert (np.cumsum(dominated) <= cap * np.arange(1, 16) + 1e-12).all()


def test_11_a_cap_that_cannot_be_kept_is_an_error_that_names_the_scenario():
    scenario = contexts(1, 2)[0]
    wishes = {"k0": Preference(scenario_id="k0", weights={"a0": 1, "a1": 0})}
    generator = TrialGenerator(design="d-optimal", max_dominated=0, n_candidates=24)
    with pytest.raises(ScenarioError, match="scenario 'k0': found only 0 of 1 distinct trials within max_dominated=0"):
        generator.trials([scenario], n=1, rng=0, preferences=wishes)


@FEW
@given(FINE, SEEDS, GENERATORS, st.data())
def test_12_labels_without_noise_follow_utility_and_blind_ones_do_not(scenario, seed, generator, data):
    wishes = data.draw(preference_sets([scenario]))
    trials = generator.trials([scenario], n=9, rng=seed)
    (block,) = trials.blocks
    utility = block.encoded() @ wishes[scenario.id].vector(scenario)
    chosen = label(trials, wishes, rng=seed).labels
    assert (utility[np.arange(9), chosen] >= utility.max(axis=1) - 1e-9).all()
    # At lapse 1 the very same labels come out under the opposite preference.
    opposite = {scenario.id: Preference.of(scenario, -wishes[scenario.id].vector(scenario))}
    blind = [label(trials, w, "lapse", lapse=1.0, rng=seed).labels.tolist() for w in (wishes, opposite)]
    assert blind[0] == blind[1]


@BOTH
@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_13_the_label_stream_does_not_move_the_design(design, seed):
    scenarios = contexts(3)
    generator = TrialGenerator(design=design)
    wishes = PreferenceSampler().sample(scenarios, rng=1)
    plain = generator.trials(scenarios, 12, rng=seed)
    for rng in (seed, seed + 1):
        labelled = generator.label(plain, wishes, "logistic", rng=rng)
        assert labelled.with_labels(None) == plain
    assert generator.trials(scenarios, 12, rng=seed) == plain


@FEW
@given(FINE, st.data())
def test_14_normalised_weights_reach_100_and_stay_when_normalised_again(scenario, data):
    once = data.draw(preference_sets([scenario])).normalised()
    assert np.abs(once[scenario.id].vector(scenario)).max() == 100
    assert once.normalised() == once


@FEW
@given(FINE, SEEDS, GENERATORS | AUDITED)
def test_16_stored_and_loaded_trials_are_worded_the_same(tmp_path_factory, scenario, seed, generator):
    trials = generator.trials([scenario], n=5, rng=seed)
    path = tmp_path_factory.mktemp("trials") / "trials.jsonl"
    trials.to_jsonl(path)
    loaded = TrialSet.from_jsonl(path)
    assert loaded == trials
    style = ChatStyle()
    assert [style.choice(*row).messages for row in loaded] == [style.choice(*row).messages for row in trials]


@given(SEEDS, st.floats(0, 1), st.integers(2, 4))
@settings(max_examples=10)
def test_middle_values_hold_their_share_in_every_prefix(seed, share, n_attributes):
    (scenario,) = contexts(1, n_attributes)
    (block,) = TrialGenerator(design="d-optimal", interior_share=share).trials([scenario], n=24, rng=seed).blocks
    counts = middle_counts(scenario, block.encoded())
    assert ((counts == n_attributes).cumsum() >= share * np.arange(1, 25) - 1e-9).all()


def test_middle_values_let_a_curve_be_told_from_a_line_where_the_grid_is_coarse():
    axes = tuple(Attribute(name=c, levels=("x", "y", "z")) for c in "pqrst")
    (scenario,) = (k.model_copy(update={"attributes": axes}) for k in contexts(1))
    left = {}
    for share in (0.0, 0.2):
        generator = TrialGenerator(design="d-optimal", interior_share=share, n_candidates=2000)
        encoded = generator.trials([scenario], 50, rng=3).blocks[0].encoded()
        line, curve = (v[:, 0] - v[:, 1] for v in (encoded, encoded**2))
        rest = curve - line @ np.linalg.lstsq(line, curve, rcond=None)[0]
        left[share] = (rest**2).sum(axis=0).mean()
    assert left[0.2] > 1.25 * left[0.0]


@given(SEEDS, st.floats(0.05, 1 / 3), st.data())
@settings(max_examples=10)
def test_close_calls_reach_their_share_and_never_exceed_it(seed, share, data):
    (scenario,) = contexts(1)
    wishes = data.draw(preference_sets([scenario]))
    weights = wishes["k0"].vector(scenario)
    generator = TrialGenerator(design="d-optimal", close_share=share, n_candidates=480)
    (block,) = generator.trials([scenario], n=40, rng=seed, preferences=wishes).blocks
    pool = PoolSource(scenario, 2, 480, stream(seed, "design", "k0"), weights).draw()
    gaps = np.abs((pool.encoded[:, 0] - pool.encoded[:, 1]) @ weights)
    widest = gaps[pool.close].max()
    close = (np.abs(block.differences() @ weights) <= widest + 1e-8).cumsum()
    assert (close <= share * np.arange(1, 41) + 1e-9).all()
    assert close[-1] >= 40 * share - 1


def test_settings_that_make_no_sense_are_refused():
    for bad, message in (
        ({"design": "bald"}, "use measure.AdaptiveProbe"),
        ({"design": "d-optimal", "close_share": 0.34}, "close_share must be at most 1/3"),
        ({"close_share": 0.1}, "close_share belongs to design 'd-optimal'"),
        ({"design": "best"}, "design: "),
        ({"audit_share": 0.6}, "audit_share"),
        ({"interior_share": 1.1}, "interior_share"),
    ):
        with pytest.raises(ScenarioError, match=message):
            TrialGenerator(**bad)
    close = TrialGenerator(design="d-optimal", close_share=0.1)
    with pytest.raises(ScenarioError, match=r"close_share needs \(expected\) preferences"):
        close.trials(contexts(1), 3, rng=0)
    with pytest.raises(ScenarioError, match="'k0' has no preference, which close_share needs"):
        close.trials(contexts(1), 3, rng=0, preferences={})


@FEW
@given(FINE, SEEDS, AUDITED, st.integers(2, 14))
def test_an_audit_repeats_earlier_trials_in_the_other_order_and_nothing_else(scenario, seed, generator, n):
    (block,) = generator.trials([scenario], n=n, rng=seed).blocks
    first: dict[frozenset, int] = {}
    repeated: set[int] = set()
    for t, values in enumerate(block.values):
        options = frozenset(map(tuple, values.tolist()))
        if options not in first:
            first[options] = t
            continue
        source = first[options]
        assert source not in repeated
        repeated.add(source)
        assert (values == block.values[source, ::-1]).all()
        assert block.flipped[t] != block.flipped[source]
        assert (block.order[t] == block.order[source]).all()
    assert len(repeated) == int(generator.audit_share * n + 1e-9)


def test_trials_that_one_option_dominates_are_repeated_last():
    scenarios = contexts(10)
    wishes = PreferenceSampler().sample(scenarios, rng=0)
    generator = TrialGenerator(max_dominated=0.2, audit_share=0.3)
    for scenario in scenarios:
        (block,) = generator.trials([scenario], 40, rng=0, preferences=wishes).blocks
        easy = has_dominant_option(block.encoded() * np.sign(wishes[scenario.id].vector(scenario)))
        assert easy.sum() <= 0.2 * 28
