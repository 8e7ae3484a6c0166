"""A package that names an entry point brings a backend, and the library need not know of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent / "introspect-echo"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What installing the sample leaves on the path: its code, and its metadata in a dist-info folder."""
    project = tomllib.loads((SAMPLE / "pyproject.toml").read_text())["project"]
    target = tmp_path_factory.mktemp("site")
    shutil.copytree(SAMPLE / "src", target, dirs_exist_ok=True)
    info = target / f"introspect_echo-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [f"[{g}]\n" + "\n".join(f"{k} = {v}" for k, v in e.items()) for g, e in project["entry-points"].items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return target


def python(site: Path, code: str) -> str:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    return done.stdout + done.stderr


def test_an_installed_plug_in_is_opened_asked_and_put_through_the_suite(site: Path) -> None:
    printed = python(
        site,
        "from introspect import ModelRef, Message, Request, ask, open_model\n"
        "from introspect.backend import known_providers\n"
        "from introspect.testing import check_backend\n"
        "ref = ModelRef(provider='echo', model='letters')\n"
        "print('echo' in known_providers())\n"
        "print(ask(open_model(ref), [Request(messages=(Message(role='user', content='A or B'),))])[0].text)\n"
        "check_backend(lambda: open_model(ref), deterministic=True)\n"
        "print('kept')",
    )
    assert printed.split() == ["True", "B", "kept"], printed


def test_a_plug_in_that_breaks_on_loading_is_named(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(site, broken)
    (broken / "introspect_echo" / "__init__.py").write_text("raise ValueError('no licence')\n")
    printed = python(
        broken,
        "from introspect import ModelRef, open_model\n"
        "try:\n    open_model(ModelRef(provider='echo', model='m'))\n"
        "except Exception as error:\n    print(type(error).__name__, error)",
    )
    assert "BackendError" in printed
    assert "introspect_echo:PROVIDER" in printed
    assert "no licence" in printed
