"""The network that is looked into: any decoder, frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from introspect.backend.local.forward import call
from introspect.backend.local.packs import plan_padded
from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, MeasureError
from introspect.internals.blocks import find_blocks, find_embedding, weights_hash
from introspect.internals.token_batch import At, TokenBatch, roles_of
from introspect.internals.write import Write, Writer, hooked

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Target"]


class _EnoughError(Exception):
    """What was wanted has been read; the blocks above need not run."""


class Target:
    """A decoder to read from and write into, by plain forward hooks.

    Layers are counted from 0; "layer 3" is the residual stream after block 3, and layer -1 the stream before the first
    block. Positions are counted without padding (see `At`).

    Args:
        model: Any decoder of which the blocks lie in one list. It is put into evaluation mode and frozen.
        tokenizer: A Hugging Face tokenizer; not needed where tokens are handed in.
        ref: What the model is, for provenance.

    Example:
        >>> from introspect.internals.tiny import tiny_target
        >>> target = tiny_target("llama")
        >>> acts = target.read(["one two", "three"], layers=[0, 1], at="last")
        >>> acts.shape == (2, 2, target.width)
        True
    """

    def __init__(self, model: nn.Module, tokenizer: Any = None, ref: ModelRef | None = None) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.ref = ref
        self.blocks = find_blocks(model)
        self.embedding = find_embedding(model)
        first = next(model.parameters())
        self.device, self.dtype = first.device, first.dtype

    @classmethod
    def open(cls, model: ModelRef | str, *, device: str | None = None, dtype: str | None = None) -> Target:
        """Load a model: a packaged one, a folder, a hub id, a reference to a tuned one, or an organism.

        Raises:
            BackendError: It cannot be loaded, or its weights cannot be looked into.
        """
        from introspect.backend.local.adapters import AdapterSeat
        from introspect.backend.local.bases import (
            asked_dtype,
            load_model,
            load_tokenizer,
            pick_device,
            pick_dtype,
            weights_of,
        )
        from introspect.backend.models import ref_of

        ref = ref_of(model) if isinstance(model, str) and not model.startswith("organism") else model
        if isinstance(ref, str) or ref.provider == "organism":
            from introspect.internals.organism_target import OrganismTarget

            return OrganismTarget.open(ref)
        if ref.provider != "transformers":
            raise BackendError(f"{ref} has no weights on this machine to look into; open an open-weight model")
        weights = weights_of(ref)
        where = torch.device(device) if device else pick_device()
        # A network of its own: on one that is asked elsewhere, adapters come and go.
        network = load_model(weights, where, pick_dtype(where, dtype or asked_dtype(ref)))
        if weights.adapter is not None:
            network = AdapterSeat(network, merge=network.dtype == torch.float32).wear(weights.adapter, weights.digest)
        return cls(network, load_tokenizer(weights), ref)

    @property
    def n_layers(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def middle(self) -> int:
        """The layer at two fifths of the depth, where what a word means is at hand."""
        return (2 * self.n_layers) // 5

    @property
    def width(self) -> int:
        """Numbers in a vector of the residual stream."""
        config = getattr(self.model, "config", None)
        if config is not None:
            return int(config.get_text_config().hidden_size)
        raise MeasureError("the model does not say how wide it is")

    @cached_property
    def identity(self) -> ModelRef:
        """What the model is, for provenance: its reference, with the hash of its weights where that names no version.

        A model without a reference is known by its class and that hash: `sha256:` over the name, the type, the shape
        and the bytes of each parameter and buffer, as loaded.
        """
        if self.ref is not None and self.ref.revision is not None:
            return self.ref
        ref = self.ref or ModelRef(provider="memory", model=type(self.model).__name__)
        return ref.model_copy(update={"revision": weights_hash(self.model)})

    @property
    def provenance(self) -> dict[str, Any]:
        """What a row that was made from this model says of it: its key, its name and the hash of its weights."""
        known = self.identity
        return {"model": known.key, "name": str(known), "weights": known.revision}

    def __repr__(self) -> str:
        return f"Target({self.ref or type(self.model).__name__}: {self.n_layers} layers, width {self.width})"

    def encode(
        self,
        texts: Sequence[str | Sequence[int]],
        spans: Sequence[Mapping[str, tuple[int, int]]] | None = None,
        *,
        left: bool = False,
    ) -> TokenBatch:
        """Tokenise texts, or pad token ids.

        Args:
            texts: Texts, or their token ids.
            spans: Named parts of each text, as (first character, character after the last): its roles.
            left: Pad on the left, as generation needs it.

        Raises:
            MeasureError: There is nothing to encode, or a named part has no token.
        """
        rows: list[list[int]] = []
        roles: list[dict[str, tuple[int, ...]]] = []
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                rows.append(list(text))
                roles.append({})
                continue
            ids, offsets = self._tokenise(text)
            rows.append(ids)
            roles.append(roles_of(offsets, spans[i]) if spans is not None else {})
            empty = [name for name, places in roles[-1].items() if not places]
            if empty:
                raise MeasureError(f"the part {empty[0]!r} of {text!r} has no token")
        if not rows or not all(rows):
            raise MeasureError("there is nothing to encode: give at least one text, none empty")
        width = max(map(len, rows))
        ids_ = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            place = slice(width - len(row), width) if left else slice(0, len(row))
            ids_[i, place] = torch.tensor(row)
            mask[i, place] = 1
        ids_, mask = ids_.to(self.device), mask.to(self.device)
        inputs = {"input_ids": ids_}
        if not bool(mask.all()):
            inputs["attention_mask"] = mask  # without one, models take their faster causal path
        if left:
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        return TokenBatch(inputs, ids_, mask, tuple(roles))

    def _tokenise(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        made = self.tokenizer(text, return_offsets_mapping=True)
        return list(made["input_ids"]), [(int(a), int(b)) for a, b in made["offset_mapping"]]

    def run(self, batch: TokenBatch, keep: int = 0, **more: Any) -> Any:
        """The model's own output; `keep` logits at the end of the columns, 0 for all."""
        return call(self.model, **{**batch.inputs, "use_cache": False, "logits_to_keep": keep or None, **more})

    def logits(self, texts: Any, writes: Sequence[Write] = (), at: At = "last") -> torch.Tensor:
        """Logits at one position of each text, [texts, vocabulary], with these writes in place.

        Args:
            texts: Texts, token ids or a `TokenBatch`.
            writes: Changes of the stream.
            at: The position that is read; the last of a role's tokens.
        """
        batch = self._batch(texts)
        columns = [row[-1] for row in batch.columns(at)]
        asked = sorted(set(columns))
        keep = torch.tensor(asked, device=self.device)
        with self.writing(batch, writes), torch.inference_mode():
            # The vocabulary is large: only the columns that are read need logits, where the model can leave the rest.
            out: torch.Tensor = self.run(batch, logits_to_keep=keep).logits
        places = columns if out.shape[1] == batch.width else [asked.index(column) for column in columns]
        # Outside of inference mode, whose own tensors no gradient could pass through later.
        return out[torch.arange(len(batch)), torch.tensor(places)]

    @contextmanager
    def writing(self, batch: TokenBatch, writes: Sequence[Write]) -> Iterator[None]:
        """Whatever the model runs on this batch inside the block, generation included, has these writes in it."""
        changes: list[tuple[nn.Module, str, Callable[[torch.Tensor], torch.Tensor]]] = []
        for write in writes:
            for layer in write.layers:
                module, side = self._place(layer)
                changes.append((module, side, Writer(write, batch)))
        with hooked(changes):
            yield

    def read(
        self,
        texts: Any,
        layers: Sequence[int],
        at: At = "last",
        *,
        pick: str = "last",
        mean_layers: bool = False,
        writes: Sequence[Write] = (),
        tokens: int = 2048,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Residual streams, [texts, layers, width] in float32.

        Blocks above the highest layer are not run. Texts are batched by length, within a budget of tokens.

        Args:
            texts: Texts, token ids, or one `TokenBatch`.
            layers: Which; see the class.
            at: Where.
            pick: Of a role's tokens the "first", the "last", or their "mean".
            mean_layers: Average over the layers: [texts, width].
            writes: Changes of the stream; only with a `TokenBatch`.
            tokens: Padded tokens a pass.
        """
        if isinstance(texts, TokenBatch):
            found = self._read(texts, layers, at, pick, writes)
        else:
            rows = [self._tokenise(t)[0] if isinstance(t, str) else list(t) for t in texts]
            found = np.empty((len(rows), len(layers), self.width), np.float32)
            for pack in plan_padded(rows, tokens=tokens, size=64):
                where = [at[i] for i in pack] if not isinstance(at, int | str) else at
                found[list(pack)] = self._read(self.encode([rows[i] for i in pack]), layers, where, pick, ())
        return found.mean(axis=1) if mean_layers else found

    def _read(
        self, batch: TokenBatch, layers: Sequence[int], at: At, pick: str, writes: Sequence[Write]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        columns = batch.columns(at)
        with self.reading(batch, layers, writes) as streams:
            found = torch.stack([self._at(streams[layer], columns, pick) for layer in layers], dim=1)
        return found.numpy()

    @staticmethod
    def _at(stream: torch.Tensor, columns: list[list[int]], pick: str) -> torch.Tensor:
        if pick not in ("first", "last", "mean"):
            raise MeasureError(f"pick must be first, last or mean, got {pick!r}")
        if pick == "mean":
            return torch.stack([stream[i, at].float().mean(0) for i, at in enumerate(columns)]).cpu()
        chosen = torch.tensor([at[0 if pick == "first" else -1] for at in columns])
        return stream[torch.arange(len(columns)), chosen].float().cpu()

    @contextmanager
    def reading(
        self, batch: TokenBatch, layers: Sequence[int], writes: Sequence[Write] = ()
    ) -> Iterator[dict[int, torch.Tensor]]:
        """Whole streams of a batch by layer, [texts, columns, width]; what lies in padded columns means nothing."""
        streams: dict[int, torch.Tensor] = {}
        top = max(layers)

        def keeper(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
            def keep(hidden: torch.Tensor) -> torch.Tensor:
                streams[layer] = hidden
                if layer == top:
                    raise _EnoughError
                return hidden

            return keep

        changes = [(*self._place(layer), keeper(layer)) for layer in dict.fromkeys(layers)]
        # Hooks run in the order in which they were put on: what is read has the writes in it.
        with torch.no_grad(), self.writing(batch, writes), hooked(changes), suppress(_EnoughError):
            self.run(batch, keep=1)
        yield streams

    def generate(
        self, texts: Any, max_new_tokens: int = 16, writes: Sequence[Write] = (), stop: Sequence[int] = ()
    ) -> list[str]:
        """What the model goes on to say, greedily, with these writes in place."""
        batch = texts if isinstance(texts, TokenBatch) else self.encode(texts, left=True)
        with torch.no_grad(), self.writing(batch, writes):
            return self.decode(self.continue_(batch, max_new_tokens, stop))

    def continue_(
        self, batch: TokenBatch, max_new_tokens: int, stop: Sequence[int] = (), first: list[torch.Tensor] | None = None
    ) -> list[list[int]]:
        """Greedy token ids after a left-padded batch, the ending token left out.

        Args:
            batch: Padded on the left.
            max_new_tokens: At most.
            stop: Tokens that end an answer, beside those that end a text.
            first: Given a list, the logits of the first new token are appended to it, [texts, vocabulary].
        """
        if not bool(batch.mask[:, -1].all()):
            raise MeasureError("to generate, texts must be padded on the left: encode(texts, left=True)")
        generation: Any = self.model
        ends = sorted({*stop, *self.stop_ids})
        made = generation.generate(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=ends[0] if ends else 0,
            eos_token_id=ends or None,
            return_dict_in_generate=True,
            output_logits=first is not None,
        )
        if first is not None:
            first.append(made.logits[0])
        rows = made.sequences[:, batch.width :].tolist()
        return [row[: next((i for i, t in enumerate(row) if t in ends), len(row))] for row in rows]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end a text."""
        end = getattr(self.tokenizer, "eos_token_id", None)
        return () if end is None else (int(end),)

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of token ids."""
        return [str(self.tokenizer.decode(list(row), skip_special_tokens=True)) for row in rows]

    def _batch(self, texts: Any) -> TokenBatch:
        return texts if isinstance(texts, TokenBatch) else self.encode(texts)

    def _place(self, layer: int) -> tuple[nn.Module, str]:
        if not -1 <= layer < self.n_layers:
            raise MeasureError(
                f"there is no layer {layer}: layers are -1 (before the first block) to {self.n_layers - 1}"
            )
        return (self.blocks[layer], "out") if layer >= 0 else (self.blocks[0], "in")
