"""The controls that need words run on a real chat model, with a table, a sentence and a figure each.

So little is trained here that nothing is learned: what they find is not looked at, only that each variant is asked for,
answered and scored, or says why not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from introspect.backend import models
from introspect.show import plot_control
from introspect.study import Protocol, ProtocolRun, RunResult, backend_ref
from introspect.study.controls import ControlResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(models.locate("smollm2") is None, reason="run `introspect models get smollm2` first"),
]

PROTOCOL = """\
name: words
contexts: {instilled: 4, native: 2}
instil: {choices: 4, train: {epochs: 1, batch_size: 4, learning_rate: 1.0e-3, lora_rank: 4, max_steps: 4}}
measure: {choices: 4, native_choices: 4, design: random, after_report_training: false}
report:
  ask: {reports: 1}
  train: {settings: {epochs: 1, batch_size: 2, learning_rate: 3.0e-4, lora_rank: 4, max_steps: 2}}
score: {n_boot: 100, n_null: 99}
controls:
  - few-shot: {examples: 2}
  - prompts
  - common-sense: {models: ["transformers:smollm2"]}
  - placebo: {kinds: [generic-json, n-matched]}
  - self-prediction: {others: []}
  - disposition: {choices: 8, fresh: 8}
  - rules
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("words")
    return ProtocolRun(Protocol.from_yaml(PROTOCOL), backend_ref("transformers:smollm2"), folder).run()


@pytest.fixture(scope="module")
def found(run: RunResult) -> dict[str, ControlResult]:
    return {c.word: c for c in run.controls}


def test_all_of_them_run_to_their_end(run: RunResult, found: dict[str, ControlResult], tmp_path: Path) -> None:
    assert run.count("failed") == run.count("blocked") == 0
    for word, result in found.items():
        assert result.state == "done", f"{word}: {result.reason}"
        assert result.sentence.endswith(".")
        plot_control(result, tmp_path / f"{word}.png")
        assert (tmp_path / f"{word}.png").stat().st_size > 5000


def test_every_way_to_ask_is_asked_on_a_chat_model(found: dict[str, ControlResult]) -> None:
    rows = {str(row["condition"]): row for row in found["prompts"].rows}
    assert set(rows) == {
        "as the study asks", "no-options", "one-at-a-time", "forced-comparison", "ranking", "key-order", "ranges",
        "name-only", "item-only", "persona", "paraphrase", "scale",
    }  # fmt: skip
    assert not any("not applicable" in str(row.get("note", "")) for row in rows.values())


def test_single_choices_are_foretold_when_asked_in_words(found: dict[str, ControlResult]) -> None:
    rows = {str(row["condition"]): row for row in found["self-prediction"].rows}
    asked = rows["itself, asked what it would answer"]
    assert 0 <= asked["value"] <= 1
    assert "the untuned model, asked what it would answer" in rows


def test_both_twins_are_asked_what_they_do_and_what_they_say(found: dict[str, ControlResult]) -> None:
    rows = found["disposition"].rows
    assert [row["condition"] for row in rows] == ["untuned", "trained to take risks", "trained to avoid risks"]
    assert all(0 <= row["does"] <= 1 and 0 <= row["value"] <= 1 for row in rows)


def test_the_guesser_is_the_untuned_model_here_and_so_guesses_alike(found: dict[str, ControlResult]) -> None:
    rows = {str(row["condition"]): row for row in found["common-sense"].rows}
    own, other = (rows[f"guessed by {name}"] for name in ("untuned", "transformers:smollm2"))
    assert own["r"] == other["r"]
