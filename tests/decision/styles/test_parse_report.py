"""Promises of the report parser: lenient about form, never a wrong number, never raises."""

from __future__ import annotations

import json
import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision.prompt import AttributeText, PromptContent
from introspect.decision.styles.numbers import read_number
from introspect.decision.styles.parse import read_ranking, read_single, read_weights

NAMES = ("price", "top_speed", "Noise level")
GOOD = {"price": -80.0, "top_speed": 35.0, "Noise level": 0.0}


def content(asked: tuple[str, ...] = NAMES, report_format="object") -> PromptContent:
    texts = tuple(AttributeText(name, "dB" if name == "Noise level" else "") for name in asked)
    return PromptContent("report", "Ines", "fan", "Which?", texts, None, report_format, asked)


OBJECT = '{"price": -80, "top_speed": 35, "Noise level": 0}'


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"```json\n{OBJECT}\n```",
        f"```\n{OBJECT}\n```",
        f"Sure! Here are my weights:\n\n{OBJECT}\n\nLet me know if {{anything}} is unclear.",
        f"I use braces {{like this}} and {{ these }}: {OBJECT}",
        f"\\boxed{{{OBJECT}}}",
        f'<think>price: {{maybe 20?}} {{"price": 20</think>{OBJECT}',
        f"As an AI I don't have preferences, but as Ines: {OBJECT}",
        f'{{"weights": {OBJECT}}}',
        f'{{"role": "Ines", "report": {{"weights": {OBJECT}}}}}',
        f"[{OBJECT}]",
        f"{OBJECT}\nAgain: {OBJECT}",
        '{"price": -80, "top_speed": 35, "Noise level": 0,}',
        '{"price": "-80", "top_speed": "35", "Noise level": "0"}',
        '{"price": −80, "top_speed": +35, "Noise level": 0}',
        '{"price": –80, "top_speed": "+35%", "Noise level": 0%}',
        '{"price": "－８０", "top_speed": ３５, "Noise level": ０}',
        '{"price": -80.0, "top_speed": 3.5e1, "Noise level": -0.0}',
        "{'price': -80, 'top_speed': 35, 'Noise level': 0}",
        "{“price”: -80, “top_speed”: 35, “Noise level”: 0}",
        "{price: -80, top_speed: 35, Noise level: 0}",
        '{"PRICE": -80, "Top Speed": 35, "noise-level": 0}',
        '{"price ": -80, "topspeed": 35, "Noise level (dB)": 0}',
        '{"price": {"weight": -80}, "top_speed": {"weight": "35", "why": ""}, "Noise level": {"score": 0}}',
        '{"price": -80, "top_speed": 35, "Noise level": 0, "comment": "a {brace} and a \\" quote"}',
        '{"price": -80, "price": -80.0, "top_speed": 35, "Noise level": 0}',
        '{"price"\n:\n-80\n,\n"top_speed":35,"Noise level":\t0}',
        '\ufeff{"price":\u00a0-80,"top_speed":35,"Noise level":0}',
    ],
)
def test_a_clear_object_is_read_whatever_its_dress(text) -> None:
    reading = read_weights(text, content())
    assert (reading.status, dict(reading.weights)) == ("answered", GOOD), reading
    assert reading.weights_raw == GOOD


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("1,000", "unparsable"),
        ("12,5", "unparsable"),
        ("1 000", "unparsable"),
        ("1'000", "unparsable"),
        ("1_000", "unparsable"),
        ("20-30", "unparsable"),
        ("20–30", "unparsable"),
        ("20 to 30", "unparsable"),
        ("20/100", "unparsable"),
        ("20:100", "unparsable"),
        ("~20", "unparsable"),
        (">20", "unparsable"),
        ("±20", "unparsable"),
        ("20 points", "unparsable"),
        ("20 30", "unparsable"),
        ("20%%", "unparsable"),
        ("--20", "unparsable"),
        ("- 20", "unparsable"),
        ("-+20", "unparsable"),
        ("(20)", "unparsable"),
        ("10²", "unparsable"),
        ("½", "unparsable"),
        ("٢٠", "unparsable"),
        ("२०", "unparsable"),
        ("²", "unparsable"),
        ("007", "unparsable"),
        ("0x14", "unparsable"),
        ("0b11", "unparsable"),
        ("1.2.3", "unparsable"),
        ("2e", "unparsable"),
        ("1e99999", "unparsable"),
        ("twenty", "unparsable"),
        ("high", "unparsable"),
        ("true", "unparsable"),
        ("false", "unparsable"),
        ("[20]", "unparsable"),
        ("{}", "unparsable"),
        ("{'low': 20, 'high': 30}", "unparsable"),
        ("{'weight': 20, 'score': 30}", "unparsable"),
        ("null", "missing"),
        ("''", "missing"),
        ("101", "out_of_range"),
        ("-100.5", "out_of_range"),
        ("120%", "out_of_range"),
        ("1e309", "not_finite"),
        ("-1e309", "not_finite"),
        ("NaN", "not_finite"),
        ("Infinity", "not_finite"),
        ("-inf", "not_finite"),
        ("∞", "not_finite"),
    ],
)
def test_what_is_not_clearly_one_number_in_range_is_no_weight(value, status) -> None:
    quoted = value if value[0] in "{['" else json.dumps(value, ensure_ascii=False)
    for shown in {value, quoted}:
        reading = read_weights(f'{{"price": {shown}, "top_speed": 35, "Noise level": 0}}', content())
        assert reading.status == status, (shown, reading)
        assert "price" not in reading.weights
        assert reading.problems


