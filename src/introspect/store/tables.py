"""Columns of numbers and text as bytes and back, without pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from introspect.errors import StoreError

__all__ = ["pack_columns", "unpack_columns"]


def pack_columns(columns: Mapping[str, npt.ArrayLike]) -> bytes:
    """Columns as the bytes of an ``.npz`` file, in their order. `numpy.load` reads it too.

    Raises:
        StoreError: A column holds Python objects, or has a name that is not plain text.

    Example:
        >>> packed = pack_columns({"x": np.arange(3), "word": np.array(["a", "bc", ""])})
        >>> [column.tolist() for column in unpack_columns(packed).values()]
        [[0, 1, 2], ['a', 'bc', '']]
    """
    out = io.BytesIO()
    # Not numpy.savez: its keyword arguments cannot be called "file", and it stamps the time of day into the
    # bytes.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, values in columns.items():
            if not isinstance(name, str) or not name or "\0" in name:
                raise StoreError(f"a column's name must be non-empty text without NUL, got {name!r}")
            array = np.asanyarray(values)
            if array.dtype.hasobject:
                raise StoreError(
                    f"column {name!r} holds Python objects (dtype {array.dtype}), which only pickle could "
                    f"write; make it numbers, bool or fixed-width text first"
                )
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return out.getvalue()


def unpack_columns(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The columns of `pack_columns`.

    Raises:
        StoreError: The bytes are not such a file.
    """
    columns = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    columns[entry.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        raise StoreError(f"the bytes of a table cannot be read: {error}") from error
    return columns
