"""The organisms that come with the library are what they are said to be."""

from __future__ import annotations

from importlib.resources import files

import pytest

from introspect.backend import Message, Request, ask
from introspect.decision import OrganismStyle, TrialGenerator, organism_scenarios
from introspect.errors import ConfigError
from introspect.measure import ChoiceModel, ChoiceProbe, pair
from introspect.study import organism_study
from introspect.subjects.organism import CONTROLS, SHIPPED, OrganismBackend, native_scenarios, organism_ref
from introspect.subjects.organism.grow import native_names, native_weights
from introspect.subjects.organism.shipped import load_base

DATA = files("introspect.subjects.organism") / "data"


def test_all_of_them_together_take_less_than_three_megabytes() -> None:
    sizes = {entry.name: len(entry.read_bytes()) for entry in DATA.iterdir()}
    assert set(sizes) == {f"{name}.safetensors" for name in SHIPPED}
    assert sum(sizes.values()) < 3_000_000


@pytest.mark.parametrize("name", SHIPPED)
def test_its_file_holds_its_recipe_and_a_small_network(name: str) -> None:
    organism = load_base(organism_ref(name))
    assert organism.config.name == name
    assert 100_000 <= organism.n_parameters <= 1_000_000
    assert organism_ref(name).revision.startswith("sha256:")
    assert "control" in CONTROLS[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_a_control_of_the_kind_that_its_rows_make_it(name: str) -> None:
    network = load_base(organism_ref(name)).network
    assert (network.n_shared == 0) == (name == "split")


@pytest.mark.parametrize("name", SHIPPED)
def test_native_contexts_never_came_with_a_report(name: str) -> None:
    """Against the recipe in the shipped file itself: a report on those others could be recited."""
    config = load_base(organism_ref(name)).config
    reported = set(native_names(config)[: config.n_reported])
    choices_only = set(native_names(config)[config.n_reported :])
    assert reported
    for n in (1, 40, config.n_native - config.n_reported):
        chosen = native_scenarios(name, n)
        assert len(chosen) == n
        assert {s.chooser for s in chosen} <= choices_only
        assert reported.isdisjoint({s.chooser for s in chosen} | set(chosen.ids))
    assert {s.chooser for s in native_scenarios(name, config.n_native - config.n_reported)} == choices_only
    study = organism_study(name)
    assert reported.isdisjoint(s.chooser for s in study.native)
    assert {s.chooser for s in study.scenarios}.isdisjoint(native_names(config))


@pytest.mark.parametrize("n", [0, -1, 10_000])
def test_more_native_contexts_than_there_are_cannot_be_had(n: int) -> None:
    with pytest.raises(ConfigError, match="native contexts"):
        native_scenarios("shared", n)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_chooses_by_its_native_preferences(name: str) -> None:
    """Those of the recipe, found from its answers alone."""
    config = load_base(organism_ref(name)).config
    lots = native_scenarios(name, 12)
    trials = TrialGenerator().trials(lots, 60, rng=0)
    weights = ChoiceModel().fit(ChoiceProbe(OrganismStyle()).run(OrganismBackend(organism_ref(name)), trials))
    truth = {
        name: dict(zip("pqrst", row.tolist(), strict=True))
        for name, row in zip(native_names(config), native_weights(config), strict=True)
    }
    assert pair(truth, weights).moments.pooled() > 0.85


@pytest.mark.parametrize("name", SHIPPED)
def test_it_speaks_the_language_from_the_start(name: str) -> None:
    """Also about contexts that it meets for the first time."""
    style = OrganismStyle()
    prompts = [
        prompt
        for scenario, trial in TrialGenerator().trials(organism_scenarios(20), 1, rng=0)
        for prompt in (style.choice(scenario, trial), *style.report(scenario, trial))
    ]
    replies = ask(
        OrganismBackend(organism_ref(name)),
        [Request(messages=(Message(role="user", content=p.messages[0].content),), max_tokens=40) for p in prompts],
    )
    read = {"choice": [], "report": []}
    for prompt, reply in zip(prompts, replies, strict=True):
        if prompt.content.kind == "choice":
            read["choice"].append(style.parse_choice(reply.text, prompt.content).valid)
        else:
            read["report"].append(style.parse_report([reply.text], [prompt.content]).valid)
    assert all(read["choice"])
    assert sum(read["report"]) >= 15  # of 20: those with few reports in pre-training slip now and then
