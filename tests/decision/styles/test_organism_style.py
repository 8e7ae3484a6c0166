"""Promises of the organisms' language."""

from __future__ import annotations

import time
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision.attribute import Attribute
from introspect.decision.prompt import ChatMessage
from introspect.decision.reading import ReportReading
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles import (
    ORGANISM_WORDS,
    OrganismStyle,
    PromptStyle,
    organism_scenarios,
    trial_of,
)
from introspect.decision.trial import Trial
from introspect.errors import ConfigError, PromptError, ScenarioError

FORMATS = ("object", "single", "ranking", "comparison")
SCENARIOS = {n: next(iter(organism_scenarios(1, prefix="k042", n_attributes=n))) for n in range(2, 7)}


@st.composite
def scenario_and_trial(draw: st.DrawFn) -> tuple[DecisionScenario, Trial]:
    n = draw(st.integers(2, 6))
    scenario = SCENARIOS[n]
    row = st.tuples(*[st.integers(0, 100).map(float)] * n)
    order = draw(st.none() | st.sampled_from(list(permutations(range(n)))[:20]))
    values = tuple(draw(st.lists(row, min_size=2, max_size=4)))
    return scenario, Trial(scenario_id=scenario.id, values=values, attribute_order=order)


def user(line: str) -> list[ChatMessage]:
    return [ChatMessage("user", line)]


def test_prompts_read_as_the_language_says() -> None:
    lot = SCENARIOS[5]
    trial = Trial(scenario_id=lot.id, values=((12, 85, 3, 44, 91), (90, 2, 33, 71, 8)))
    options = "A p12 q85 r3 s44 t91 B p90 q2 r33 s71 t8"

    def lines(style: OrganismStyle, trial: Trial | None) -> list[str]:
        return [prompt.messages[0].content for prompt in style.report(lot, trial)]

    choice = OrganismStyle().choice(lot, trial)
    assert choice.messages == (ChatMessage("user", f"choose k0420000 {options} :"),)
    assert choice.answers == ("A", "B")
    assert lines(OrganismStyle(), trial) == [f"weigh k0420000 {options} as p q r s t :"]
    assert lines(OrganismStyle(report_options="none"), None) == ["weigh k0420000 as p q r s t :"]
    assert lines(OrganismStyle("single", "none"), None)[1] == "weigh k0420000 as q :"
    assert lines(OrganismStyle("ranking", "none"), None) == ["rank k0420000 as p q r s t :"]
    heavier = OrganismStyle("comparison", "none").report(lot)
    assert len(heavier) == 10
    assert heavier[0].messages[0].content == "heavier k0420000 as p q :"
    assert heavier[0].answers == ("p", "q")


@settings(max_examples=80, deadline=None)
@given(scenario_and_trial(), st.sampled_from(FORMATS), st.sampled_from(("shown", "none")))
def test_reading_a_rendered_prompt_gives_its_content(case, report_format, report_options) -> None:
    scenario, trial = case
    style = OrganismStyle(report_format, report_options)
    prompt = style.choice(scenario, trial)
    assert style.read(prompt.messages) == prompt.content
    back = trial_of(scenario, prompt.content)
    assert back.values == trial.values
    assert style.choice(scenario, back) == prompt
    for prompt in style.report(scenario, trial):
        assert OrganismStyle().read(prompt.messages) == prompt.content


@settings(max_examples=80, deadline=None)
@given(scenario_and_trial(), st.sampled_from(FORMATS), st.data())
def test_parsing_a_training_answer_gives_it_back(case, report_format, data) -> None:
    scenario, trial = case
    style = OrganismStyle(report_format)
    content = style.choice(scenario, trial).content
    for chosen in range(trial.n_options):
        assert style.parse_choice(style.answer_choice(content, chosen), content).chosen == chosen
    whole = st.integers(-100, 100)
    weights = {name: float(data.draw(whole)) for name in scenario.predictors}
    contents = [prompt.content for prompt in style.report(scenario, trial)]
    reading = style.parse_report([style.answer_report(c, weights) for c in contents], contents)
    assert reading.valid
    if report_format in ("object", "single"):
        assert reading.weights == weights
    if report_format == "ranking":
        sizes = [abs(weights[name]) for name in reading.ranking]
        assert sizes == sorted(sizes, reverse=True)
    for heavier, lighter in reading.comparisons:
        assert abs(weights[heavier]) >= abs(weights[lighter])


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"[-0-9 .+pq]{0,30}", fullmatch=True))
def test_no_text_makes_the_parsers_raise_or_invent_numbers(text) -> None:
    lot = SCENARIOS[2]
    style = OrganismStyle(report_options="none")
    (report,) = style.report(lot)
    reading = style.parse_report([text], [report.content])
    words = text.split()
    if reading.valid:
        assert [f"{w:.0f}" for w in reading.weights.values()] == [w.replace("-0", "0") for w in words]
        assert all(abs(w) <= 100 for w in reading.weights.values())
    content = style.choice(lot, Trial(scenario_id=lot.id, values=((1, 2), (3, 4)))).content
    choice = style.parse_choice(text, content)
    assert choice.valid == (text.strip() in ("A", "B"))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("37 -100", "answered"),
        ("37", "missing"),
        ("37 -100 5", "unparsable"),
        ("37 -101", "out_of_range"),
        ("37 -1e2", "unparsable"),
        ("37 0x10", "unparsable"),
        ("37 1,5", "unparsable"),
        ("37 1.5", "unparsable"),
        ("p q", "unparsable"),
        ("", "unparsable"),
        ("1 " * 50_000, "unparsable"),
    ],
)
def test_numbers_are_read_strictly(text, status) -> None:
    style = OrganismStyle(report_options="none")
    (report,) = style.report(SCENARIOS[2])
    reading = style.parse_report([text], [report.content])
    assert reading.status == status
    assert reading.valid or reading.problems


