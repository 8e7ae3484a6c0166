"""Promises of the choice parser: a letter where the text clearly names one, and never the other one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision.styles.letters import read_letter


@pytest.mark.parametrize(
    "text",
    [
        "B",
        " b.",
        "b\n",
        "**B**",
        "(B)",
        "[B]",
        '"B"',
        "`B`",
        "Ｂ",
        "Option B",
        "option b",
        "Answer: B",
        "B!",
        "The answer is B.",
        "The answer is **B**.",
        "My choice: B",
        "Final answer: option B",
        "I would choose B.",
        "I'd pick option B because it is cheaper.",
        "Ines would go with B.",
        "B, because it is cheaper",
        "So the best option is B.",
        "\\boxed{B}",
        '{"answer": "B"}',
        "```\nB\n```",
        "B\n\nA longer battery life matters most here.",
        "B\n\nOption A is pricier.",
        "Comparing A and B: A costs more. The answer is B.",
        "A is cheaper, but B is faster. Answer: B",
        "<think>A? Surely A.</think>B",
        "As an AI I have no preferences. Answer: B",
        "What to take, A or B? I choose B.",
    ],
)
def test_a_clear_answer_is_read(text) -> None:
    reading = read_letter(text, "AB", "Ines")
    assert (reading.status, reading.chosen) == ("answered", 1)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", "unparsable"),
        ("?", "unparsable"),
        ("C", "unparsable"),
        ("AB", "unparsable"),
        ("A/B", "unparsable"),
        ("A or B", "unparsable"),
        ("A, B", "unparsable"),
        ("A and B are equally good.", "unparsable"),
        ("Both A and B.", "unparsable"),
        ("Neither A nor B.", "unparsable"),
        ("Either.", "unparsable"),
        ("The answer is A or B.", "unparsable"),
        ("The answer is not A.", "unparsable"),
        ("The answer isn't A.", "unparsable"),
        ("I would not choose A.", "unparsable"),
        ("I would never pick A", "unparsable"),
        ("Not A", "unparsable"),
        ("Wrong answer: A", "unparsable"),
        ("Is the answer A?", "unparsable"),
        ("The answer is A?", "unparsable"),
        ("A?", "unparsable"),
        ("I prefer A over B", "unparsable"),
        ("A is better than B", "unparsable"),
        ("If price mattered most, I would choose A.", "unparsable"),
        ("A\nWait, no. B.", "unparsable"),
        ("A\nActually, the other one.", "unparsable"),
        ("The answer is A. The answer is B.", "unparsable"),
        ("A\nprice: 5\nB\nprice: 7", "unparsable"),
        ("A:\nprice: 5\n\nB:\nprice: 7", "unparsable"),
        ("A:\nprice: 5\n\nB", "unparsable"),
        ("A lamp with a longer life would suit me.", "unparsable"),
        ("I choose a cheap one", "unparsable"),
        ("Grade A", "unparsable"),
        ("B\nIt is cheaper and lighter. So A is better.", "unparsable"),
        ("I can't choose.", "refused"),
        ("I'm sorry, but I can't help with that.", "refused"),
        ("I’m sorry, but I can’t help with that.", "refused"),
        ("As an AI, I do not have preferences.", "refused"),
        ("I cannot choose between A and B.", "refused"),
        ("<think>Let me see. A", "truncated"),
    ],
)
def test_no_clear_answer_is_never_taken_for_one(text, status) -> None:
    reading = read_letter(text, "AB", "Ines")
    assert (reading.status, reading.chosen) == (status, None)


@pytest.mark.parametrize(
    ("chooser", "text", "chosen"),
    [
        ("Mara Quillon, a lighthouse keeper", "Mara would choose B.", 1),
        ("Mara Quillon, a lighthouse keeper", "Mara Quillon would choose option B.", 1),
        ("the water committee of Dembara", "The answer is B.", 1),
        ("The Never Again Club", "The answer is B.", 1),
        ("Never Mind", "Never choose B.", None),
        ("Not", "Not B.", None),
        ("B", "The answer is B.", 1),
        ("Mr. B", "B", 1),
    ],
)
def test_the_choosers_name_stands_for_a_speaker_and_nothing_else(chooser, text, chosen) -> None:
    assert read_letter(text, "AB", chooser).chosen == chosen


def test_only_labels_shown_count() -> None:
    assert read_letter("C", "ABC").chosen == 2
    assert read_letter("I choose I.", "ABCDEFGHI").chosen == 8
    assert read_letter("I choose B.", "ABCDEFGHI").chosen == 1
    assert read_letter("X", ("X", "Y")).chosen == 0


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            ["A", "B", "a", "the answer is", "not", "I choose", ".", "\n", "or", ":", "because", "**", "?"]
        ),
        max_size=10,
    ).map(" ".join)
)
def test_no_text_makes_the_parser_raise_or_name_what_is_not_there(text) -> None:
    reading = read_letter(text, "AB", "Ines")
    assert (reading.chosen is not None) == (reading.status == "answered")
    if reading.chosen is not None:
        letter = "AB"[reading.chosen]
        assert any(c in text for c in (letter, letter.lower(), chr(ord(letter) + 0xFEE0), chr(ord(letter) + 0xFF00)))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from("AB"), st.text(alphabet=st.characters(exclude_characters="ABabＡＢａｂ<"), max_size=40))
def test_swapping_the_letters_swaps_the_reading(letter, rest) -> None:
    other = "B" if letter == "A" else "A"
    for form in ("The answer is {}.", "{}", "Option {}: ", "I would choose {} because"):
        one = read_letter(form.format(letter) + rest, "AB")
        two = read_letter(form.format(other) + rest, "AB")
        assert one.status == two.status
        if one.chosen is not None:
            assert two.chosen == 1 - one.chosen


NOISE = [
    "A" * 100_000,
    "A " * 50_000,
    "A\n" * 50_000,
    " " * 100_000,
    ("answer" + " " * 900 + "\n") * 110,
    "so " * 33_000,
]
NOISE += [
    "B\n" + "so " * 33_000 + "A",
    "the answer is " * 7_000,
    "I " * 50_000,
    "I can't " * 12_000,
    "*" * 100_000,
    "?" * 100_000,
]
NOISE += [
    "The answer is B because " + "x " * 50_000,
    ("the final answer is " * 45 + "\n") * 100,
    "no " * 33_000 + "\nB",
]


@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
def test_a_page_of_noise_takes_no_time(noise) -> None:
    start = time.process_time()
    read_letter(noise, "AB", "Ines")
    assert time.process_time() - start < 0.5
