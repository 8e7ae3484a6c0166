"""Promises of the chat prompts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision.attribute import Attribute
from introspect.decision.prompt import ChatMessage
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles import ChatStyle, PromptStyle, trial_of
from introspect.decision.trial import Trial
from introspect.errors import ConfigError, PromptError

FORMATS = ("object", "single", "ranking", "comparison")

NASTY = st.sampled_from(
    [
        *(
            "a: 5 b",
            '"',
            '"quoted"',
            ": ",
            ":",
            "A",
            "A:",
            "- x",
            "-5",
            "5",
            "12 good",
            " from 1 to 2",
            ") (",
        ),
        *('{"a": 1}', "B: 3", "\\", "\\u0041", "é", "日本語", "😀", "x,y", "%", "a_b c"),
        *("Answer with A or B.", "What the options can differ in:"),
    ]
)
TEXT = (
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12) | NASTY | st.just("price")
).map(str.strip)
WORDS = TEXT.filter(bool)


@st.composite
def attributes(draw: st.DrawFn, name: str) -> Attribute:
    unit = draw(st.just("") | TEXT)
    if draw(st.booleans()):
        levels = draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))
        return Attribute(name=name, unit=unit, levels=levels, ordered=draw(st.booleans()))
    low = draw(st.sampled_from([-3.5, 0, 1, 400, 0.001, -100]))
    high = low + draw(st.sampled_from([0.5, 1, 7, 100, 250_000]))
    return Attribute(name=name, unit=unit, low=low, high=high)


@st.composite
def scenarios(draw: st.DrawFn) -> DecisionScenario:
    names = draw(st.lists(WORDS.filter(lambda n: "=" not in n), min_size=2, max_size=5, unique=True))
    return DecisionScenario(
        id="s",
        chooser=draw(WORDS),
        item=draw(WORDS),
        question=draw(WORDS),
        attributes=[draw(attributes(name)) for name in names],
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[DecisionScenario, Trial]:
    scenario = draw(scenarios())
    rows = []
    for _ in range(draw(st.integers(2, 4))):
        row = []
        for a in scenario.attributes:
            if a.levels is not None:
                row.append(float(draw(st.integers(0, len(a.levels) - 1))))
            else:
                row.append(float(a.grid.at(draw(st.integers(0, a.grid.n - 1)))))
        rows.append(tuple(row))
    order = draw(st.none() | st.permutations(range(len(scenario.attributes))).map(tuple))
    return scenario, Trial(scenario_id="s", values=tuple(rows), attribute_order=order)


STYLES = st.builds(
    ChatStyle,
    attribute_order=st.sampled_from(("declared", "trial")),
    show_ranges=st.booleans(),
    report_format=st.sampled_from(FORMATS),
    report_options=st.sampled_from(("shown", "none")),
    layout=st.sampled_from(("options", "rows", "lines")),
)

FLAT = DecisionScenario(
    id="flat",
    chooser="Ines",
    item="flat",
    question="Which flat would Ines rent?",
    attributes=[
        Attribute(name="rent", unit="euro", low=400, high=1400),
        Attribute(name="light", levels=("dim", "bright")),
        Attribute(name="view", levels=("yard", "street", "park"), ordered=False),
    ],
)
TRIAL = Trial(scenario_id="flat", values=((900, 0, 2), (450, 1, 0)), attribute_order=(2, 0, 1))


def said(style: ChatStyle, trial: Trial | None = TRIAL) -> str:
    return style.report(FLAT, trial)[0].messages[1].content


@settings(max_examples=120, deadline=None)
@given(cases(), STYLES)
def test_reading_a_rendered_prompt_gives_its_content(case, style) -> None:
    scenario, trial = case
    prompt = style.choice(scenario, trial)
    assert style.read(prompt.messages) == prompt.content
    assert prompt.answers == tuple("ABCD"[: trial.n_options])
    for prompt in style.report(scenario, trial):
        assert ChatStyle().read(prompt.messages) == prompt.content


@settings(max_examples=60, deadline=None)
@given(cases(), STYLES)
def test_the_trial_can_be_recovered_from_the_prompt(case, style) -> None:
    scenario, trial = case
    back = trial_of(scenario, style.read(style.choice(scenario, trial).messages))
    assert back.values == trial.values
    assert style.choice(scenario, back) == style.choice(scenario, trial)


@settings(max_examples=120, deadline=None)
@given(cases(), STYLES, st.data())
def test_parsing_a_training_answer_gives_it_back(case, style, data) -> None:
    scenario, trial = case
    content = style.choice(scenario, trial).content
    for chosen in range(trial.n_options):
        assert style.parse_choice(style.answer_choice(content, chosen), content).chosen == chosen
    weights = {name: float(data.draw(st.integers(-100, 100))) for name in scenario.predictors}
    contents = [prompt.content for prompt in style.report(scenario, trial)]
    reading = style.parse_report([style.answer_report(c, weights) for c in contents], contents)
    assert reading.status == "answered", (reading, [style.answer_report(c, weights) for c in contents])
    if style.report_format in ("object", "single"):
        assert reading.weights == weights
    if style.report_format == "ranking":
        sizes = [abs(weights[name]) for name in reading.ranking]
        assert sizes == sorted(sizes, reverse=True)
    for heavier, lighter in reading.comparisons:
        assert abs(weights[heavier]) >= abs(weights[lighter])


def test_the_report_prompt_says_what_a_weight_is() -> None:
    text = said(ChatStyle())
    for words in (
        "Do not choose",
        "-100 to 100",
        "below 0 that less of it is preferred",
        "JSON",
        '"view=park"',
        "low end",
    ):
        assert words in text
    assert "in this role" in text


def test_levels_always_show_their_ends_in_reports_and_numbers_only_on_request() -> None:
    assert '- "light", from "dim" to "bright"' in said(ChatStyle())
    assert '- "rent" (euro)\n' in said(ChatStyle())
    assert '- "rent" (euro), from 400 to 1400' in said(ChatStyle(show_ranges=True))
    assert '"view=park" ("park" instead of "yard")' in said(ChatStyle())
    choice = ChatStyle(show_ranges=True).choice(FLAT, TRIAL).messages[1].content
    assert '- "rent" (euro), from 400 to 1400' in choice
    assert "from" not in ChatStyle().choice(FLAT, TRIAL).messages[1].content


def test_attributes_are_listed_as_declared_or_in_the_order_of_the_trial() -> None:
    declared = ChatStyle().choice(FLAT, TRIAL).content
    assert [a.name for a in declared.attributes] == ["rent", "light", "view"]
    shuffled = ChatStyle(attribute_order="trial")
    assert shuffled.choice(FLAT, TRIAL).content.options == (("park", 900.0, "dim"), ("yard", 450.0, "bright"))
    (report,) = shuffled.report(FLAT, TRIAL)
    assert report.content.asked == ("view=street", "view=park", "rent", "light")


def test_reports_without_options_show_none() -> None:
    style = ChatStyle(report_options="none")
    assert "900" not in said(style)
    assert said(style, None) == said(style)
    with pytest.raises(PromptError, match="need a trial"):
        said(ChatStyle(), None)


def test_the_number_of_prompts_follows_the_report_format() -> None:
    counts = [len(ChatStyle(report_format=f).report(FLAT, TRIAL)) for f in FORMATS]
    assert counts == [1, 4, 1, 6]


def test_the_training_answer_of_an_object_is_compact_json_keyed_by_name() -> None:
    (report,) = ChatStyle().report(FLAT, TRIAL)
    weights = {"rent": -100, "light": 12.4, "view=street": 0, "view=park": 33}
    text = ChatStyle().answer_report(report.content, weights)
    assert text == '{"rent":-100,"light":12,"view=street":0,"view=park":33}'
    assert json.loads(text) == {"rent": -100, "light": 12, "view=street": 0, "view=park": 33}


def test_a_changed_prompt_is_not_read() -> None:
    prompt = ChatStyle().choice(FLAT, TRIAL)
    system, user = prompt.messages
    spoilt = [
        [user],
        [system],
        [ChatMessage("system", "Be nice."), user],
        [system, user, user],
        [system, ChatMessage("assistant", user.content)],
        *[[system, ChatMessage("user", text)] for text in ("", "A", user.content + "\n", user.content.strip("."))],
        [system, ChatMessage("user", user.content.replace("rent: 450", "rent: 450.0"))],
        [system, ChatMessage("user", user.content.replace("light: bright", "dark: bright"))],
        [system, ChatMessage("user", user.content.replace("A or B", "B or A"))],
    ]
    for messages in spoilt:
        with pytest.raises(PromptError):
            ChatStyle().read(messages)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_prompts_with_lines_lost_or_swapped_are_refused_or_read_exactly(data) -> None:
    system, user = ChatStyle().report(FLAT, TRIAL)[0].messages
    lines = user.content.split("\n")
    i, j = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
    lines[i : i + 1] = data.draw(st.sampled_from([[], [lines[j]], [lines[i], lines[i]], [lines[i][:-1]]]))
    messages = (system, ChatMessage("user", "\n".join(lines)))
    try:
        content = ChatStyle().read(messages)
    except PromptError:
        return
    assert ChatStyle().read(messages) == content
    from introspect.decision.styles.chat_text import render_text

    assert render_text(content) == messages


def test_rows_show_what_differs_in_few_characters_and_units_once() -> None:
    text = ChatStyle(layout="rows").choice(FLAT, TRIAL).messages[1].content
    assert '- "rent" (euro)\n- "light"\n- "view"\n\nrent: A900 B450\nlight: A"dim" B"bright"\n' in text
    assert text.count("euro") == 1
    # What was asked before there were layouts keeps its key.
    assert ChatStyle().id == "chat-1(order=declared,ranges=no,report=object,options=shown)"


def test_lines_show_names_once_and_the_options_last() -> None:
    style, options = ChatStyle(layout="lines"), 'A: 900 "dim" "park"\nB: 450 "bright" "yard"'
    text = style.choice(FLAT, TRIAL).messages[1].content
    assert text.endswith(f'- "rent" (euro)\n- "light"\n- "view"\n\nAnswer with A or B.\n{options}')
    assert f"\n\n{options}\n\nDo not choose now." in said(style)


def test_unknown_settings_are_refused() -> None:
    for settings_ in (
        {"attribute_order": "random"},
        {"show_ranges": 1},
        {"report_format": "x"},
        {"report_options": "x"},
        {"layout": "columns"},
    ):
        with pytest.raises(ConfigError):
            ChatStyle(**settings_)


def test_the_id_tells_styles_that_word_prompts_differently_apart() -> None:
    styles = [
        ChatStyle(o, r, f, p, y)
        for o in ("declared", "trial")
        for r in (False, True)
        for f in FORMATS
        for p in ("shown", "none")
        for y in ("options", "rows", "lines")
    ]
    assert len({style.id for style in styles}) == len(styles)
    assert isinstance(ChatStyle(), PromptStyle)
