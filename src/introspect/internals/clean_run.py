"""A run that is kept, so that runs with a patch in them begin at the patched block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from introspect.errors import MeasureError
from introspect.internals.target import Target
from introspect.internals.token_batch import At, TokenBatch
from introspect.internals.write import Write

__all__ = ["CleanRun"]


class CleanRun:
    """The streams of a batch at some layers, and runs that go on from there.

    What a patch after block 12 changes lies above it: the blocks below are not run again. The result equals that of a
    whole run with the patch in it (`introspect.internals.self_tests` holds the one against the other).

    Args:
        target: The model.
        batch: What it reads.
        layers: From which layers runs may start.

    Example:
        >>> from introspect.internals.tiny import tiny_target
        >>> target = tiny_target()
        >>> batch = target.encode(["one two", "three"])
        >>> write = Write((1,), torch.ones(target.width))
        >>> resumed = CleanRun(target, batch, [0, 1]).logits([write])
        >>> bool(torch.allclose(resumed, target.logits(batch, [write]), atol=1e-5))
        True
    """

    def __init__(self, target: Target, batch: TokenBatch, layers: Sequence[int]) -> None:
        self.target, self.batch = target, batch
        self._tuples: dict[int, bool] = {}
        hooks = ExitStack()
        with hooks:
            for layer in layers:
                hook = target.blocks[layer].register_forward_hook(self._noting(layer))
                hooks.callback(hook.remove)
            with target.reading(batch, layers) as streams:
                self._streams = streams

    def _noting(self, layer: int) -> Any:
        def note(module: Any, args: Any, output: Any) -> None:
            del module, args
            self._tuples[layer] = isinstance(output, tuple)

        return note

    def logits(self, writes: Sequence[Write], at: At = "last") -> torch.Tensor:
        """Logits at one position of each text with these writes in place, [texts, vocabulary].

        Raises:
            MeasureError: No stream was kept at or below the lowest layer that is written.
        """
        lowest = min(layer for write in writes for layer in write.layers)
        kept = [layer for layer in self._streams if layer <= lowest and layer >= 0]
        if not kept:
            raise MeasureError(f"no stream was kept at or below layer {lowest}; kept: {sorted(self._streams)}")
        with self._resumed(max(kept)):
            return self.target.logits(self.batch, writes, at)

    @contextmanager
    def _resumed(self, layer: int) -> Iterator[None]:
        blocks = self.target.blocks[: layer + 1]
        wrap = self._tuples.get(layer, False)

        def skip(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            return (hidden,) if wrap else hidden

        def arrive(*args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            return (self._streams[layer],) if wrap else self._streams[layer]

        try:
            for block in blocks:
                block.forward = skip
            blocks[-1].forward = arrive
            yield
        finally:
            for block in blocks:
                del block.forward  # the class's own is seen again
