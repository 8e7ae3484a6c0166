"""One thread for organisms: their matrices are too small to share out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from introspect.errors import MissingExtraError

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread inside the block.

    Sums come out the same whatever the number of cores, and threads that wait for each other in a spin, on a machine
    that is busy with something else, cannot make a step ten times slower.

    Raises:
        MissingExtraError: The extra ``organism`` is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtraError("torch", "organism") from None
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
