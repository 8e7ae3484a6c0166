from __future__ import annotations

import os
import signal
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.errors import StoreError
from introspect.store import SCHEMA_VERSION, Store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


@pytest.fixture
def store(path: Path):
    with Store.open(path) as store:
        yield store


def row(key: str, reply: str = '{"status":"completed"}') -> tuple[str, str, str, str]:
    return key, '{"messages":[]}', reply, '{"ref":{}}'


# --- steps -------------------------------------------------------------------------------------------------


def test_a_step_runs_once_ever(path: Path) -> None:
    runs: list[int] = []

    def compute() -> dict:
        runs.append(1)
        return {"n": 3, "list": (1, 2.5, None)}

    for _ in range(2):
        with Store.open(path) as store:
            assert store.step("count", {"x": 1}, 1, compute) == {"n": 3, "list": [1, 2.5, None]}
            assert store.step("count", {"x": 1}, 1, compute) == {"n": 3, "list": [1, 2.5, None]}
    assert runs == [1]


@pytest.mark.parametrize(
    ("name", "inputs", "version"), [("other", {"x": 1}, 1), ("count", {"x": 2}, 1), ("count", {"x": 1}, 2)]
)
def test_another_name_input_or_version_is_another_step(store: Store, name: str, inputs: dict, version: int) -> None:
    store.step("count", {"x": 1}, 1, lambda: "first")
    assert store.step(name, inputs, version, lambda: "second") == "second"


def test_the_order_of_keys_in_the_inputs_does_not_matter(store: Store) -> None:
    store.step("s", {"a": 1, "b": 2}, 1, lambda: "first")
    assert store.step("s", {"b": 2, "a": 1}, 1, lambda: "second") == "first"


def test_a_step_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        store.step("s", {}, 1, lambda: 1 / 0)
    assert store.steps() == ()
    assert store.step("s", {}, 1, lambda: "now") == "now"


def test_a_step_may_use_the_store_and_other_steps(store: Store) -> None:
    def outer() -> int:
        store.put_table("t", {"x": np.arange(3)})
        return store.step("inner", {}, 1, lambda: 20) + 1

    assert store.step("outer", {}, 1, outer) == 21
    assert [step.name for step in store.steps()] == ["inner", "outer"]


def test_steps_are_listed_as_they_were_given(store: Store) -> None:
    store.step("s", {"x": [1]}, 4, lambda: "r")
    (step,) = store.steps()
    assert (step.name, step.inputs, step.version, step.result) == ("s", {"x": [1]}, 4, "r")
    assert step.seconds >= 0
    assert step.created > 1.7e9


@given(JSON, JSON)
@settings(max_examples=25, deadline=None)
def test_any_json_goes_in_and_comes_out(tmp_path_factory: pytest.TempPathFactory, inputs, result) -> None:
    with Store.open(tmp_path_factory.mktemp("s") / "study.db") as store:
        assert store.step("s", inputs, 1, lambda: result) == result
        assert store.step("s", inputs, 1, lambda: "again") == result
        (step,) = store.steps()
        assert (step.inputs, step.result) == (inputs, result)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"x": np.arange(2)}, {1, 2}])
def test_what_is_not_json_is_refused_before_and_after(store: Store, value: object) -> None:
    with pytest.raises(StoreError, match="inputs of step 's' must be plain JSON"):
        store.step("s", value, 1, lambda: pytest.fail("was computed"))
    with pytest.raises(StoreError, match="result of step 's' must be plain JSON"):
        store.step("s", {}, 1, lambda: value)
    assert store.steps() == ()


@pytest.mark.parametrize(("name", "version"), [("", 1), (None, 1), ("s", "1"), ("s", True), ("s", 1.0)])
def test_a_step_without_a_name_or_an_int_version_is_refused(store: Store, name, version) -> None:
    with pytest.raises(StoreError):
        store.step(name, {}, version, lambda: 1)


def test_two_threads_with_the_same_step_see_one_result(store: Store) -> None:
    both_compute = threading.Barrier(2)
    seen: list[int] = []

    def run(number: int) -> None:
        def compute() -> int:
            both_compute.wait(10)
            return number

        seen.append(store.step("race", {}, 1, compute))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert len(store.steps()) == 1


# --- replies -----------------------------------------------------------------------------------------------


def test_replies_come_back_as_text(path: Path) -> None:
    with Store.open(path) as store:
        store.put_reply(*row("k1", '{"text":"é\U0001f600"}'))
        store.put_replies([row("k2"), row("k3")])
    with Store.open(path) as store:
        assert store.get_reply("k1") == '{"text":"é\U0001f600"}'
        assert store.get_reply("nowhere") is None
        assert [tuple(r) for r in store.replies()] == [
            row("k1", '{"text":"é\U0001f600"}'),
            row("k2"),
            row("k3"),
        ]
        assert store.n_replies() == 3


def test_the_first_reply_under_a_key_stays(store: Store) -> None:
    store.put_reply(*row("k", '"first"'))
    store.put_reply(*row("k", '"second"'))
    store.put_replies([row("k", '"third"'), row("l", '"new"')])
    assert store.get_reply("k") == '"first"'
    assert store.get_reply("l") == '"new"'


def test_many_replies_are_all_kept_or_none(store: Store) -> None:
    store._db._open.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)
    with pytest.raises(StoreError):
        store.put_replies([row("k1"), row("k2", "x" * 100_000), row("k3")])
    assert list(store.replies()) == []
    store.put_replies([row("k1")])  # nor is the model believed to be there that was rolled back with them
    assert [r.key for r in store.replies()] == ["k1"]


