from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from introspect.backend import (
    Cached,
    FunctionBackend,
    ModelRef,
    TrainingSpec,
    known_providers,
    open_model,
    register,
    registry,
    trainer_for,
)
from introspect.errors import BackendError


@pytest.fixture(autouse=True)
def _clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def opened(ref: ModelRef) -> FunctionBackend:
    return FunctionBackend(lambda request: "A", name=ref.model, version="1")


class NoTrainer:
    async def train(self, base, data, spec: TrainingSpec, jobs):
        return base


def test_a_registered_provider_opens_and_trains_its_references() -> None:
    register("mine", open=opened, trainer=NoTrainer)
    ref = ModelRef(provider="mine", model="m")
    assert open_model(ref).info.ref.model == "m"
    assert isinstance(trainer_for(ref), NoTrainer)


def test_a_cache_wraps_the_opened_model() -> None:
    class Shelf(dict):
        def put(self, key, request, reply, info):
            self[key] = reply

    register("mine", open=opened)
    ref = ModelRef(provider="mine", model="m")
    assert not isinstance(open_model(ref), Cached)
    assert isinstance(open_model(ref, cache=Shelf()), Cached)


def test_an_unknown_provider_is_answered_with_the_known_ones() -> None:
    register("mine", open=opened)
    for verb in (open_model, trainer_for):
        with pytest.raises(BackendError, match=r"'nowhere'.*mine.*organism.*simulated"):
            verb(ModelRef(provider="nowhere", model="m"))


def test_a_provider_without_a_trainer_says_so() -> None:
    register("mine", open=opened)
    with pytest.raises(BackendError, match="'mine' cannot be trained"):
        trainer_for(ModelRef(provider="mine", model="m"))


def test_a_nameless_provider_is_refused() -> None:
    with pytest.raises(BackendError, match="needs a name"):
        register("", open=opened)


def test_a_later_registration_replaces_an_earlier_one_and_a_built_in() -> None:
    register("simulated", open=lambda ref: opened(ref.model_copy(update={"model": "first"})))
    register("simulated", open=lambda ref: opened(ref.model_copy(update={"model": "second"})))
    assert open_model(ModelRef(provider="simulated", model="m")).info.ref.model == "second"


def test_a_built_in_that_cannot_be_loaded_is_an_error_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(registry._BUILT_IN, "gone", "introspect.no_such_module:PROVIDER")
    monkeypatch.setitem(registry._BUILT_IN, "hollow", "introspect.errors:PROVIDER")
    monkeypatch.setitem(registry._BUILT_IN, "odd", "introspect.errors:BackendError")
    for name, reason in (("gone", "no_such_module"), ("hollow", "PROVIDER"), ("odd", "not a Provider")):
        with pytest.raises(BackendError, match=reason):
            open_model(ModelRef(provider=name, model="m"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package installed beside us, found through its real metadata."""
    (tmp_path / "other_backends.py").write_text(
        "from introspect.backend import FunctionBackend, Provider\n"
        "def _open(ref):\n"
        "    return FunctionBackend(lambda request: 'B', name='plugged-' + ref.model, version='1')\n"
        "PROVIDER = Provider(open=_open)\n"
        "NOT_ONE = 7\n"
    )
    metadata = tmp_path / "other_backends-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-backends\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[introspect.backends]\n"
        "plugged = other_backends:PROVIDER\n"
        "simulated = other_backends:PROVIDER\n"
        "broken = other_backends:MISSING\n"
        "odd = other_backends:NOT_ONE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("installed")
def test_an_installed_package_brings_its_provider() -> None:
    assert "plugged" in known_providers()
    assert open_model(ModelRef(provider="plugged", model="m")).info.ref.model == "plugged-m"


@pytest.mark.usefixtures("installed")
def test_a_package_that_cannot_be_used_is_named() -> None:
    with pytest.raises(BackendError, match=r"'broken'.*other_backends:MISSING"):
        open_model(ModelRef(provider="broken", model="m"))
    with pytest.raises(BackendError, match=r"'odd'.*other_backends:NOT_ONE.*not a Provider"):
        open_model(ModelRef(provider="odd", model="m"))


@pytest.mark.usefixtures("installed")
def test_a_package_cannot_shadow_a_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._BUILT_IN, "simulated", "introspect.no_such_module:PROVIDER")
    with pytest.raises(BackendError, match="no_such_module"):
        open_model(ModelRef(provider="simulated", model="m"))


def test_importing_the_room_loads_no_heavy_library() -> None:
    code = (
        "import sys, introspect.backend, introspect.store\n"
        "heavy = {'torch', 'scipy', 'openai', 'transformers', 'pandas', 'matplotlib'}\n"
        "heavy |= {'httpx', 'anyio', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
