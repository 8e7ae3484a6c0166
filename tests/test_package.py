"""What is true of the package as a whole."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import introspect

HEAVY = ("torch", "openai", "pandas", "scipy", "matplotlib", "transformers", "httpx", "numpy", "safetensors")


def fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_takes_no_more_than_three_tenths_of_a_second() -> None:
    # Measured inside, without the interpreter's own start; in processor time, since others use this machine too.
    code = "import time; t = time.process_time(); import introspect; print(time.process_time() - t)"
    assert min(float(fresh(code)) for _ in range(5)) <= 0.3


def test_import_loads_nothing_heavy() -> None:
    loaded = set(fresh("import sys, introspect; print(*sys.modules)").split())
    assert loaded & set(HEAVY) == set()


def test_names_that_need_no_torch_do_not_load_it() -> None:
    names = (
        "ModelRef, TrialGenerator, Study, AccuracyMetric, SimulatedAgent, Store, FineTuner, plot_reports, chat_study"
    )
    loaded = set(fresh(f"import sys; from introspect import {names}; print(*sys.modules)").split())
    assert loaded & {"torch", "openai", "pandas", "matplotlib", "transformers"} == set()


CORE_ONLY = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name.partition(".")[0])

sys.meta_path.insert(0, Missing())
from introspect import *
import introspect
assert set(introspect.__all__) <= set(globals()), set(introspect.__all__) - set(globals())
for call in (native_scenarios, lambda: open_model(organism_ref()), lambda: grow_organism(None)):
    try:
        call()
    except MissingExtraError as error:
        print(error)
print(open_model(SimulatedAgent().ref).info.ref)
"""
"""The library where no extra is installed, as it is after a plain `pip install`."""


def test_everything_can_be_imported_without_any_extra_and_calls_say_which_one_they_need() -> None:
    missing = {*HEAVY, "hypothesis", "pytest", "starlette", "uvicorn"} - {"openai", "scipy", "httpx", "numpy"}
    *told, last = fresh(CORE_ONLY.format(missing=sorted(missing))).splitlines()
    assert len(told) == 3
    assert all(line.endswith("pip install 'introspect-lm[organism]'") for line in told)
    assert last == "simulated/agent"


def test_importing_everything_loads_no_torch_where_there_is_one() -> None:
    loaded = set(fresh("import sys; from introspect import *; print(*sys.modules)").split())
    assert loaded & {"torch", "pandas", "matplotlib", "transformers"} == set()


@pytest.mark.parametrize("name", introspect.__all__)
def test_every_public_name_loads_and_says_what_it_is(name: str) -> None:
    thing = getattr(introspect, name)
    assert thing.__doc__
    assert thing.__doc__.strip()


def test_the_stub_lists_every_public_name_once_and_nothing_else() -> None:
    stub = (Path(introspect.__file__).with_suffix(".pyi")).read_text(encoding="utf-8")
    code = [line for line in stub.splitlines() if line and not line.startswith('"""')]
    names = []
    for line in code:
        found = re.fullmatch(r"from (introspect\.\w+) import (\w+) as \2", line)
        assert found, line
        names.append(found[2])
        assert hasattr(importlib.import_module(found[1]), found[2])
    assert len(set(names)) == len(names)
    assert set(names) == set(introspect.__all__)
    assert set(introspect.__all__) <= set(dir(introspect))


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Studdy"):
        introspect.Studdy  # noqa: B018
    with pytest.raises(ImportError, match="Studdy"):
        from introspect import Studdy  # noqa: F401


def test_a_loaded_name_is_found_at_once_afterwards() -> None:
    assert introspect.Study is introspect.Study
    assert "Study" in vars(introspect)


def test_types_and_data_are_shipped() -> None:
    root = files("introspect")
    assert (root / "py.typed").is_file()
    assert (root / "__init__.pyi").is_file()
    assert (root / "decision" / "data" / "catalogue.yaml").is_file()


def test_no_error_of_ours_lacks_the_root() -> None:
    names = [name for name in introspect.__all__ if name.endswith("Error")]
    assert len(names) >= 8
    assert all(issubclass(getattr(introspect, name), introspect.IntrospectError) for name in names)


def test_packages_can_be_imported_in_any_order() -> None:
    """A cycle of imports would show in one of these only."""
    rooms = ["backend", "decision", "measure", "show", "store", "subjects", "training"]
    for room in rooms:
        fresh(f"import introspect.{room}")


def test_modules_stay_readable() -> None:
    """About 150 lines, never over 400 of them."""
    source = Path(introspect.__file__).parent
    long = {str(p.relative_to(source)): n for p in source.rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long