def test_all_replies_are_walked_over_in_pages(store: Store) -> None:
    store.put_replies(row(f"k{i}", str(i)) for i in range(2500))
    assert [r.reply for r in store.replies()] == [str(i) for i in range(2500)]


def test_a_model_is_described_once(path: Path) -> None:
    long = '{"settings":"' + "x" * 100_000 + '"}'
    with Store.open(path) as store:
        for i in range(50):
            store.put_reply(f"k{i}", "{}", "{}", long)
        assert {r.model for r in store.replies()} == {long}
    assert path.stat().st_size < 400_000


def test_threads_share_a_store(store: Store) -> None:
    def work(number: int) -> None:
        for i in range(50):
            store.put_reply(*row(f"{number}-{i}"))
            assert store.get_reply(f"{number}-{i}") is not None

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert store.n_replies() == 200


def test_two_connections_see_each_others_replies(path: Path) -> None:
    with Store.open(path) as one, Store.open(path) as other:
        one.put_reply(*row("a"))
        other.put_reply(*row("b"))
        assert one.get_reply("b") == other.get_reply("a") == row("a")[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_goes_on_without_harming_its_parent(store: Store) -> None:
    store.put_reply(*row("before"))
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            store.put_reply(*row("child"))
            fine = store.get_reply("before") is not None
            store.close()
        except BaseException:
            fine = False
        os._exit(0 if fine else 1)
    store.put_reply(*row("parent"))
    assert os.waitpid(child, 0)[1] == 0
    assert {r.key for r in store.replies()} == {"before", "child", "parent"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_while_another_thread_is_writing_does_not_hang_the_child(store: Store) -> None:
    holding, let_go = threading.Event(), threading.Event()

    def write() -> None:
        with store._db.transaction():
            holding.set()
            let_go.wait(20)

    writer = threading.Thread(target=write)
    writer.start()
    holding.wait(20)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if store.get_reply("k") is None else 1)
    status = os.waitpid(child, 0)[1]
    let_go.set()
    writer.join(20)
    assert status == 0


# --- tables, blobs, manifest -------------------------------------------------------------------------------


def test_a_table_comes_back_with_its_columns_and_their_order(path: Path) -> None:
    columns = {"z": np.arange(3, dtype=np.int8), "a": np.array([[0.5, np.nan]]), "text": np.array(["é", ""])}
    with Store.open(path) as store:
        store.put_table("t", columns)
    with Store.open(path) as store:
        found = store.get_table("t")
        assert store.table_keys() == ("t",)
        assert store.get_table("nowhere") is None
    assert list(found) == ["z", "a", "text"]
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_a_table_is_replaced_as_a_whole(store: Store) -> None:
    store.put_table("t", {"a": [1], "b": [2]})
    store.put_table("t", {"c": [3]})
    assert list(store.get_table("t")) == ["c"]


def test_a_blob_is_found_by_its_content(store: Store) -> None:
    address = store.put_blob(b"weights")
    assert address == store.put_blob(b"weights") != store.put_blob(b"other")
    assert address.startswith("sha256:")
    assert store.get_blob(address) == b"weights"
    assert store.get_blob(store.put_blob(b"")) == b""
    with pytest.raises(StoreError, match="no blob"):
        store.get_blob("sha256:0")


def test_what_is_too_large_for_one_entry_is_refused_by_name(store: Store) -> None:
    store._db._open.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)
    with pytest.raises(StoreError, match=r"table 'big' has .* bytes"):
        store.put_table("big", {"x": np.zeros(100_000, np.int8)})
    with pytest.raises(StoreError, match="split it"):
        store.put_blob(bytes(100_000))
    with pytest.raises(StoreError, match="split it"):
        store.put_reply(*row("k", "x" * 100_000))
    assert (store.table_keys(), store.n_replies()) == ((), 0)


def test_the_manifest_is_a_durable_mapping(path: Path) -> None:
    with Store.open(path) as store:
        store.manifest["seed"] = 7
        store.manifest["config"] = {"b": [1, None]}
        store.manifest["seed"] = 8
    with Store.open(path) as store:
        assert dict(store.manifest) == {"config": {"b": [1, None]}, "seed": 8}
        assert store.manifest.get("nowhere", 1) == 1
        del store.manifest["seed"]
        assert list(store.manifest) == ["config"]
        for verb in (store.manifest.__getitem__, store.manifest.__delitem__):
            with pytest.raises(KeyError):
                verb("seed")
        with pytest.raises(StoreError, match="plain JSON"):
            store.manifest["x"] = float("nan")
        with pytest.raises(StoreError, match="non-empty text"):
            store.manifest[""] = 1


# --- opening and closing -----------------------------------------------------------------------------------


def test_missing_folders_are_made(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a" / "b" / "study.db") as store:
        assert store.path.exists()


def test_a_closed_store_is_one_file_and_says_that_it_is_closed(path: Path) -> None:
    store = Store.open(path)
    store.put_reply(*row("k"))
    store.close()
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["study.db"]
    with pytest.raises(StoreError, match="was closed"):
        store.get_reply("k")


def test_a_missing_file_is_only_made_where_that_is_wanted(path: Path) -> None:
    with pytest.raises(StoreError, match="no study file"):
        Store.open(path, create=False)
    assert not path.exists()
    Store.open(path).close()
    Store.open(path, create=False).close()


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with Store.open(path) as store:
        assert store.n_replies() == 0


def test_the_schema_version_is_in_the_file(path: Path) -> None:
    Store.open(path).close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()
