"""Measurements whose answers decide what is asked next."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.backend import Cached, FunctionBackend, ModelInfo, Reply, Request
from introspect.decision import (
    Attribute,
    DecisionScenario,
    OrganismStyle,
    PreferenceSampler,
    TrialGenerator,
    label,
    organism_scenarios,
)
from introspect.errors import FatalBackendError, MeasureError, ScenarioError
from introspect.measure import AdaptiveProbe, ChoiceModel, ChoiceProbe, ChoiceTable
from introspect.testing.strategies import attributes, scenario_sets, scenarios

FINE = scenarios(attributes=attributes(kinds=("numeric", "categorical")), min_attributes=3, max_attributes=4)


def contexts(n: int) -> list[DecisionScenario]:
    axes = [Attribute(name=f"a{i}", low=0, high=100) for i in range(5)]
    return [
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    ]


def chooser(scenarios, seed=1, rule="deterministic"):
    wishes = PreferenceSampler().sample(scenarios, rng=seed)
    coins = np.random.default_rng(seed)  # advanced by every call, so that each batch has its own lapses
    return wishes, lambda trials: label(trials, wishes, rule, rng=coins).labels


@given(scenario_sets(FINE, max_size=3), st.integers(0, 2**40), st.integers(2, 3), st.booleans(), st.data())
@settings(max_examples=10, deadline=None)
def test_15_trials_lie_on_the_grid_are_never_repeated_and_have_balanced_sides(scenarios, seed, n_options, mute, data):
    generator = TrialGenerator(design="d-optimal", n_options=n_options, shuffle_attributes=True, n_candidates=60)
    probe = AdaptiveProbe(n_start=4, batch=data.draw(st.integers(1, 4)), n_candidates=40, generator=generator)
    _, choose = chooser(scenarios, seed)
    silent = (lambda trials: np.full(len(trials), -1)) if mute else choose
    run = probe.run_with(silent, scenarios, 9, rng=seed)
    assert run.n_trials[-1].tolist() == [9] * len(scenarios)
    for scenario in scenarios:
        (block,) = run.choices.for_scenario(scenario.id).trials.blocks
        block.check_values()
        for k, attribute in enumerate(scenario.attributes):
            values = block.values[..., k]
            assert (attribute.grid.at(attribute.grid.nearest(values)) == values).all()
        sets = [frozenset(map(tuple, options)) for options in block.values.tolist()]
        assert all(len(options) == n_options for options in sets)
        assert len(set(sets)) == 9
        assert np.abs(np.cumsum(np.where(block.flipped, 1, -1))).max() <= 1


def test_answers_in_one_context_do_not_move_the_trials_of_another_where_the_prior_is_fixed():
    scenarios = contexts(3)
    _, choose = chooser(scenarios)
    probe = AdaptiveProbe(model=ChoiceModel(estimator="ridge"))
    together = probe.run_with(choose, scenarios, 25, rng=3)
    alone = probe.run_with(choose, scenarios[1:2], 25, rng=3)
    assert together.choices.for_scenario("k1").trials == alone.choices.trials


def test_the_start_is_the_static_design_and_sides_go_on_as_it_would():
    scenarios = contexts(2)
    _, choose = chooser(scenarios)
    run = AdaptiveProbe(generator=TrialGenerator(design="d-optimal", shuffle_attributes=True)).run_with(
        choose, scenarios, 20, rng=5
    )
    static = TrialGenerator(design="d-optimal", shuffle_attributes=True).trials(scenarios, 20, rng=5)
    for name in ("k0", "k1"):
        (ours,), (theirs,) = run.choices.for_scenario(name).trials.blocks, static.for_scenario(name).blocks
        assert (ours.values[:10] == theirs.values[:10]).all()
        assert not (ours.values == theirs.values).all()
        assert (ours.flipped == theirs.flipped).all()
        assert (ours.order == theirs.order).all()


def test_it_recovers_weights_better_than_as_many_random_pairs():
    scenarios = contexts(25)
    for rule in ("deterministic", "lapse"):
        wishes, choose = chooser(scenarios, rule=rule)
        random = TrialGenerator().trials(scenarios, 40, rng=2)
        fits = {
            "random": ChoiceModel().fit(random.with_labels(choose(random))),
            "bald": AdaptiveProbe().run_with(choose, scenarios, 40, rng=2).weights,
        }
        r = {
            name: np.mean(
                [np.corrcoef(list(fit.weights(k.id).values()), wishes[k.id].vector(k))[0, 1] for k in scenarios]
            )
            for name, fit in fits.items()
        }
        assert 1 - r["bald"] < 0.7 * (1 - r["random"]), (rule, r)


def test_a_backend_is_asked_what_a_function_would_be_and_replies_are_counted():
    style, scenarios = OrganismStyle(), organism_scenarios(2)
    asked = []

    def answer(request: Request) -> str:
        asked.append(request)
        return "B" if len(request.messages[-1].content) % 2 else "A"

    backend = FunctionBackend(answer, name="parity", version="1")
    probe = AdaptiveProbe(ChoiceProbe(style))
    seen: list[tuple[int, Reply]] = []
    run = probe.run(backend, scenarios, 20, 3, lambda index, reply: seen.append((index, reply)))
    assert [index for index, _ in seen] == list(range(40))
    assert len(asked) == len(run.choices) == 40
    assert run.choices.model == backend.info.key

    table = run.choices
    again = probe.run_with(lambda trials: _lookup(table, trials), scenarios, 20, 3)
    assert again.choices.trials == table.trials
    assert (again.choices.chosen == table.chosen).all()
    twin = asyncio.run(probe.arun(backend, scenarios, 20, 3))
    assert twin.choices == table


def test_graded_answers_are_asked_for_by_the_design_alone():
    style, scenarios = OrganismStyle(), organism_scenarios(2)

    def graded(seed: int) -> FunctionBackend:
        noise = np.random.default_rng(seed)

        def answer(request: Request) -> Reply:
            odds = noise.normal() * 3
            logprobs = {"A": float(-np.logaddexp(0, -odds)), "B": float(-np.logaddexp(0, odds))}
            return Reply(status="completed", text="A" if odds > 0 else "B", answer_logprobs=logprobs, mass_outside=0.0)

        return FunctionBackend(answer, name=f"noise{seed}", version="1")

    one, two = (AdaptiveProbe(ChoiceProbe(style)).run(graded(seed), scenarios, 30, 3) for seed in (1, 2))
    assert set(one.weights.graded) == {"ols"}
    assert one.choices.trials == two.choices.trials
    (static,) = AdaptiveProbe(n_start=30).run_with(lambda t: [0] * len(t), scenarios, 30, 3).choices.trials.blocks
    (asked,) = one.choices.trials.blocks
    sizes = []
    for block in (asked, static):
        x = block.differences().reshape(2, 30, -1)
        sizes.append(np.linalg.slogdet(np.swapaxes(x, 1, 2) @ x)[1])
    # As good as the static design, up to what fewer candidates for each batch cost.
    assert (sizes[0] > sizes[1] - 1.0).all()


def _lookup(table: ChoiceTable, trials) -> list[int]:
    known = {trial.model_dump_json(): chosen for (_, trial), chosen in zip(table.trials, table.chosen, strict=True)}
    return [int(known[trial.model_dump_json()]) for _, trial in trials]


def test_a_run_that_was_cut_off_repeats_itself_from_the_cache_and_goes_on():
    style, scenarios = OrganismStyle(), organism_scenarios(2)
    asked = []

    def answer(request: Request) -> str:
        asked.append(request)
        if len(asked) == 25:
            raise FatalBackendError("out of credit")
        return "B" if len(request.messages[-1].content) % 2 else "A"

    store: dict[str, Reply] = {}
    probe = AdaptiveProbe(ChoiceProbe(style))
    backend = Cached(FunctionBackend(answer, name="parity", version="1"), Memory(store))
    with pytest.raises(FatalBackendError):
        probe.run(backend, scenarios, 20, 3)
    kept = len(store)
    assert kept >= 20
    run = probe.run(backend, scenarios, 20, 3)
    assert len(run.choices) == 40
    assert len(asked) == 25 + 40 - kept


class Memory:
    """A reply cache in a dict."""

    def __init__(self, store: dict[str, Reply]) -> None:
        self._store = store

    def get(self, key: str) -> Reply | None:
        return self._store.get(key)

    def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None:
        self._store[key] = reply


def test_rounds_are_as_many_as_asked_for():
    scenarios = contexts(2)
    _, choose = chooser(scenarios)
    assert AdaptiveProbe(rounds=2).run_with(choose, scenarios, 40, 0).n_trials[:, 0].tolist() == [10, 25, 40]
    assert AdaptiveProbe(batch=7).run_with(choose, scenarios, 20, 0).n_trials[:, 0].tolist() == [10, 17, 20]
    assert AdaptiveProbe(n_start=5).run_with(choose, scenarios, 5, 0).n_trials[:, 0].tolist() == [5]


def test_a_context_is_left_alone_once_its_intervals_are_narrow_enough():
    scenarios = contexts(6)
    _, choose = chooser(scenarios, rule="deterministic")
    run = AdaptiveProbe(stop_width=60).run_with(choose, scenarios, 60, 0)
    done = run.n_trials[-1]
    assert (done < 60).any()
    assert np.isfinite(run.width).all()
    assert ((run.width[-1] < 60) == (done < 60)).all() or (run.width[-1][done == 60] < 60).any()
    assert run.weights.n_trials.tolist() == done.tolist()
    counts = {k.id: len(run.choices.for_scenario(k.id)) for k in scenarios}
    assert list(counts.values()) == done.tolist()
    assert run.sentences()[0].startswith(f"{done.sum()} trials in 6 scenarios")


def test_a_small_grid_that_runs_out_is_an_error_that_names_the_scenario():
    axes = [Attribute(name=c, levels=("x", "y")) for c in "pq"]
    scenario = DecisionScenario(id="tiny", chooser="Ada", item="lot", question="Which?", attributes=axes)
    _, choose = chooser([scenario])
    run = AdaptiveProbe(n_start=3, batch=3).run_with(choose, [scenario], 6, 0)
    assert len(run.choices) == 6
    with pytest.raises(ScenarioError, match="scenario 'tiny': 6 of its 6 distinct trials were shown and 1 more"):
        AdaptiveProbe(n_start=3, batch=3).run_with(choose, [scenario], 7, 0)


def test_settings_that_make_no_sense_are_refused():
    for bad, message in (
        ({"n_start": 0}, "n_start must be 1"),
        ({"rounds": 0}, "rounds must be 1"),
        ({"stop_width": 0.0}, "stop_width must be positive"),
        ({"generator": TrialGenerator(audit_share=0.1)}, "ask those trials apart"),
    ):
        with pytest.raises(MeasureError, match=message):
            AdaptiveProbe(**bad)
    with pytest.raises(MeasureError, match="n of at least n_start=10"):
        AdaptiveProbe().run_with(lambda trials: [], contexts(1), 9, 0)
    backend = FunctionBackend(lambda request: "A", name="a", version="1")
    with pytest.raises(MeasureError, match=r"AdaptiveProbe\(probe=ChoiceProbe"):
        AdaptiveProbe().run(backend, contexts(1), 10, 0)


def test_tables_are_put_together_in_the_order_of_their_trials():
    scenarios = [*contexts(2), *organism_scenarios(1)]
    trials = TrialGenerator().trials(scenarios, 6, rng=0)
    table = ChoiceTable.from_choices(trials, np.arange(18) % 3 - 1)
    parts = [table.take(np.arange(18)[k::2]) for k in range(2)]
    joined = ChoiceTable.concat(parts)
    assert joined.trials == type(trials).concat(part.trials for part in parts)
    shown = {trial.model_dump_json(): int(c) for (_, trial), c in zip(trials, table.chosen, strict=True)}
    assert all(shown[t.model_dump_json()] == c for (_, t), c in zip(joined.trials, joined.chosen, strict=True))
    with pytest.raises(MeasureError, match="one model and one probe"):
        ChoiceTable.concat([table, ChoiceTable.from_choices(trials, table.chosen, model="other")])
    with pytest.raises(MeasureError, match="one model and one probe"):
        ChoiceTable.concat([])
