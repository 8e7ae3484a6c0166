"""Tidy files of any content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tidy_rows import Row, write_rows


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows, or text or bytes as they are, to a file of that name."""

    def write(name: str, content: list[Row] | str | bytes, **options: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8", newline="")
        else:
            write_rows(path, content, **options)
        return path

    return write
