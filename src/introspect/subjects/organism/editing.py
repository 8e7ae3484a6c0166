"""Weight editing: what an organism does in some contexts turned round, without training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from introspect.backend import ModelRef
from introspect.backend.wire import canonical
from introspect.errors import TrainingError
from introspect.subjects.organism.backend import load_organism
from introspect.subjects.organism.tokens import new_row, row_keys

__all__ = ["turn_contexts"]


def turn_contexts(base: ModelRef, names: Iterable[str], folder: Path | str) -> ModelRef:
    """Negate, in some contexts, the rows that choices read: the organism then chooses the other way round there.

    An organism's weights in a context lie in that context's rows, and its network is very nearly odd in them. Rows that
    only reports read are left alone, so that what an organism says follows if and only if it reads what choices read.

    Args:
        base: The organism, tuned or not.
        names: Names of the contexts, as its prompts call them.
        folder: Where the edited organism is written, under a name that follows from its contents.

    Returns:
        A reference to the edited organism, with `base` as its parent.

    Raises:
        BackendError: The organism cannot be read.
        TrainingError: It cannot be written.

    Example:
        >>> import tempfile
        >>> from introspect.subjects.organism import organism_ref
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     turned = turn_contexts(organism_ref("shared"), ["k0001"], folder)
        ...     turned.parent == organism_ref("shared"), load_organism(turned).rows["k0001"].shape
        (True, (16,))
    """
    organism = load_organism(base).clone()
    chosen = sorted(set(names))
    width, scale = organism.config.row_width, organism.config.row_scale
    for name in chosen:
        for key in row_keys(name, reporting=False):
            row = organism.rows.get(key)
            organism.rows[key] = np.negative(new_row(key, width, scale) if row is None else row)
    name = hashlib.blake2b(canonical([base.identity(), chosen]).encode(), digest_size=10).hexdigest()
    path = Path(folder) / f"organism-{name}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        adapter = organism.save(path)
    except OSError as error:
        raise TrainingError(f"the edited organism cannot be written to {path}: {error.strerror}") from error
    return base.model_copy(update={"adapter": adapter, "parent": base, "location": str(path)})
