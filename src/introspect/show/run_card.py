"""What a page of results states about the run that it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from introspect.backend.wire import ModelRef, canonical
from introspect.errors import ConfigError, StoreError
from introspect.show.study_folder import study_file
from introspect.store import Store

__all__ = ["run_card"]

# Of all packages that a manifest has, those whose version a reader may need to get the same figures.
_TOLD = ("numpy", "scipy", "torch", "transformers", "peft", "trl")


def run_card(folder: Path | str, command: str | None = None) -> str:
    """A block of Markdown that says what was run: protocol and model with their hashes, seeds, versions, machine, date.

    All of it comes from the study's own manifest, so that a page of results cannot say what was not run.

    Args:
        folder: The folder of a study, a protocol's run, or a study of internals.
        command: The command that ran it, which no study file knows.

    Raises:
        StoreError: The folder holds no study, or one that was never run.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from introspect import OrganismStyle, SimulatedAgent, Study, StudyProtocol, organism_scenarios
        >>> small = StudyProtocol(name="small", n_instil=20, n_measure=20, n_reports=1)
        >>> with TemporaryDirectory() as out:
        ...     _ = Study(SimulatedAgent().ref, organism_scenarios(12), (), OrganismStyle(), small, out).run()
        ...     print(run_card(out, "python mine.py").splitlines()[2])
        command     python mine.py
    """
    folder = Path(folder).expanduser()
    with Store.open(study_file(folder), create=False) as store:
        manifest = dict(store.manifest)
        times = [moment for stage in store.stages() for moment in (stage.began, stage.ended) if moment is not None]
    try:
        what, with_what = list(_what(manifest)), list(_with_what(manifest))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise StoreError(f"the manifest in {folder / 'study.db'} is of another version: {error!r}") from None
    if not times or not what:
        raise StoreError(f"{folder} holds a study that was never run, so there is nothing to say about its run")
    days = sorted({f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}" for moment in (min(times), max(times))})
    typed = [("command", " ".join(command.split()))] if command else []
    lines = [*typed, *what, *with_what, ("date", " to ".join(days))]
    said = "\n".join(f"{name:<11} {value}" for name, value in lines)
    return f"<!-- manifest -->\n```text\n{said}\n```\n"


def _what(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was run on which model with which seeds, as the three kinds of studies write it down."""
    for name, run in (manifest.get("protocols") or {}).items():
        yield "protocol", f"{name}, {_cut(run['hash'])}"
        yield "model", _model(run["identity"], manifest.get("weights") or {})
    if "study" in manifest:
        protocol = manifest["study"]["protocol"]
        yield "protocol", f"{protocol['name']}, {_hash(protocol)}"
        yield "model", _model(manifest["study"]["model"], manifest.get("weights") or {})
    if "internals" in manifest:
        settings = manifest["internals"]
        yield "settings", f"{settings['task']}, {_hash(settings)}"
        models = manifest.get("models") or {}
        for name in ("model", "explainer"):
            if name in models:
                yield name, _model(models[name], manifest.get("weights") or {})
        if not models:
            yield "model", str(settings["model"])
    seeds: Sequence[int] = (manifest.get("recipe") or {}).get("seeds") or ()
    if not seeds and "internals" in manifest:
        seeds = (manifest["internals"]["seed"],)
    if seeds:
        yield "seeds", ", ".join(map(str, seeds))


def _with_what(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    runs = list(manifest.get("surroundings") or ())
    if not runs and "versions" in manifest:
        told = manifest["versions"]
        runs = [{"introspect": told.get("introspect"), "python": told.get("python"), "packages": told}]
    # A study that went on under other versions was made by all of them.
    for key, name in (("introspect", "introspect"), ("python", "python")):
        if found := list(dict.fromkeys(str(run[key]) for run in runs if run.get(key))):
            yield name, ", ".join(found)
    packages: dict[str, None] = {}
    for run in runs:
        packages |= dict.fromkeys(f"{name} {run['packages'][name]}" for name in _TOLD if run["packages"].get(name))
    if packages:
        yield "packages", ", ".join(packages)
    # The release of the system's kernel would say more about the machine's owner than about the figures.
    if machines := list(dict.fromkeys(f"{r['platform'].split()[0]} {r['machine']}" for r in runs if r.get("machine"))):
        yield "machine", ", ".join(machines)


def _model(identity: Mapping[str, Any], folders: Mapping[str, Any]) -> str:
    try:
        ref = ModelRef.model_validate(identity)
    except ConfigError:
        return "of another version of introspect"
    # What lies in a folder has no version; a study notes the hash of its weights instead.
    found = ref.revision or folders.get(ref.key, {}).get("hash")
    return f"{ref}, {_cut(found)}" if found else f"{ref}, no revision named"


def _hash(content: object) -> str:
    return _cut("sha256:" + hashlib.sha256(canonical(content).encode()).hexdigest())


def _cut(text: str) -> str:
    kind, _, digits = text.rpartition(":")
    return f"{kind}:{digits[:12]}" if kind else digits
