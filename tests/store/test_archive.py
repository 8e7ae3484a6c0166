"""A zip file from a stranger: read by whitelist, within limits, or refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from introspect.errors import StoreError
from introspect.store import Store, pack_study, unpack_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    with Store.open(folder / "study.db") as store:
        store.put_replies((f"k{i}", "{}", json.dumps({"text": f"answer {i}"}), "{}") for i in range(200))
        store.put_failures([("f", "{}", '{"status":"failed"}', "{}")])
        store.put_blob(b"table" * 1000)
        store.step("s", {"x": 1}, 1, lambda: "result")
        store.jobs["j"] = {"id": "ftjob-1"}
        store.manifest["seed"] = 0
    (folder / "result.json").write_text('{"arms": []}\n')
    (folder / "models").mkdir()
    (folder / "models" / "weights.safetensors").write_bytes(b"weights" * 1000)
    return folder


@pytest.fixture
def packed(study: Path, tmp_path: Path) -> Path:
    pack_study(study, tmp_path / "study.zip")
    return tmp_path / "study.zip"


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def remade(packed: Path, change: Callable[[dict[str, bytes]], None], honest: bool = True) -> Path:
    """The archive with other parts; where it is honest, the header tells their hashes."""
    import hashlib

    content = parts(packed)
    change(content)
    if honest:
        header = json.loads(content["study.json"])
        for name in header["files"]:
            if name in content:
                header["files"][name] = {
                    "sha256": hashlib.sha256(content[name]).hexdigest(),
                    "bytes": len(content[name]),
                }
        content["study.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return packed


def refused(packed: Path, match: str, **options: int) -> None:
    target = packed.parent / "unpacked"
    with pytest.raises(StoreError, match=match) as caught:
        unpack_study(packed, target, **options)
    assert "\n" not in str(caught.value)
    assert str(packed) in str(caught.value)


def test_all_that_a_study_file_holds_comes_out_again(study: Path, packed: Path, tmp_path: Path) -> None:
    unpack_study(packed, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["result.json", "study.db"]
    with Store.open(study / "study.db") as ours, Store.open(tmp_path / "out" / "study.db") as theirs:
        assert list(theirs.replies()) == list(ours.replies())
        assert theirs.steps() == ours.steps()
        assert theirs.stages() == ours.stages()
        assert dict(theirs.jobs) == dict(ours.jobs)
        assert dict(theirs.manifest) == dict(ours.manifest)
        assert theirs.get_failures(["f"]) == {"f": '{"status":"failed"}'}
    assert (tmp_path / "out" / "result.json").read_bytes() == (study / "result.json").read_bytes()


def test_an_export_is_one_small_file_and_the_same_for_the_same_study(study: Path, packed: Path, tmp_path: Path) -> None:
    pack_study(study, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.zip", "study", "study.zip"]
    assert set(parts(packed)) == {"study.json", "study.db", "result.json"}


def test_a_study_is_exported_while_it_is_open_and_where_nothing_may_be_written(study: Path, tmp_path: Path) -> None:
    with Store.open(study / "study.db") as store:
        store.put_reply("late", "{}", "{}", "{}")  # still in the log beside the file
        pack_study(study, tmp_path / "open.zip")
    unpack_study(tmp_path / "open.zip", tmp_path / "out")
    with Store.open(tmp_path / "out" / "study.db") as store:
        assert store.get_reply("late") == "{}"


READ_ONLY = """
import os, sys
from introspect.store import pack_study
if os.geteuid() == 0:
    os.setegid(65534); os.seteuid(65534)
pack_study(sys.argv[1], sys.argv[2])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX rights")
def test_a_study_in_a_folder_that_cannot_be_written_to_is_exported(study: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        there = Path(place) / "study"
        shutil.copytree(study, there)
        out = Path(place) / "out"
        out.mkdir()
        for path, mode in ((there, 0o555), (there / "study.db", 0o444), (out, 0o777), (Path(place), 0o755)):
            path.chmod(mode)
        command = [sys.executable, "-c", READ_ONLY, str(there), str(out / "study.zip")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        there.chmod(0o755)
        assert done.returncode == 0, done.stderr
        assert sorted(p.name for p in there.iterdir()) == ["models", "result.json", "study.db"]
        unpack_study(out / "study.zip", out / "unpacked")


def test_an_unfinished_study_is_not_exported(study: Path, tmp_path: Path) -> None:
    (study / "result.json").unlink()
    with pytest.raises(StoreError, match=r"holds no finished study: result.json is missing"):
        pack_study(study, tmp_path / "study.zip")
    with pytest.raises(StoreError, match=r"study.db is missing"):
        pack_study(tmp_path / "nowhere", tmp_path / "study.zip")
    assert not (tmp_path / "study.zip").exists()


def test_a_check_that_refuses_leaves_nothing_and_sees_what_lies_across_pieces(study: Path, tmp_path: Path) -> None:
    with Store.open(study / "study.db") as store:
        store.put_blob(os.urandom(3 * 2**20))
    seen: list[bytes] = []

    def check(piece: bytes) -> None:
        seen.append(piece)
        if len(seen) == 3:
            raise StoreError("found something")

    with pytest.raises(StoreError, match="found something"):
        pack_study(study, tmp_path / "study.zip", check)
    assert seen[1][:4096] == seen[0][-4096:]
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "models/x", "study.db/../../evil", "C:\\evil", "STUDY.JSON"])
def test_a_name_that_no_export_has_is_refused_and_nothing_is_written(packed: Path, name: str) -> None:
    remade(packed, lambda content: content.update({name: b"evil"}))
    refused(packed, "which no export does")
    assert not list((packed.parent / "unpacked").iterdir())
    assert not (packed.parent / "evil").exists()


