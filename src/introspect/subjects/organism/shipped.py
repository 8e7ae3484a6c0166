"""The organisms that come with the library."""

from __future__ import annotations

import hashlib
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from introspect.backend import ModelRef
from introspect.errors import BackendError

if TYPE_CHECKING:
    from introspect.subjects.organism.state import Organism

__all__ = ["CONTROLS", "SHIPPED", "load_base", "organism_ref"]

SHIPPED = ("shared", "weak", "split")
CONTROLS = {
    "shared": (
        "This organism is a positive control: one vocabulary row per context serves choosing and reporting, so reports "
        "can follow what choices instil. It shows that the method sees self-knowledge that is there, and nothing about "
        "language models."
    ),
    "weak": (
        "This organism is a weak positive control: choosing and reporting share a row, but it was hardly ever taught "
        "to report. It shows what a small effect looks like, and nothing about language models."
    ),
    "split": (
        "This organism is a negative control: choosing and reporting read different vocabulary rows, so reports on "
        "contexts that were not report-trained cannot follow what choices instil. It shows that the method does not "
        "see self-knowledge that is not there."
    ),
}
"""What is known about each shipped organism, by construction."""
_DATA = files("introspect.subjects.organism") / "data"


def organism_ref(model: str = "shared") -> ModelRef:
    """A reference to an organism: one of the shipped names, or a file that ``Organism.save`` wrote.

    The revision is the hash of the weights, so that a regrown organism is never taken for the old one.

    Raises:
        BackendError: No organism of that name and no such file.

    Example:
        >>> organism_ref("shared").provider
        'organism'
    """
    return ModelRef(provider="organism", model=model, revision=_hash_of(model))


def _hash_of(model: str) -> str:
    return "sha256:" + hashlib.sha256(_bytes_of(model)).hexdigest()


def _bytes_of(model: str) -> bytes:
    if model in SHIPPED:
        return (_DATA / f"{model}.safetensors").read_bytes()
    path = Path(model).expanduser()
    if path.is_file():
        return path.read_bytes()
    raise BackendError(
        f"unknown organism {model!r}: it is none of {', '.join(SHIPPED)}, and no file of that name exists"
    )


def load_base(ref: ModelRef) -> Organism:
    """The untuned organism that a reference is built on.

    Raises:
        BackendError: Unknown, unreadable, or no longer the revision that the reference names.
        MissingExtraError: The extra ``organism`` is not installed; a reference can be made without it.
    """
    from introspect.subjects.organism import Organism

    found = _hash_of(ref.model)
    if ref.revision is not None and found != ref.revision:
        raise BackendError(
            f"organism {ref.model!r} has changed: the reference asks for {ref.revision[:19]}, this is {found[:19]}. "
            "Use the version of introspect that the study was started with, or start a new study"
        )
    if ref.model in SHIPPED:
        with as_file(_DATA / f"{ref.model}.safetensors") as path:
            return Organism.load(path)
    return Organism.load(Path(ref.model).expanduser())
