from __future__ import annotations

from pathlib import Path

import pytest

from introspect.backend import FolderJobs
from introspect.errors import TrainingError


def test_what_was_recorded_is_recalled_by_another_process(tmp_path: Path) -> None:
    FolderJobs(tmp_path / "a" / "job").record({"id": "ft-1", "step": 3})
    FolderJobs(tmp_path / "a" / "job").record({"id": "ft-1", "step": 4})
    assert FolderJobs(tmp_path / "a" / "job").recall() == {"id": "ft-1", "step": 4}


def test_a_new_job_recalls_nothing(tmp_path: Path) -> None:
    jobs = FolderJobs(tmp_path / "new")
    assert jobs.recall() == {}
    assert jobs.folder.is_dir()


def test_a_half_written_state_is_never_recalled(tmp_path: Path) -> None:
    jobs = FolderJobs(tmp_path)
    jobs.record({"id": "ft-1"})
    (tmp_path / "job.json.999.partial").write_text('{"id": "ft')  # a writer that was killed
    assert FolderJobs(tmp_path).recall() == {"id": "ft-1"}
    with pytest.raises(TrainingError, match="plain JSON"):
        jobs.record({"id": object()})
    assert jobs.recall() == {"id": "ft-1"}


@pytest.mark.parametrize("content", ['{"id": ', "[1]", "\x00"])
def test_a_damaged_state_is_an_error_that_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "job.json").write_text(content)
    with pytest.raises(TrainingError, match="Delete it"):
        FolderJobs(tmp_path).recall()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot make the job folder"):
        FolderJobs(tmp_path / "file" / "job")


def test_a_state_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    jobs = FolderJobs(tmp_path)
    (tmp_path / "job.json").mkdir()
    with pytest.raises(TrainingError, match="cannot write"):
        jobs.record({})


def test_progress_reaches_the_person_watching(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float | None]] = []
    FolderJobs(tmp_path, on_progress=lambda *what: seen.append(what)).progress(1, 2, 0.5)
    FolderJobs(tmp_path).progress(1, 2)
    assert seen == [(1, 2, 0.5)]
