"""Every control that was done has a figure that shows its rows and says what it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from introspect.errors import ConfigError
from introspect.show import plot_control
from introspect.study.controls import CONTROLS, ControlResult, control

ROW = {
    "condition": "a", "r": 0.5, "ci_low": 0.4, "ci_high": 0.6, "null_high": 0.1, "coverage": 1.0, "x": 1.0,
    "axis": "epochs", "old_r": -0.2, "learned_vs_target_r": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("word", CONTROLS)
def test_each_control_has_a_figure_with_its_sentence(word: str, tmp_path: Path) -> None:
    rows = (ROW, {**ROW, "condition": "b", "x": 2.0, "r": 0.2, "ci_low": None, "ci_high": None})
    result = ControlResult(word, "Is it so?", "done", rows=rows, sentence="It is so, and that means something.")
    figure = plot_control(result, tmp_path / "it.png")
    assert (tmp_path / "it.png").stat().st_size > 5000
    said = " ".join(text.get_text().replace("\n", " ") for text in figure.texts)
    assert "It is so, and that means something." in said
    assert "Is it so?" in said


def test_conditions_are_drawn_at_their_r() -> None:
    rows = ({**ROW, "r": 0.25}, {**ROW, "condition": "b", "r": -0.5})
    (axis,) = plot_control(ControlResult("placebo", "?", "done", rows=rows, sentence=".")).axes
    dots = [line.get_xdata()[0] for line in axis.lines if line.get_marker() in "os"]
    assert dots == [0.25, -0.5]
    left, _ = axis.get_xlim()
    assert left < -0.5
    assert [patch.get_x() for patch in axis.patches] == [left] * 2
    assert [patch.get_x() + patch.get_width() for patch in axis.patches] == pytest.approx([0.1] * 2)
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


@pytest.mark.parametrize("word", ["temperature", "trajectory"])
def test_lines_are_told_apart_without_colour(word: str) -> None:
    rows = ({**ROW, "condition": "a"}, {**ROW, "condition": "b", "x": 2.0})
    (axis,) = plot_control(ControlResult(word, "?", "done", rows=rows, sentence=".")).axes
    looks = [(line.get_marker(), line.get_linestyle()) for line in axis.lines if line.get_label()[0] != "_"]
    assert len(looks) == len(set(looks)) > 1


def test_what_was_not_done_has_no_figure() -> None:
    with pytest.raises(ConfigError, match="not applicable: it has no words"):
        plot_control(ControlResult("prompts", "?", "not applicable", "it has no words"))


def _legend_words(axis):
    return axis.get_legend().get_texts() if axis.get_legend() else []


@pytest.mark.parametrize("word", CONTROLS)
def test_nothing_of_a_figure_is_cut_off(word: str) -> None:
    """With its own question, the longest sentence, and a bar at either end."""
    long = "Over many ways to ask, held-out r goes from one number to another, and that is said at some length: " * 3
    rows = tuple({**ROW, "condition": f"a condition with a name of some length, {k}", "x": float(k)} for k in range(4))
    figure = plot_control(ControlResult(word, control(word).question, "done", rows=rows, sentence=long))
    figure.draw_without_rendering()
    whole = figure.bbox.padded(1)
    for text in figure.texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0, text.get_text()
        assert box.x1 <= whole.x1, text.get_text()
        assert box.y1 <= whole.y1, text.get_text()
    for axis in figure.axes:
        for words in (axis.xaxis.label, axis.yaxis.label, *axis.get_yticklabels(), *_legend_words(axis)):
            if words.get_text():
                box = words.get_window_extent()
                assert whole.x0 <= box.x0, words.get_text()
                assert box.x1 <= whole.x1, words.get_text()
        low, high = sorted(axis.get_ylim())
        if axis.get_yticklabels()[0].get_text().startswith("a condition"):
            assert low < -0.5, "the first bar is as wide as the room that it has"
            assert high > len(rows) - 0.5


@pytest.mark.parametrize("word", ["prompts", "grounding", "self-prediction"])
def test_what_could_not_be_scored_says_so_and_is_no_bar_of_length_0(word: str) -> None:
    scored = {**ROW, "value": 0.5}
    rows = (
        scored,
        {**scored, "condition": "b", "r": None, "ci_low": None, "old_r": None, "value": None},
        {"condition": "c", "note": "not applicable: it has no words"},
    )
    (axis,) = plot_control(ControlResult(word, "?", "done", rows=rows, sentence=".")).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in axis.texts] == ["no r: too few usable reports", "not applicable"]
    assert 0.0 not in [patch.get_width() for patch in axis.patches]
