from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from introspect.errors import StoreError
from introspect.store.tables import pack_columns, unpack_columns

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
DTYPES = st.one_of(
    hnp.integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.boolean_dtypes(),
    hnp.unicode_string_dtypes(max_len=5),
    hnp.datetime64_dtypes(),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


@given(st.dictionaries(NAMES, ARRAYS, max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_columns_come_back_bit_for_bit(columns: dict) -> None:
    found = unpack_columns(pack_columns(columns))
    assert list(found) == list(columns)
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        assert found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes()


@pytest.mark.parametrize("name", ["file", "self", "a/b", "../up", "x.npy", "a b", "é", "allow_pickle", "\\", "/"])
def test_no_name_is_special(name: str) -> None:
    assert list(unpack_columns(pack_columns({name: [1]}))) == [name]


def test_equal_columns_are_equal_bytes_at_any_time_of_day() -> None:
    assert pack_columns({"x": [1, 2]}) == pack_columns({"x": [1, 2]})


def test_numpy_reads_it_too() -> None:
    with np.load(io.BytesIO(pack_columns({"x": np.arange(3)})), allow_pickle=False) as loaded:
        assert loaded["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("values", [np.array([object()]), [None, 1], np.array(["a", 1], dtype=object)])
def test_python_objects_are_refused_and_never_pickled(values: object) -> None:
    with pytest.raises(StoreError, match=r"'x' holds Python objects"):
        pack_columns({"x": values})


@pytest.mark.parametrize("name", ["", "a\0b", 7])
def test_a_name_that_is_no_plain_text_is_refused(name: object) -> None:
    with pytest.raises(StoreError, match="name"):
        pack_columns({name: [1]})


def test_a_pickle_inside_is_not_opened() -> None:
    out = io.BytesIO()
    np.savez(out, x=np.array([{"would": "run code"}], dtype=object))
    with pytest.raises(StoreError, match="cannot be read"):
        unpack_columns(out.getvalue())


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip file" * 10, pack_columns({"x": [1, 2]})[:-30]])
def test_bytes_that_are_no_table_are_an_error_of_the_store(data: bytes) -> None:
    with pytest.raises(StoreError):
        unpack_columns(data)