def test_a_value_out_of_range_is_kept_apart() -> None:
    reading = read_weights('{"price": 140, "top_speed": 35, "Noise level": 0}', content())
    assert dict(reading.weights) == {"top_speed": 35.0, "Noise level": 0.0}
    assert reading.weights_raw["price"] == 140.0


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "unparsable"),
        ("  \n ", "unparsable"),
        ("A", "unparsable"),
        ("price: -80, top_speed: 35, Noise level: 0", "unparsable"),
        ("{}", "unparsable"),
        ('{"cost": 3, "pace": 4}', "unparsable"),
        ('{"price": -80, "top_speed": 35}', "missing"),
        ('{"price": -80}\n{"top_speed": 35}\n{"Noise level": 0}', "unparsable"),
        (f"{OBJECT} or rather {OBJECT.replace('35', '36')}", "unparsable"),
        (f'{OBJECT} Correction: {{"price": 10}}', "unparsable"),
        (f'{{"example": {OBJECT.replace("35", "3")}, "real": {OBJECT}}}', "unparsable"),
        ('{"price": -80, "price": 80, "top_speed": 35, "Noise level": 0}', "unparsable"),
        ('{"price": -80, "Price": 80, "top_speed": 35, "Noise level": 0}', "unparsable"),
        ('{"price": -80 "top_speed": 35, "Noise level": 0}', "unparsable"),
        ('{"price": 1,000, "top_speed": 35, "Noise level": 0}', "unparsable"),
        ('{"price": -80; "top_speed": 35; "Noise level": 0}', "unparsable"),
        ('{"price": 5, oops {"price": -80, "top_speed": 35, "Noise level": 0}', "unparsable"),
        (OBJECT[:-1], "truncated"),
        (OBJECT[:20], "truncated"),
        ('{"price": -80, "top_sp', "truncated"),
        ("{", "truncated"),
        (f'{{"weights": {OBJECT}', "truncated"),
        (f'{{"example": {OBJECT}, "mine": {{"price": 1', "truncated"),
        ("<think>I wonder", "truncated"),
        ("I'm sorry, but I can't answer that.", "refused"),
        ("I cannot look inside myself.", "refused"),
        ("As an AI language model, I do not have weights.", "refused"),
        ('{"price": 140, "top_speed": null, "Noise level": 0}', "mixed"),
    ],
)
def test_what_is_not_one_whole_answer_is_told_apart(text, status) -> None:
    reading = read_weights(text, content())
    assert reading.status == status, reading
    assert reading.problems
    if status in ("truncated", "unparsable", "refused"):
        assert not reading.weights


def test_a_word_of_a_record_is_not_taken_for_the_attribute_of_that_name() -> None:
    asked = content(("weight", "price"))
    for text in (
        '[{"attribute": "price", "weight": 5}, {"attribute": "weight", "weight": 7}]',
        '{"attribute": "price", "weight": 5}',
    ):
        assert not read_weights(text, asked).weights
    both = {"price": 1.0, "weight": 2.0}
    assert read_weights('{"weight": {"price": 1, "weight": 2}}', asked).weights == both
    assert read_weights('{"price": {"score": 1}, "weight": {"score": 2}}', asked).weights == both


def test_keys_that_could_mean_two_names_mean_none() -> None:
    asked = ("Top speed", "top_speed")
    reading = read_weights('{"TOP SPEED": 5, "top_speed": 6}', content(asked))
    assert (reading.status, dict(reading.weights)) == ("missing", {"top_speed": 6.0})


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80) | st.text(alphabet="{}[]\":,-+.0159eE%\\ \n'price“”", max_size=60))
def test_no_text_makes_a_parser_raise(text) -> None:
    single, ranking = content(("price",), "single"), content(report_format="ranking")
    for reading in (read_weights(text, content()), read_single(text, single), read_ranking(text, ranking)):
        assert reading.valid == (not reading.problems)
        assert all(math.isfinite(w) and abs(w) <= 100 for w in reading.weights.values())


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries({name: st.integers(-100, 100) for name in NAMES}),
    st.sampled_from(("{}", "```json\n{}\n```", "My weights: {} as asked.", '{{"weights": {}}}')),
    st.data(),
)
def test_a_cut_answer_never_yields_a_number(weights, frame, data) -> None:
    text = frame.format(json.dumps(weights))
    end = text.rindex("}") if frame.startswith("{{") else text.index("}")
    cut = text[: data.draw(st.integers(0, end))]
    assert not read_weights(cut, content()).weights
    assert read_weights(text, content()).weights == weights