def test_an_answer_that_is_not_there_is_missing() -> None:
    style = OrganismStyle("single", "none")
    contents = [prompt.content for prompt in style.report(SCENARIOS[2])]
    reading = style.parse_report(["5"], contents)
    assert (reading.status, dict(reading.weights)) == ("missing", {"p": 5.0})
    assert style.parse_report([], contents) == ReportReading("missing", problems=("expected 2 answers, got 0",))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "choose k0 :",
        "choose k0 A p1 q2 B p3 q4",
        "choose k0 A p1 q2 :",
        "choose K0 A p1 q2 B p3 q4 :",
        "choose k0 B p1 q2 A p3 q4 :",
        "choose k0 A p1 q2 B q3 p4 :",
        "choose k0 A p1 p2 B p3 p4 :",
        "choose k0 A p01 q2 B p3 q4 :",
        "choose k0 A p101 q2 B p3 q4 :",
        "choose k0 A p1 q2 A p3 q4 :",
        "choose k0  A p1 q2 B p3 q4 :",
        "weigh k0 A p1 q2 B p3 q4 :",
        "weigh k0 as :",
        "weigh k0 as p p :",
        "weigh k0 A p1 q2 B p3 q4 as r :",
        "heavier k0 as p q r :",
        "rank k0 as p :",
        "ponder k0 as p q :",
        "weigh k0 as p q :\n",
    ],
)
def test_lines_of_another_language_are_refused(line) -> None:
    with pytest.raises(PromptError, match="organisms' language"):
        OrganismStyle().read(user(line))


def test_a_system_message_is_refused() -> None:
    with pytest.raises(PromptError):
        OrganismStyle().read([ChatMessage("system", "hello"), *user("weigh k0 as p q :")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chooser": "Mara"}, "chooser"),
        ({"item": "boat"}, "item and question"),
        ({"question": "Which?"}, "item and question"),
        ({"attributes": [Attribute(name=n, low=0, high=100) for n in "qp"]}, "in this order"),
        ({"attributes": [Attribute(name=n, low=0, high=99) for n in "pq"]}, "from 0 to 100"),
        ({"attributes": [Attribute(name=n, low=0, high=100, step=2) for n in "pq"]}, "from 0 to 100"),
        ({"attributes": [Attribute(name=n, levels=("x", "y")) for n in "pq"]}, "numeric"),
    ],
)
def test_scenarios_without_words_in_the_language_are_refused(changes, message) -> None:
    base = SCENARIOS[2].model_dump(exclude={"attributes"}) | {"attributes": SCENARIOS[2].attributes}
    with pytest.raises(ScenarioError, match=message):
        OrganismStyle().choice(
            DecisionScenario(**(base | changes)), Trial(scenario_id=SCENARIOS[2].id, values=((1, 2), (3, 4)))
        )


def test_trials_that_do_not_fit_are_refused() -> None:
    lot, style = SCENARIOS[2], OrganismStyle()
    with pytest.raises(PromptError, match="whole numbers"):
        style.choice(lot, Trial(scenario_id=lot.id, values=((1.5, 2), (3, 4))))
    with pytest.raises(PromptError, match="2 attributes"):
        style.choice(lot, Trial(scenario_id=lot.id, values=((1, 2, 3), (3, 4, 5))))
    with pytest.raises(PromptError, match="given with"):
        style.choice(lot, Trial(scenario_id="other", values=((1, 2), (3, 4))))
    with pytest.raises(PromptError, match="need a trial"):
        style.report(lot)


def test_training_weights_out_of_range_are_refused() -> None:
    style = OrganismStyle(report_options="none")
    (report,) = style.report(SCENARIOS[2])
    for weights in ({"p": 1.0}, {"p": 1.0, "q": 101.0}, {"p": 1.0, "q": float("nan")}):
        with pytest.raises(PromptError):
            style.answer_report(report.content, weights)
    with pytest.raises(PromptError):
        style.answer_choice(report.content, 0)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="report_format"):
        OrganismStyle(report_format="essay")  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match="n_attributes"):
        organism_scenarios(1, n_attributes=7)
    with pytest.raises(ScenarioError, match="prefix"):
        organism_scenarios(1, prefix="K ")


def test_the_id_tells_styles_that_word_prompts_differently_apart() -> None:
    ids = {OrganismStyle(f, o).id for f in FORMATS for o in ("shown", "none")}
    assert len(ids) == 8
    assert isinstance(OrganismStyle(), PromptStyle)


def test_tens_of_thousands_of_prompts_a_second() -> None:
    lots = list(organism_scenarios(50))
    trials = [Trial(scenario_id=lot.id, values=((12, 85, 3, 44, 91), (90, 2, 33, 71, 8))) for lot in lots]
    style = OrganismStyle()
    start = time.process_time()
    for _ in range(40):
        for lot, trial in zip(lots, trials, strict=True):
            style.choice(lot, trial)
    assert time.process_time() - start < 0.4  # 2,000 prompts: ten times slower than they should be
    assert tuple("pqrstu") == ORGANISM_WORDS
