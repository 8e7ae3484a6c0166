"""What a study of internals was run on and with, for its manifest and beside its figures."""

from __future__ import annotations

from typing import Any

from introspect.backend.wire import ModelRef
from introspect.internals.config import InternalsConfig
from introspect.store import Store
from introspect.study.surroundings import surroundings
from introspect.study.weights_seen import check_weights

__all__ = ["note_made_with"]

_TOLD = ("torch", "transformers", "peft", "numpy")


def note_made_with(
    store: Store, config: InternalsConfig, model: ModelRef, explainer: ModelRef | None = None
) -> dict[str, str]:
    """Write settings, models with their hashes, versions and machine into the manifest, as preference studies do.

    Args:
        store: The study's file.
        config: All settings.
        model: The target, with the hash of its weights where it is known.
        explainer: The model that explains, where it is another.

    Returns:
        The same in a few words, to be shown beside figures.

    Raises:
        StoreError: A folder's weights are no longer those that the study was begun with.

    Example:
        >>> import tempfile
        >>> one = ModelRef(provider="organism", model="shared")
        >>> with Store.open(f"{tempfile.mkdtemp()}/study.db") as store:
        ...     note_made_with(store, InternalsConfig(task="planted"), one)["model"]
        'organism/shared, no hash'
    """
    models = {"model": model} | ({} if explainer is None else {"explainer": explainer})
    for ref in models.values():
        check_weights(store, ref)
    now, runs = surroundings(), store.manifest.get("surroundings", [])
    if now not in runs:
        store.manifest["surroundings"] = [*runs, now]
    store.manifest["internals"] = config.model_dump(mode="json")
    store.manifest["models"] = {name: ref.identity() for name, ref in models.items()}
    folders = store.manifest.get("weights", {})
    made = {name: f"{ref}, {_hash(ref, folders)}" for name, ref in models.items()}
    packages = now["packages"]
    assert isinstance(packages, dict)
    with_ = [f"introspect {now['introspect']}", str(now["python"])]
    with_ += [f"{name} {packages[name]}" for name in _TOLD if name in packages]
    # The release of the system's kernel would say more about the machine's owner than about the figures.
    return {**made, "versions": ", ".join(with_), "machine": f"{str(now['platform']).split()[0]} {now['machine']}"}


def _hash(ref: ModelRef, folders: dict[str, Any]) -> str:
    found = ref.revision or folders.get(ref.key, {}).get("hash")
    kind, _, digits = (found or "no hash").rpartition(":")
    return f"{kind}:{digits[:12]}" if kind else digits