@settings(max_examples=250, deadline=None)
@given(
    st.fixed_dictionaries({name: st.integers(-100, 100) for name in NAMES}),
    st.integers(0, 200),
    st.sampled_from([*',.-+/"{}:%', "\u2212", " ", "\n", "00", " or ", "null"]),
)
def test_an_inserted_slip_never_yields_a_number_that_is_not_in_the_text(weights, at, slip) -> None:
    plain = json.dumps(weights)
    text = plain[: at % len(plain)] + slip + plain[at % len(plain) :]
    for name, weight in read_weights(text, content()).weights.items():
        # The number read is all of the text between the name and the next comma or brace.
        tight = re.sub(r'"\s*:', '":', text)  # JSON allows space before the colon
        keys = {key for key in (name, *text.split('"')) if _same(key, name) and f'"{key}":' in tight}
        tails = [tight.split(f'"{key}":', 1)[1].split(",")[0].split("}")[0] for key in keys]
        assert any(read_number(tail.strip(' "\n')) == weight for tail in tails), text


def _same(a: str, b: str) -> bool:
    def drop(name: str) -> str:
        return "".join(c for c in name.lower() if c not in " _-\n")

    return drop(a) == drop(b)


NOISE = [
    *(c * 100_000 for c in "{}[]\"'\\ “-:"),
    *(
        c * (100_000 // len(c))
        for c in ("{“", "{'", '{"', '{"\\', '{"a":', '["a",', '{"price":', '{"price": 1,', "{a", "{ ")
    ),
    *(c * (100_000 // len(c)) for c in ("{\n", "[[[[{{{{", '{"price": [', "so ", "price 5\n", "1e", "a:", "I can't ")),
    *(
        c * (100_000 // len(c))
        for c in ('{"price": 5} ', '{"a": {"b": {"c": 1}}} ', "answer" + " " * 900 + "\n", "{a: 1} ")
    ),
    "{" + "a" * 100_000,
    "{a: " + "9" * 100_000,
    "{" + '"k": 1, ' * 12_000,
    "answer" + " " * 100_000,
]


@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
def test_a_page_of_noise_takes_no_time(noise) -> None:
    single, ranking = content(("price",), "single"), content(report_format="ranking")
    start = time.process_time()
    readings = [read_weights(noise, content()), read_single(noise, single), read_ranking(noise, ranking)]
    assert time.process_time() - start < 1.5  # three parsers, half a second each
    assert not readings[0].valid
    assert not readings[2].valid


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("-80", -80.0),
        (" −80\n", -80.0),
        ("`-80`", -80.0),
        ("**-80**", -80.0),
        ("-80%", -80.0),
        ("price: -80", -80.0),
        ("**Price:** -80", -80.0),
        ("Weight: -80.", -80.0),
        ('{"price": -80}', -80.0),
        ("- 80", None),
        ("80 or 90", None),
        ("speed: 80", None),
        ("I would say 80", None),
        ("1,000", None),
        ("80/100", None),
        ("", None),
        ("1. price\n2. speed", None),
        ("140", None),
    ],
)
def test_a_single_weight_is_one_number_and_nothing_else(text, weight) -> None:
    reading = read_single(text, content(("price",), "single"))
    assert reading.weights.get("price") == weight
    assert reading.valid == (weight is not None)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('["top_speed", "price", "Noise level"]', True),
        ('```json\n["top speed", "Price", "noise level",]\n```', True),
        ("1. top_speed\n2. price\n3. Noise level", True),
        ("- top_speed\n- price\n- Noise level", True),
        ('{"ranking": ["top_speed", "price", "Noise level"]}', True),
        ('["top_speed", "price"]', False),
        ('["top_speed", "price", "price"]', False),
        ('["top_speed", "price", "Noise level", "colour"]', False),
        ('["top_speed", "price", "Noise level"] or ["price", "top_speed", "Noise level"]', False),
        ('["top_speed", "price", "Noise lev', False),
        ("price", False),
        ("I can't say.", False),
    ],
)
def test_a_ranking_names_everything_once(text, valid) -> None:
    reading = read_ranking(text, content(report_format="ranking"))
    assert reading.ranking == (("top_speed", "price", "Noise level") if valid else ())
    assert reading.valid == valid
    assert bool(reading.problems) != valid


@settings(max_examples=200, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-200, 200))
def test_a_number_printed_in_full_is_read_exactly(value) -> None:
    assert read_number(repr(value)) == value