def test_a_name_given_twice_is_refused(packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("study.db", b"another")
    refused(packed, "holds a name twice")


def test_a_missing_part_is_refused(packed: Path) -> None:
    remade(packed, lambda content: content.pop("result.json"))
    refused(packed, "not an export of a study")


def test_more_bytes_than_allowed_are_refused_before_they_are_unpacked(packed: Path) -> None:
    refused(packed, "would unpack to", largest=1000)
    assert not list((packed.parent / "unpacked").iterdir())


def test_a_bomb_that_lies_about_its_size_goes_no_further_than_it_said(packed: Path) -> None:
    remade(packed, lambda content: content.update({"result.json": b"0" * 50_000_000}), honest=False)
    refused(packed, "result.json does not have the size and hash")
    assert (packed.parent / "unpacked" / "result.json").stat().st_size < 10_000


def test_a_changed_reply_is_refused(packed: Path) -> None:
    def change(content: dict[str, bytes]) -> None:
        assert b'answer 7"' in content["study.db"]
        content["study.db"] = content["study.db"].replace(b'answer 7"', b'answer 8"')

    remade(packed, change, honest=False)
    refused(packed, "study.db does not have the size and hash")


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99])
def test_an_archive_that_was_cut_short_is_refused(packed: Path, cut: float) -> None:
    whole = packed.read_bytes()
    packed.write_bytes(whole[: int(cut if cut > 1 else len(whole) * cut)])
    refused(packed, "not an export of a study, or is damaged")


def test_damage_anywhere_in_the_header_is_one_line(packed: Path, tmp_path: Path) -> None:
    whole = packed.read_bytes()
    with zipfile.ZipFile(packed) as opened:
        entry = opened.getinfo("study.json")
    first = entry.header_offset + 30 + len(entry.filename)
    path, refused = tmp_path / "damaged.zip", 0
    for position in range(first, first + entry.compress_size):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            unpack_study(path, tmp_path / "out")  # bits that only fill up the last byte may change unseen
        except StoreError:
            refused += 1
    assert refused >= entry.compress_size - 1


def test_flipped_bits_are_one_line_wherever_they_are(packed: Path, tmp_path: Path) -> None:
    whole, said = packed.read_bytes(), []
    for number, position in enumerate(range(0, len(whole), max(1, len(whole) // 60))):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path = tmp_path / f"{number}.zip"
        path.write_bytes(damaged)
        try:
            unpack_study(path, tmp_path / f"out{number}")  # a time stamp may change unseen
        except StoreError as error:
            said.append(str(error))
    assert len(said) > 50
    assert not any("\n" in line for line in said)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":"other"}',
        b'{"format":"introspect-study","version":"x"}',
        b"[" * 100_000,
        b" " * 2**21,
    ],
    ids=["empty", "list", "object", "other", "version", "deep", "long"],
)
def test_a_header_that_is_none_is_refused(packed: Path, header: bytes) -> None:
    remade(packed, lambda content: content.update({"study.json": header}), honest=False)
    refused(packed, "its study.json cannot be read")


def test_a_newer_export_says_that_it_is_newer(packed: Path) -> None:
    def change(content: dict[str, bytes]) -> None:
        header = json.loads(content["study.json"]) | {"version": 9, "introspect": "9.0"}
        content["study.json"] = json.dumps(header).encode()

    remade(packed, change, honest=False)
    refused(packed, r"newer introspect \(9.0; export format 9, this one knows up to 1\)")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER INSERT ON blobs BEGIN DELETE FROM replies; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TABLE more (x)",
        "DROP TABLE failures",
        "PRAGMA application_id=7",
    ],
)
def test_a_database_of_another_shape_is_refused(packed: Path, tmp_path: Path, sql: str) -> None:
    def change(content: dict[str, bytes]) -> None:
        path = tmp_path / "changed.db"
        path.write_bytes(content["study.db"])
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(sql)
        connection.close()
        content["study.db"] = path.read_bytes()

    remade(packed, change)
    refused(packed, "its database")


def test_a_database_that_is_none_is_refused(packed: Path) -> None:
    remade(packed, lambda content: content.update({"study.db": b"SQLite format 3\0" + bytes(5000)}))
    refused(packed, "its database")


def test_what_is_no_zip_file_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("hello")
    refused(tmp_path / "text.zip", "not an export of a study")
    refused(tmp_path / "nowhere.zip", "there is no file")
