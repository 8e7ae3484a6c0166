"""Commands, run as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from introspect.cli import main

Outcome = tuple[int, str, list[str]]


@pytest.fixture
def introspect(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command in this process: exit code, standard output, lines of standard error."""

    def run(*words: str | Path) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err.splitlines()

    return run


@pytest.fixture
def process() -> Callable[..., subprocess.Popen[str]]:
    """Starts a command in a process of its own."""

    def start(*words: str | Path, **options) -> subprocess.Popen[str]:
        env = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
        command = [sys.executable, "-m", "introspect.cli", *map(str, words)]
        return subprocess.Popen(command, text=True, env=env, **{"stderr": subprocess.PIPE, **options})

    return start
