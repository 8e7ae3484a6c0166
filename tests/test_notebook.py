"""In a notebook every public object shows itself, escapes what it shows, and has a data frame."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import pytest

from introspect import (
    AccuracyMetric,
    Attribute,
    ChatStyle,
    ChoiceModel,
    ChoiceProbe,
    DecisionScenario,
    PreferenceSampler,
    ScenarioSet,
    SelfReportProbe,
    SimulatedAgent,
    TrialGenerator,
    catalogue,
    diagnose,
    open_model,
)
from introspect._notebook import interval_figure

CONTEXTS = catalogue()[:12]


class Checked(HTMLParser):
    """Raises where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in ("script", "img", "i")
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def shown(thing: Any) -> str:
    parser = Checked()
    parser.feed(thing._repr_html_())
    parser.close()
    assert parser.open == []
    return parser.words


@pytest.fixture(scope="module")
def things() -> dict[str, Any]:
    style, hidden = ChatStyle(), PreferenceSampler().sample(CONTEXTS, rng=0)
    model = open_model(SimulatedAgent(name="shown").with_preferences(CONTEXTS, hidden).ref)
    trials = TrialGenerator().trials(CONTEXTS, 20, rng=1)
    choices, reports = ChoiceProbe(style).run(model, trials), SelfReportProbe(style, k=2).run(model, CONTEXTS, rng=2)
    weights = ChoiceModel().fit(choices)
    accuracy = AccuracyMetric(n_boot=50, n_null=49).score(reports, weights, rng=3)
    return {
        "scenario": CONTEXTS[0], "scenarios": CONTEXTS, "preferences": hidden, "trials": trials, "choices": choices,
        "reports": reports, "weights": weights, "accuracy": accuracy,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("scenario", "Which signal lamp would Mara Quillon fit?"),
        ("scenarios", "and 2 more"),
        ("preferences", "and 2 more"),
        ("trials", "and 234 more trials"),
        ("choices", "Choices (240 rows)"),
        ("reports", "Reports (24 rows)"),
        ("weights", "Learned weights (12 scenarios)"),
        ("accuracy", "correlate at r ="),
    ],
)
def test_objects_show_themselves_and_have_a_frame(things: dict[str, Any], name: str, words: str) -> None:
    assert words in shown(things[name])
    assert len(things[name].to_frame())


def test_a_scenario_shows_its_option_table() -> None:
    text = shown(CONTEXTS[0])
    for axis in CONTEXTS[0].attributes:
        assert axis.name in text
        assert axis.unit in text
    assert list(CONTEXTS[0].to_frame()["name"]) == [a.name for a in CONTEXTS[0].attributes]
    assert len(CONTEXTS.to_frame()) == 60


def test_an_accuracy_shows_its_figure_and_a_study_its_arms(things: dict[str, Any]) -> None:
    assert "<svg" in things["accuracy"]._repr_html_()
    assert diagnose(things["choices"]).to_frame().equals(diagnose(things["choices"]).to_pandas())


def test_names_are_text_and_never_markup() -> None:
    axes = [
        Attribute(name="<script>x</script>", unit="<i>", low=0, high=9),
        Attribute(name="<img>", levels=("<b>", "&")),
    ]
    odd = DecisionScenario(id="<i>", chooser="<i>A", item="<i>", question="<i>A?", attributes=axes, tags=("<i>",))
    assert "<script>x</script>" in shown(odd)
    assert "<i>A" in shown(ScenarioSet([odd]))
    assert "<img>" in shown(TrialGenerator().trials([odd], 3, rng=0))


def test_an_undefined_r_is_said_and_not_drawn() -> None:
    picture = interval_figure(math.nan, math.nan, math.nan)
    assert "r undefined" in picture
    assert "<circle" not in picture
