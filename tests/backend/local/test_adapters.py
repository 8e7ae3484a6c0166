from __future__ import annotations

import pytest

from introspect.backend.local.adapters import folder_hash, save_folder


def test_the_same_files_hash_alike_wherever_they_lie(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "a").write_text("x")
        (tmp_path / name / "sub" / "b").write_text("y")
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "c")
    assert folder_hash(tmp_path / "one") != folder_hash(tmp_path / "two")


def test_a_folder_is_saved_whole_or_not_at_all(tmp_path):
    def fail(folder):
        (folder / "half").write_text("x")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_folder(tmp_path, fail)
    assert list(tmp_path.iterdir()) == []
    digest, folder = save_folder(tmp_path, lambda into: (into / "whole").write_text("x"))
    assert folder_hash(folder) == digest
    assert save_folder(tmp_path, lambda into: (into / "whole").write_text("x")) == (digest, folder)
    assert len(list(tmp_path.iterdir())) == 1
