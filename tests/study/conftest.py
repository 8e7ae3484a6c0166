"""Small complete studies, made and finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_studies import small_study

from introspect.study import Study


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study that has run; copy it to change it."""
    folder = tmp_path_factory.mktemp("finished")
    small_study(folder).run()
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., Study]:
    """Makes a small study in a folder of its own (`at` for another)."""
    return lambda at="study", **changes: small_study(tmp_path / at, **changes)
