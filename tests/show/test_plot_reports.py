"""The figure shows what the arms hold, for any study, and is written whole where it was asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from introspect.decision import OrganismStyle, organism_scenarios
from introspect.errors import ConfigError, MissingExtraError
from introspect.measure import AccuracyMetric
from introspect.show import plot_reports
from introspect.show.bands import band_of
from introspect.study import ARMS, Study, StudyProtocol, StudyResult
from introspect.subjects import SimulatedAgent


def ran(folder: Path, n: int = 12, n_native: int = 11, seeds=(0, 1), **agent) -> StudyResult:
    return Study(
        SimulatedAgent(name="drawn", **agent).ref,
        organism_scenarios(n),
        organism_scenarios(n_native, prefix="n") if n_native else (),
        OrganismStyle(),
        StudyProtocol(n_instil=24, n_measure=12, n_native=12, n_reports=1),
        folder,
        seeds,
        AccuracyMetric(n_boot=50, n_null=49),
    ).run()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return ran(tmp_path_factory.mktemp("drawn"))


def test_each_published_arm_has_a_panel_with_every_weight_once(result: StudyResult) -> None:
    axes = plot_reports(result).axes
    assert len(axes) == len(ARMS)
    for axis, name in zip(axes, ARMS, strict=True):
        (dots,) = axis.collections
        found = np.asarray(dots.get_offsets())
        arms = [seed.arms[name] for seed in result.seeds]
        expected = [
            (x, y) for arm in arms for c in arm.learned for x, y in zip(arm.learned[c], arm.said[c], strict=True)
        ]
        assert found == pytest.approx(np.array(expected))
        assert len(expected) == 2 * 5 * (11 if name.startswith("native") else 12)


def test_panels_quote_the_rows_of_the_table(result: StudyResult) -> None:
    for axis, row in zip(plot_reports(result).axes, result.arms, strict=False):
        texts = [text.get_text() for text in axis.texts]
        assert f"r = {row['pooled_r']:.2f}  [{row['ci_low']:.2f}, {row['ci_high']:.2f}]" in texts


def test_below_each_panel_stand_coverage_ceiling_and_null(result: StudyResult) -> None:
    for axis, row in zip(plot_reports(result).axes, result.arms, strict=False):
        low, high = band_of([seed.arms[row["name"]] for seed in result.seeds])
        first, second = axis.get_xlabel().split("\n")
        ceiling = "" if row["ceiling"] is None else f", ceiling {row['ceiling']:.2f}"
        assert first == f"{row['coverage']:.0%} of contexts scored{ceiling}"
        assert second == f"shuffled contexts: r {low:+.2f} to {high:+.2f}"


def test_panels_share_one_square_scale_and_the_figure_says_what_is_what(result: StudyResult) -> None:
    figure = plot_reports(result)
    assert {axis.get_xlim() for axis in figure.axes} == {axis.get_ylim() for axis in figure.axes} == {(-108.0, 108.0)}
    assert "reported weight" in figure.axes[0].get_ylabel()
    assert "measured" in figure.get_supxlabel()
    assert "2 seeds" in figure.get_suptitle()
    assert "1 seed" in plot_reports(StudyResult(result.model, "", result.seeds[:1])).get_suptitle()


def test_titles_and_captions_do_not_overlap_or_leave_the_figure(result: StudyResult) -> None:
    figure = plot_reports(result)
    figure.canvas.draw()
    whole = figure.bbox
    for axis in figure.axes:
        caption, *_ = axis.texts
        boxes = [axis.title.get_window_extent(), caption.get_window_extent()]
        assert not boxes[0].overlaps(boxes[1])
        for box in boxes:
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1
            assert whole.y0 <= box.y0 <= box.y1 <= whole.y1


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG\r\n"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_decides_the_format(result: StudyResult, tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"figure.{ending}"
    plot_reports(result, path)
    assert path.read_bytes().startswith(start)


def test_a_path_that_cannot_be_a_picture_is_one_clear_line(result: StudyResult, tmp_path: Path) -> None:
    for path in (tmp_path / "figure.doc", tmp_path / "no" / "folder" / "figure.png"):
        with pytest.raises(ConfigError, match="cannot be saved") as caught:
            plot_reports(result, path)
        assert str(path) in str(caught.value)
        assert not path.exists()


def test_studies_without_native_arm_interval_or_any_r_are_drawn_too(tmp_path: Path) -> None:
    few = ran(tmp_path / "few", n=6, n_native=0, seeds=(0,))
    figure = plot_reports(few, tmp_path / "few.png")
    assert len(figure.axes) == 3
    assert "[" not in "".join(text.get_text() for text in figure.axes[0].texts)  # no interval below ten contexts
    silent = ran(tmp_path / "silent", seeds=(0,), refusal_rate=1.0)
    figure = plot_reports(silent, tmp_path / "silent.png")
    for axis in figure.axes:
        texts = [text.get_text() for text in axis.texts]
        assert "r undefined" in texts
        why = next(text for text in texts if text.startswith("no context could be scored"))
        assert "12 ×" in why or "11 ×" in why


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys\nfrom introspect import plot_reports\n"
        "assert 'matplotlib' not in sys.modules\nprint('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_matplotlib_it_says_what_to_install(result: StudyResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="notebook"):
        plot_reports(result)
