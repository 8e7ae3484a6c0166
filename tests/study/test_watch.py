"""Progress goes to standard error, says each stage once, and nothing at all before the first."""

from __future__ import annotations

import io

import pytest
from small_studies import small_study

from introspect.study import ProgressWatcher


def test_a_finished_stage_is_one_line_and_a_running_one_a_bar() -> None:
    told = io.StringIO()
    watcher = ProgressWatcher(told, opening="this will cost 3 calls")
    assert told.getvalue() == ""
    watcher.stage("seed 0: draw", done=True)
    watcher.stage("seed 0: ask", done=False)
    for done in (1, 2, 3):
        watcher.progress(done, 3, "replies")
    watcher.close()
    watcher.close()
    lines = told.getvalue().replace("\r", "\n").splitlines()
    assert lines[:2] == ["this will cost 3 calls", "seed 0: draw: done before"]
    assert "3/3" in lines[-1]
    assert "seed 0: ask" in lines[-1]


def test_it_works_where_standard_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    watcher = ProgressWatcher(opening="hello")
    watcher.stage("seed 0: ask", done=False)
    watcher.progress(1, 1, "replies")
    watcher.close()


def test_standard_output_stays_clean(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    watcher = ProgressWatcher()
    small_study(tmp_path).run(watcher)
    watcher.close()
    said = capsys.readouterr()
    assert said.out == ""
    assert "seed 0: fold2: choices" in said.err
