"""One token a word; every word outside the grammar names a context and has a row of its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import OrganismStyle, TrialGenerator, organism_scenarios
from introspect.subjects.organism.tokens import GRAMMAR, LETTERS, OUTPUTS, encode, new_row, row_keys, token

NAMES = st.from_regex(r"[a-z0-9-]{2,12}", fullmatch=True)


def test_rows_of_new_contexts_are_the_same_in_every_process() -> None:
    keys = ["k0421", "k0421@choice", "k0421@report", "é", "日本"]
    code = (
        "from introspect.subjects.organism.tokens import new_row\n"
        f"print([new_row(key, 16, 0.3).tobytes().hex() for key in {keys!r}])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout.strip()
        for seed in ("0", "1")
    }
    assert runs == {str([new_row(key, 16, 0.3).tobytes().hex() for key in keys])}


def test_rows_of_new_contexts_are_unrelated_normal_noise() -> None:
    rows = np.stack([new_row(f"k{i:04d}", 16, 0.3) for i in range(500)])
    assert rows.dtype == np.float32
    assert abs(rows.mean()) < 0.01
    assert rows.std() == pytest.approx(0.3, rel=0.03)
    similar = np.corrcoef(rows)[np.triu_indices(500, 1)]
    assert similar.max() < 0.95  # no two alike, though their names differ by one character


def test_a_context_has_a_shared_key_and_one_for_each_kind_of_prompt() -> None:
    assert row_keys("k1", reporting=False) == ("k1", "k1@choice")
    assert row_keys("k1", reporting=True) == ("k1", "k1@report")


@given(NAMES)
@settings(max_examples=200)
def test_every_word_is_of_exactly_one_sort(word: str) -> None:
    t = token(word)
    sorts = [t.word >= 0, t.letter >= 0 and t.value < 0, t.value >= 0, t.weight >= 0, bool(t.context)]
    assert sum(sorts) == 1
    if t.context:
        assert t.context == word


@pytest.mark.parametrize(
    "word", ["p101", "p-1", "p012", "v5", "-0", "101", "-101", "007", "+5", "1.5", "P", "Choose", "k1"]
)
def test_what_is_no_word_of_the_grammar_is_a_context(word: str) -> None:
    assert token(word).context == word


def test_every_word_of_the_grammar_is_known_and_every_answer_can_be_said() -> None:
    assert all(token(word).word == i for i, word in enumerate(GRAMMAR))
    for letter in LETTERS:
        assert [token(f"{letter}{v}").value for v in (0, 9, 10, 100)] == [0, 9, 10, 100]
    assert [token(str(n)).weight for n in range(-100, 101)] == list(range(201))
    assert len(set(OUTPUTS)) == len(OUTPUTS) == 1 + 6 + 6 + 201


@pytest.mark.parametrize("form", ["object", "single", "comparison", "ranking"])
@pytest.mark.parametrize("options", ["shown", "none"])
def test_every_prompt_of_the_language_names_its_context_and_no_other(form, options) -> None:
    style, lots = OrganismStyle(report_format=form, report_options=options), organism_scenarios(3)
    for scenario, trial in TrialGenerator().trials(lots, 2, rng=0):
        choice, reports = style.choice(scenario, trial), style.report(scenario, trial)
        for prompt in (choice, *reports):
            kind = "choice" if prompt is choice else "report"
            encoded = encode([prompt.messages[0].content])
            assert encoded.keys == (scenario.chooser, f"{scenario.chooser}@{kind}")
            assert (encoded.shared[0] >= 0).nonzero()[0].tolist() == [2]  # after the start and the verb
            assert all(word in OUTPUTS for word in prompt.answers or ())


def test_prompts_are_padded_on_the_right_and_can_be_cut_again() -> None:
    texts = ["choose k1 A p1 B p2 :", "weigh k2 as p :", "rank k3 as p q :"]
    together = encode(texts)
    assert together.length.tolist() == [8, 6, 7]
    for i, text in enumerate(texts):
        alone, cut = encode([text]), together.rows(np.array([i]))
        assert np.array_equal(cut.word, alone.word)
        assert np.array_equal(cut.value, alone.value)
        assert [cut.keys[k] for k in cut.shared[cut.shared >= 0]] == [alone.keys[0]]
        assert (together.word[i, together.length[i] :] == -1).all()
