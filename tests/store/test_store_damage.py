"""Files that cannot be opened, bytes that cannot be believed: one clear line, never a wrong value."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from introspect.errors import StoreError
from introspect.store import Store

ROW = ("k", '{"messages":["what was asked"]}', '{"text":"what was said"}', '{"ref":"which model"}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


@pytest.fixture
def full(path: Path) -> Path:
    """A closed study file with something of everything, over several pages."""
    with Store.open(path) as store:
        store.put_replies([ROW, *((f"k{i}", "{}", "{}" + " " * 2000, "{}") for i in range(50))])
        store.put_table("t", {"x": np.arange(5000)})
        store.put_blob(b"blob" * 5000)
        store.step("s", {"question": 1}, 1, lambda: {"answer": "forty-two"})
        store.manifest["seed"] = 7
    return path


def use_everything(path: Path) -> None:
    with Store.open(path) as store:
        list(store.replies())
        store.steps()
        store.get_table("t")
        store.get_reply("k")
        for digest in [row[0] for row in store._db.rows("SELECT digest FROM blobs")]:
            store.get_blob(digest)
        dict(store.manifest)


def one_line(error: pytest.ExceptionInfo[StoreError], path: Path) -> bool:
    text = str(error.value)
    return str(path) in text and "\n" not in text


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder") as error:
        Store.open(tmp_path)
    assert one_line(error, tmp_path)


def test_a_path_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "study.db", tmp_path / "file" / "deeper" / "study.db"):
        with pytest.raises(StoreError, match="cannot be made") as error:
            Store.open(path)
        assert one_line(error, path)


@pytest.mark.parametrize("content", [b"x", b"hello, world\n" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        Store.open(path)
    assert one_line(error, path)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE replies (key TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program") as error:
        Store.open(path)
    assert one_line(error, path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_left_alone(full: Path) -> None:
    connection = sqlite3.connect(full)
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()
    before = full.read_bytes()
    with pytest.raises(StoreError, match=r"newer introspect \(schema 99; this one knows up to 2\)") as error:
        Store.open(full)
    assert one_line(error, full)
    assert full.read_bytes() == before


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_not_believed(full: Path, share: float) -> None:
    whole = full.read_bytes()
    full.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(StoreError) as error:
        use_everything(full)
    assert one_line(error, full)


def flip(path: Path, inside: bytes) -> None:
    """Change one bit of the file in the middle of these bytes, as a bad disk would."""
    data = bytearray(path.read_bytes())
    assert data.count(inside) == 1
    data[data.index(inside) + len(inside) // 2] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_in_a_reply_is_found(full: Path) -> None:
    flip(full, b"what was said")
    with Store.open(full) as store:
        with pytest.raises(StoreError, match="reply k does not have the checksum") as error:
            store.get_reply("k")
        assert one_line(error, full)
        with pytest.raises(StoreError, match="checksum"):
            list(store.replies())
        assert store.get_reply("k1") is not None


def test_a_flipped_bit_in_a_request_is_found(full: Path) -> None:
    flip(full, b"what was asked")
    with Store.open(full) as store, pytest.raises(StoreError, match="checksum"):
        store.get_reply("k")


def test_a_flipped_bit_in_a_models_description_is_found(full: Path) -> None:
    flip(full, b"which model")
    with Store.open(full) as store, pytest.raises(StoreError, match="model of reply k"):
        list(store.replies())


def test_a_flipped_bit_in_a_step_is_found_and_not_computed_over(full: Path) -> None:
    flip(full, b"forty-two")
    with Store.open(full) as store:
        with pytest.raises(StoreError, match="step 's' does not have the checksum"):
            store.step("s", {"question": 1}, 1, lambda: pytest.fail("was computed"))
        with pytest.raises(StoreError, match="checksum"):
            store.steps()


def test_a_flipped_bit_in_a_table_is_found(full: Path) -> None:
    flip(full, np.arange(100, 110).tobytes())
    with Store.open(full) as store, pytest.raises(StoreError, match="table 't' does not have the checksum"):
        store.get_table("t")


def test_a_flipped_bit_in_a_blob_is_found_and_mended_by_storing_it_again(path: Path) -> None:
    content = bytes(range(256))
    with Store.open(path) as store:
        digest = store.put_blob(content)
    flip(path, content)
    with Store.open(path) as store:
        with pytest.raises(StoreError, match=f"blob {digest} does not have the checksum"):
            store.get_blob(digest)
        assert store.put_blob(content) == digest
        assert store.get_blob(digest) == content


def test_entries_that_were_swapped_are_found(full: Path) -> None:
    with Store.open(full) as store:
        store.put_table("u", {"x": np.zeros(1)})
    connection = sqlite3.connect(full)
    connection.execute(
        "UPDATE tables SET (npz, checksum) = (SELECT npz, checksum FROM tables WHERE key = 'u') WHERE key = 't'"
    )
    connection.execute(
        "UPDATE replies SET (request, reply, checksum) = (SELECT request, reply, checksum FROM replies "
        "WHERE key = 'k1') WHERE key = 'k'"
    )
    connection.commit()
    connection.close()
    with Store.open(full) as store:
        with pytest.raises(StoreError, match="table 't'"):
            store.get_table("t")
        with pytest.raises(StoreError, match="reply k "):
            store.get_reply("k")


def test_a_missing_table_is_an_error_of_the_store(full: Path) -> None:
    connection = sqlite3.connect(full)
    connection.execute("DROP TABLE replies")
    connection.commit()
    connection.close()
    with Store.open(full) as store, pytest.raises(StoreError, match="no such table"):
        store.get_reply("k")


def test_a_file_that_another_process_writes_to_for_too_long_is_an_error(full: Path) -> None:
    writer = sqlite3.connect(full, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with Store.open(full, timeout=0.05) as store:
        assert store.get_reply("k") is not None  # reading goes on
        with pytest.raises(StoreError, match="another process") as error:
            store.put_reply("new", "{}", "{}", "{}")
        assert one_line(error, full)
        writer.execute("ROLLBACK")
        store.put_reply("new", "{}", "{}", "{}")
    writer.close()
