"""Figures, grammar and intervals of studies of internals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from introspect.errors import ConfigError, MeasureError
from introspect.internals.arms import candidates
from introspect.internals.clustered import Clusters
from introspect.internals.questions import QUESTIONS, Said
from introspect.internals.result import InternalsResult
from introspect.internals.row_table import Recheck, Row, RowTable
from introspect.internals.scores import has_changed_columns, macro_f1, paired, score
from introspect.internals.splitting import balanced, split_by_group
from introspect.show import plot_internals


def table_of(changed: list[bool], groups: int = 12) -> RowTable:
    rows = tuple(Row(str(i), f"g{i % groups}", "test", {}, "x", changed=c) for i, c in enumerate(changed))
    return RowTable("patching", rows, None, {})


def test_changed_f1_precision_and_recall_are_the_right_way_round():
    rng = np.random.default_rng(0)
    truth, said = rng.random(300) < 0.3, rng.random(300) < 0.6
    scores = score(table_of(truth.tolist()), [Said("x", bool(s)) for s in said])
    assert scores.figures["changed F1"].value == pytest.approx(f1_score(truth, said, average="macro"))
    assert scores.figures["changed precision"].value == pytest.approx(precision_score(truth, said))
    assert scores.figures["changed recall"].value == pytest.approx(recall_score(truth, said))


def test_what_cannot_be_read_is_wrong_and_neither_yes_nor_no():
    scores = score(table_of([True, False] * 12), [Said(None)] * 24)
    assert scores.figures["exact"].value == 0
    assert scores.figures["unreadable"].value == 1
    assert scores.figures["changed F1"].value == 0
    assert has_changed_columns([True], [None]).tolist() == [[0, 0, 1, 0, 0, 0]]


def test_exact_needs_the_sentence_and_content_the_word_alone():
    scores = score(table_of([True] * 20), [Said("x", i < 10) for i in range(20)])
    assert (scores.figures["exact"].value, scores.figures["content"].value) == (0.5, 1.0)


def test_the_true_label_is_picked_among_others_that_begin_otherwise():
    rows = tuple(Row(str(i), "g", "test", {}, truth, changed=None) for i, truth in enumerate(("a", "b", "ca")))
    table = RowTable("planted", rows, None, {})
    named = candidates(table, ["a", "b", "ca", "cb"], 3, lambda label: ord(label[0]), seed=0)
    assert all(row.truth in names and len(names) == 3 for row, names in zip(rows, named, strict=True))
    assert not any({"ca", "cb"} <= set(names) for names in named)
    # Where all begin alike there is no other to pick, and `Asker` counts nothing as found.
    assert candidates(table, ["a", "b", "ca", "cb"], 3, lambda label: 7, seed=0) == [["a"], ["b"], ["ca"]]


def test_the_number_of_candidates_stands_beside_what_was_retrieved_among_them():
    table = table_of([True, False] * 12)
    scores = score(table, [Said("x")] * 24, [True] * 24, among=[3, 5] * 12)
    result = InternalsResult(
        "features", "m", "retrieval", {"explainer": {"test": scores}}, {}, (), {}, {"test": 24}, {}, Recheck(0, ()),
        asked=20,
    )  # fmt: skip
    row = next(row for row in result.rows() if row["figure"] == "retrieval")
    assert (row["fewest candidates"], row["most candidates"]) == (3, 5)
    assert "| explainer | test | retrieval among 3 to 5 | 1.000 |" in result.markdown()
    assert "among 3 to 5 candidates and not 20" in result.markdown()
    assert plot_internals(result.rows(), "retrieval").caption.startswith("retrieval among 3 to 5")


def test_enough_candidates_need_no_word_about_their_number():
    scores = score(table_of([True] * 24), [Said("x")] * 24, [True] * 24, among=[20] * 24)
    result = InternalsResult(
        "features", "m", "retrieval", {"explainer": {"test": scores}}, {}, (), {}, {}, {}, Recheck(0, ()), asked=20
    )
    assert "retrieval among 20 1.000" in " ".join(result.sentences())
    assert "candidates and not" not in result.markdown()


def test_parts_stand_in_the_order_of_their_layers_and_what_is_undefined_says_so():
    rows = tuple(
        Row(str(i), f"g{i}", "test", {}, "x", changed=True, part="last", layer=(22, 7)[i % 2]) for i in range(24)
    )
    scores = score(RowTable("patching", rows, None, {}), [Said(None)] * 24)
    assert list(scores.parts) == ["changed", "layer 7", "layer 22", "part last"]
    assert str(scores.figures["changed precision"]) == "undefined"


def test_intervals_come_from_whole_groups():
    """Rows that are alike within a group are worth one row a group."""
    rng = np.random.default_rng(1)
    by_group = rng.random(40) < 0.5
    alike = np.repeat(by_group, 25)
    groups = [str(i // 25) for i in range(1000)]
    wide, narrow = Clusters(groups).mean(alike), Clusters([str(i) for i in range(1000)]).mean(alike)
    assert wide.interval.high - wide.interval.low > 3 * (narrow.interval.high - narrow.interval.low)


def test_few_groups_give_no_interval_but_a_reason():
    found = Clusters(["a", "b"] * 10).mean(np.ones(20))
    assert np.isnan(found.interval.low)
    assert "2 groups" in found.why


def test_paired_differences_are_of_the_same_rows():
    table = table_of([True, False] * 30)
    good = score(table, [Said("x", c) for c in [True, False] * 30])
    bad = score(table, [Said("x", True)] * 60)
    assert paired(table, good, bad, "exact").value == 0.5
    assert paired(table, good, good, "changed F1").interval == (0.0, 0.0)
    assert paired(table, good, bad, "changed F1").value == pytest.approx(
        1 - macro_f1(np.array([30, 60, 30, 0, 0, 30.0]))
    )
    with pytest.raises(MeasureError, match="retrieval"):
        paired(table, good, bad, "retrieval")


@pytest.mark.parametrize("task", ["patching", "ablation"])
@pytest.mark.parametrize("changed", [True, False])
def test_every_answer_is_read_as_what_it_says(task, changed):
    question = QUESTIONS[task]
    for content in ("Rome", "New York", "A", "São Tomé", "3"):
        for tail in ("", ".", "\n", " .\nmore"):
            assert question.read(question.answer(content, changed) + tail) == Said(content, changed)


@pytest.mark.parametrize("text", ["", " ", "Rome", " now", "still", "nowRome", "It is now Rome"])
def test_what_is_outside_the_grammar_is_unreadable(text):
    assert not QUESTIONS["patching"].read(text).readable


def test_answers_outside_the_labels_are_unreadable():
    assert not QUESTIONS["features"].read(" fruits", ["fruit"]).readable
    assert QUESTIONS["features"].read(" fruit", ["fruit"]).content == "fruit"


def test_a_row_is_always_asked_in_the_same_words_and_all_wordings_are_used():
    rows = [Row(str(i), "g", "test", {"layer": "3"}, "x") for i in range(60)]
    texts = [QUESTIONS["features"].text(row) for row in rows]
    assert texts == [QUESTIONS["features"].text(row) for row in rows]
    assert len(set(texts)) == 3
    with pytest.raises(ConfigError, match="needs the field"):
        QUESTIONS["patching"].text(rows[0])


def test_groups_stay_together_and_parts_are_balanced():
    rows = [Row(str(i), f"g{i % 7}", "", {}, "x", changed=i % 5 == 0, part="ab"[i % 2]) for i in range(210)]
    for seed in range(5):
        cut = split_by_group(rows, 0.3, seed)
        sides = {row.group: {r.split for r in cut if r.group == row.group} for row in cut}
        assert all(len(side) == 1 for side in sides.values())
    kept = balanced(rows, 0, most=1.0)
    for part in "ab":
        here = [row.changed for row in kept if row.part == part]
        assert here.count(True) == here.count(False) > 0
