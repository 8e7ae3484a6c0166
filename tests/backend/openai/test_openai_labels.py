from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspect.backend.openai.labels import Position, positions_of, read_labels


def chat(*tokens: tuple[str, float, list[tuple[str, float]]]) -> dict[str, Any]:
    content = [
        {
            "token": token,
            "logprob": logprob,
            "bytes": None,
            "top_logprobs": [{"token": t, "logprob": p, "bytes": None} for t, p in top],
        }
        for token, logprob, top in tokens
    ]
    return {"content": content}


def read(raw: Any, answers: tuple[str, ...] = ("A", "B")) -> Any:
    positions = positions_of(raw)
    assert positions is not None
    return read_labels(positions, answers)


def test_variants_of_white_space_are_one_answer_and_other_cases_are_other_words() -> None:
    top = [("A", math.log(0.3)), (" A", math.log(0.2)), ("\nA", math.log(0.1)), ("a", math.log(0.2)), ("B", -3.0)]
    found = read(chat(("A", top[0][1], top)))
    assert found.answer_logprobs == pytest.approx({"A": math.log(0.6), "B": -3.0})
    assert found.mass_outside == pytest.approx(0.4 - math.exp(-3.0))


def test_a_generated_token_that_takes_a_place_in_the_list_says_nothing_about_what_is_not_listed() -> None:
    # vLLM: the sampled token comes first, however improbable it is.
    found = read(chat(("Z", -9.0, [("Z", -9.0), ("A", -0.5), ("B", -1.5)])))
    assert found.logprob_floor == pytest.approx(-1.5)
    assert found.answer_logprobs == pytest.approx({"A": -0.5, "B": -1.5})


def test_a_generated_token_that_the_list_leaves_out_is_counted() -> None:
    found = read(chat(("B", -4.0, [("A", -0.5), ("I", -2.0)])))
    assert found.answer_logprobs == pytest.approx({"A": -0.5, "B": -4.0})


def test_an_answer_that_is_not_shown_is_absent_and_below_the_floor() -> None:
    found = read(chat(("A", -0.1, [("A", -0.1), ("I", -3.0)])))
    assert set(found.answer_logprobs) == {"A"}
    assert found.logprob_floor == -3.0


def test_white_space_written_first_is_looked_through() -> None:
    first = ("\n", math.log(0.5), [("\n", math.log(0.5)), ("A", math.log(0.3)), ("B", math.log(0.1))])
    second = ("B", math.log(0.8), [("B", math.log(0.8)), ("A", math.log(0.2))])
    found = read(chat(first, second))
    assert found.answer_logprobs == pytest.approx({"A": math.log(0.3 + 0.1), "B": math.log(0.1 + 0.4)})
    assert found.mass_outside == pytest.approx(0.1)


def test_nothing_but_white_space_is_no_answer() -> None:
    assert read(chat(("\n", -0.1, [("\n", -0.1), ("A", -2.0)]))) is None


def test_longer_answers_are_known_by_the_token_that_begins_them_alone() -> None:
    top = [("Cho", -1.0), ("Ch", -1.5), ("Lo", -2.0), ("C", -3.0), ("Loud", -4.0)]
    found = read(chat(("Cho", -1.0, top)), ("Chocolate", "Cherry", "Loud"))
    # "Ch" and "C" begin two answers and count for neither.
    assert found.answer_logprobs == pytest.approx({"Chocolate": -1.0, "Loud": math.log(math.exp(-2) + math.exp(-4))})


def test_a_probability_that_is_too_small_to_say_is_absent() -> None:
    found = read(chat(("A", 0.0, [("A", 0.0), ("B", -9999.0)])))
    assert found.answer_logprobs == {"A": 0.0}
    assert found.mass_outside == 0.0


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [{"token": None, "logprob": -1}]},
        {"content": ["x"]},
        {"tokens": ["A"], "token_logprobs": None},
        [],
        "logprobs",
        {"content": [{"token": "A", "logprob": None}]},
    ],
)
def test_what_holds_no_log_probabilities_is_none(raw: Any) -> None:
    assert positions_of(raw) is None


def test_the_older_shape_is_read_too() -> None:
    old = {"tokens": ["A"], "token_logprobs": [-0.5], "top_logprobs": [{"A": -0.5, " A": -2.0, "B": -3.0}]}
    found = read(old)
    assert found.answer_logprobs == pytest.approx({"A": math.log(math.exp(-0.5) + math.exp(-2)), "B": -3.0})


def test_numbers_that_are_no_json_do_no_harm() -> None:
    found = read(chat(("A", -0.5, [("A", -0.5), ("B", float("-inf")), ("C", float("nan"))])))
    assert found.answer_logprobs == {"A": -0.5}


probabilities = st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=8)
tokens = st.sampled_from(["A", " A", "B", "\nB", "a", "The", " ", "\n", "AB"])


@given(
    st.lists(st.tuples(probabilities, st.lists(tokens, min_size=8, max_size=8, unique=True)), min_size=1, max_size=5)
)
def test_whatever_is_listed_probabilities_stay_probabilities(raw: list[tuple[list[float], list[str]]]) -> None:
    positions = []
    for weights, names in raw:
        listed = tuple((t, math.log(w / sum(weights) * 0.999)) for w, t in zip(weights, names, strict=False))
        positions.append(Position(listed[0][0], listed[0][1], listed, min(p for _, p in listed)))
    found = read_labels(positions, ("A", "B"))
    if found is not None:
        total = sum(map(math.exp, found.answer_logprobs.values())) + found.mass_outside
        assert total == pytest.approx(1.0)
        assert all(p <= 0 for p in found.answer_logprobs.values())
        assert found.logprob_floor is None or found.logprob_floor <= 0
