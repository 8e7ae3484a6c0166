"""Changing the residual stream while a model runs, and leaving no trace of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from introspect.errors import MeasureError
from introspect.internals.blocks import hidden_of, with_hidden
from introspect.internals.token_batch import At, TokenBatch

__all__ = ["Write", "Writer", "hooked"]

Mode = Literal["replace", "add", "scale"]


@dataclass(frozen=True)
class Write:
    """A change of the residual stream.

    It holds in a plain forward pass and in generation. At named positions it is written once, in the pass over the
    prompt, and what follows sees it through attention; at "all" it also holds at every token that is generated.

    Attributes:
        layers: After which blocks; -1 is before the first.
        value: What is written: [width], [texts, width], or for "scale" also a number; or a function of the stream
            there, [places, width], and of the texts' numbers, [places], that gives it.
        at: Where; see `At`.
        mode: "replace" the stream by the value, "add" the value to it, or "scale" it by the value.
    """

    layers: Sequence[int]
    value: torch.Tensor | float | Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    at: At = "last"
    mode: Mode = "replace"

    def __post_init__(self) -> None:
        if self.mode not in ("replace", "add", "scale"):
            raise MeasureError(f"mode must be replace, add or scale, got {self.mode!r}")
        if not isinstance(self.value, torch.Tensor) and not callable(self.value) and self.mode != "scale":
            raise MeasureError(f"a write in mode {self.mode!r} needs a tensor, got {self.value!r}")


class Writer:
    """One write at one layer: a forward hook.

    Args:
        write: What is written.
        batch: The texts it is written into.
    """

    def __init__(self, write: Write, batch: TokenBatch) -> None:
        self._write = write
        self._everywhere = isinstance(write.at, str) and write.at == "all"
        columns = batch.columns(write.at)
        self._width = batch.width
        self._rows = torch.tensor([row for row, at in enumerate(columns) for _ in at])
        self._columns = torch.tensor([column for at in columns for column in at])
        self._seen = 0

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """The stream with the write in it; out of place, so that gradients flow."""
        length = hidden.shape[1]
        # A pass as wide as the prompt starts anew; a narrower one goes on behind the keys and values of those before.
        first = 0 if length >= self._width else self._seen
        self._seen = first + length
        if self._everywhere and first >= self._width:
            return self._changed(hidden, torch.arange(hidden.shape[0]).repeat_interleave(length),
                                 torch.arange(length).repeat(hidden.shape[0]))  # fmt: skip
        if first == 0 and length >= self._width:
            return self._changed(hidden, self._rows, self._columns)
        here = (self._columns >= first) & (self._columns < first + length)
        if not bool(here.any()):
            return hidden
        return self._changed(hidden, self._rows[here], self._columns[here] - first)

    def _changed(self, hidden: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        rows, columns = rows.to(hidden.device), columns.to(hidden.device)
        value = self._write.value
        if isinstance(value, torch.Tensor):
            value = value.to(hidden.device, hidden.dtype)
            value = value[rows] if value.dim() == 2 else value
            if self._write.mode == "replace":  # what was there need not be looked at
                return hidden.index_put((rows, columns), value.expand(len(rows), hidden.shape[-1]))
        before = hidden[rows, columns]
        if callable(value):
            value = value(before, rows).to(hidden.dtype)
        match self._write.mode:
            case "replace":
                after = torch.as_tensor(value, dtype=hidden.dtype).expand_as(before)
            case "add":
                after = before + value
            case _:
                after = before * value
        return hidden.index_put((rows, columns), after)


@contextmanager
def hooked(changes: Sequence[tuple[nn.Module, str, Callable[[torch.Tensor], torch.Tensor]]]) -> Iterator[None]:
    """Put functions of the stream on modules, and take every one off again, whatever happens inside.

    Args:
        changes: Module, "in" or "out", and what to make of the stream that goes into it or comes out of it.
    """
    with ExitStack() as stack:
        for module, side, change in changes:
            hook = _before(change) if side == "in" else _after(change)
            register: Any = module.register_forward_pre_hook if side == "in" else module.register_forward_hook
            stack.callback(register(hook, with_kwargs=True).remove)
        yield


def _after(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        del module, args, kwargs
        hidden = hidden_of(output)
        changed = change(hidden)
        return None if changed is hidden else with_hidden(output, changed)

    return hook


def _before(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        del module
        if args:
            return (change(args[0]), *args[1:]), kwargs
        name = "hidden_states" if "hidden_states" in kwargs else next(iter(kwargs))
        return args, {**kwargs, name: change(kwargs[name])}

    return hook
