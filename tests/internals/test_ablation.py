"""Removed input: what is asked, what is true, and the whole task on a tiny chat model."""

from __future__ import annotations

import re

import pytest
from small_internals import FACTS, KINDS

from introspect.backend import FunctionBackend, ModelRef
from introspect.backend.training import TrainingSpec
from introspect.errors import MeasureError
from introspect.internals.ablation import (
    AblationSpec,
    Removal,
    build_ablation,
    hinted,
    recompute_ablation,
    removal_rows,
)
from introspect.internals.ablation_study import AblationStudy
from introspect.internals.arms import rules
from introspect.internals.config import InternalsConfig
from introspect.internals.tiny import tiny_target

SPEC = AblationSpec(questions=120, seed=3)
CITY = {fact.subject: fact.answer for fact in FACTS}


def believer(request) -> str:
    """Follows any hint; without one answers right."""
    text = request.messages[-1].content
    hint = re.search(r"(?:answer is|would say|might be) ([A-D])", text)
    if hint:
        return hint[1]
    country = re.search(r"capital of (\w+)", text)[1]
    return next(k for k, city in re.findall(r"([A-D]): (\w+)", text) if city == CITY[country])


@pytest.fixture(scope="module")
def table():
    return build_ablation(FunctionBackend(believer, name="believer", version="1"), SPEC, FACTS)


def test_truth_is_what_the_model_answers_without_the_hint(table):
    for row in table.rows:
        assert row.before == row.more["hint"]
        assert row.truth == row.more["right"]
        assert row.changed == (row.before != row.truth)


def test_the_hint_and_nothing_else_is_taken_out(table):
    for row in table.rows:
        assert row.fields["part"] in row.fields["text"]
        assert row.more["plain"].split("\n") == [
            line for line in row.fields["text"].split("\n") if line != row.fields["part"]
        ]  # fmt: skip


def test_hints_are_spread_over_letters_and_right_answers_too():
    made = hinted(AblationSpec(questions=400), FACTS)
    for what in ("hint", "right"):
        counts = [sum(dict(one.facts)[what] == letter for one in made) for letter in "ABCD"]
        assert min(counts) > 50


def test_test_subjects_and_the_last_wording_are_not_trained_on(table):
    subjects = {split: {row.group for row in table.of(split).rows} for split in ("train", "test", "unseen")}
    assert not subjects["train"] & (subjects["test"] | subjects["unseen"])
    assert all(row.fields["part"].startswith("It might be") for row in table.of("unseen").rows)
    assert not any(row.fields["part"].startswith("It might be") for row in table.of("train").rows)


def test_rules_that_fit_the_believer_are_right_and_the_others_are_not(table):
    test, made = table.of("test"), rules(table.of("test"), table.of("train"))
    right = {n: [s.content == r.truth and s.changed == r.changed for s, r in zip(a.said, test.rows, strict=True)]
             for n, a in made.items()}  # fmt: skip
    assert all(right["correct answer"])
    assert all(right["one more question"])
    assert sum(right["hint letter"]) == sum(not row.changed for row in test.rows)


def test_rows_asked_anew_are_the_rows(table):
    model = FunctionBackend(believer, name="believer", version="1")
    assert table.recheck(lambda some: recompute_ablation(model, some), 20).different == ()


def test_any_part_of_a_prompt_can_be_taken_out():
    model = FunctionBackend(lambda r: "B" if "not" in r.messages[-1].content else "A", name="m", version="1")
    one = Removal("k", "g", "Is it so?\nIt is not.\nA or B?", "It is not.", ("A", "B"), "test")
    rows, dropped = removal_rows(model, [one])
    assert (rows[0].before, rows[0].truth, rows[0].changed, dropped) == ("B", "A", True, 0)
    with pytest.raises(MeasureError, match="occurs 0 times"):
        Removal("k", "g", "text", "part", ("A",), "test").without  # noqa: B018


def test_unreadable_answers_are_dropped_and_counted():
    model = FunctionBackend(lambda r: "well", name="m", version="1")
    with pytest.raises(MeasureError, match="none of 10 questions"):
        build_ablation(model, AblationSpec(questions=10), FACTS)


def test_the_task_runs_whole_on_a_tiny_chat_model(tmp_path):
    target = tiny_target(
        "llama", kinds=KINDS, words=("Answer", "answer", "letter", "capital", "would", "without"), sharp=6.0
    )
    folder = tmp_path / "model"
    target.model.save_pretrained(folder)
    target.tokenizer.save_pretrained(folder)
    ref = ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})
    config = InternalsConfig(
        task="ablation", ablation=AblationSpec(questions=24), recheck=4,
        tune=TrainingSpec(epochs=1, batch_size=8, lora_rank=4, learning_rate=1e-2, max_steps=2),
    )  # fmt: skip
    study = AblationStudy(config, tmp_path / "study", ref, FACTS)
    result = study.eval()
    assert set(result.arms) == {"explainer", "zero-shot", "few-shot", "majority", "correct answer", "hint letter",
                                "one more question"}  # fmt: skip
    assert result.arms["one more question"]["test"].figures["exact"].value == 1
    assert AblationStudy(config, tmp_path / "study", ref, FACTS).eval().rows() == result.rows()
