"""A model that answers questions about vectors: frozen with a learned map, with LoRA on top, or trained whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect.backend.local.forward import call, can_share
from introspect.errors import ConfigError, MissingExtraError
from introspect.internals.soft_map import MapKind, SoftMap
from introspect.internals.soft_token import SoftToken, with_placeholders
from introspect.internals.target import Target
from introspect.internals.token_batch import TokenBatch

__all__ = ["Explainer", "ExplainerSpec", "Prompt"]

Floats = npt.NDArray[np.float32]
_SHARED = 4  # a shared beginning shorter than this is not worth a pass of its own


class ExplainerSpec(Checked):
    """What an explainer is made of and how it is trained.

    Attributes:
        method: "map": the network is frozen and a map is learned; "map+lora", "full": its weights learn too;
            "untrained": nothing does.
        layer: Where vectors enter; see `SoftToken`.
        mode: How they are scaled; see `SoftToken`.
        scale: Times this.
        add: Added in place of replacing.
        map: How much of a map is learned.
        rank: Of a low-rank map.
        lora_rank: Of LoRA.
        learning_rate: Of the map.
        weight_rate: Of LoRA, or of all weights.
        weight_decay: On the map's matrix, towards what it started as (0 for none).
        epochs: Passes over the training rows.
        batch_size: Rows a step.
        seed: Of the order and of what starts at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["untrained", "map", "map+lora", "full"] = "map"
    layer: Literal["embedding", "middle"] | int = "middle"
    mode: Literal["raw", "unit", "norm"] = "norm"
    scale: float = Field(default=1.0, gt=0)
    add: bool = False
    map: MapKind = "full"
    rank: int = Field(default=16, ge=1)
    lora_rank: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_rate: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)

    @property
    def soft(self) -> SoftToken:
        """How vectors enter."""
        return SoftToken(self.layer, self.mode, self.scale, self.add)


@dataclass(frozen=True)
class Prompt:
    """A tokenised question.

    Attributes:
        ids: Token ids.
        places: Where its placeholders are.
    """

    ids: tuple[int, ...]
    places: tuple[int, ...]


class Explainer:
    """Answers questions about vectors.

    Args:
        target: The network it starts from; it is copied where its weights are to be trained.
        spec: What is learned.
        width: Of the vectors; the network's own if None.
        learned: A map to start from, for instance one fitted in closed form between two models.

    Raises:
        MissingExtraError: LoRA without PEFT.
    """

    def __init__(
        self, target: Target, spec: ExplainerSpec, width: int | None = None, learned: SoftMap | None = None
    ) -> None:
        self.spec = spec
        self.trains_weights = spec.method in ("map+lora", "full")
        self.target = _trainable(target, spec) if self.trains_weights else target
        own = target.width
        self.map = learned
        if learned is None and (spec.method != "untrained" or (width or own) != own):
            kind = spec.map if (width or own) == own else "full"
            self.map = SoftMap(width or own, own, kind=kind, rank=spec.rank, seed=spec.seed)
        self._shares = not self.trains_weights and can_share(self.target.model)

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned."""
        weights = sum(p.numel() for p in self.target.model.parameters() if p.requires_grad)
        return weights + (self.map.n_parameters if self.map is not None and self.spec.method != "untrained" else 0)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All that was learned, by name."""
        made = {} if self.map is None else {f"map.{k}": v for k, v in self.map.arrays().items()}
        if self.trains_weights:
            learned = self.target.model.named_parameters()
            made |= {f"weight.{n}": p.detach().cpu().float().numpy() for n, p in learned if p.requires_grad}
        return made or {"nothing": np.zeros(1)}

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put back what `arrays` gave, exactly."""
        if self.map is not None:
            self.map.load({k.removeprefix("map."): v for k, v in arrays.items() if k.startswith("map.")})
        parameters = dict(self.target.model.named_parameters())
        with torch.no_grad():
            for name, value in arrays.items():
                if name.startswith("weight."):
                    parameters[name.removeprefix("weight.")].copy_(torch.from_numpy(value))

    def prompt(self, text: str) -> Prompt:
        """Tokenise a question."""
        ids, places = with_placeholders(self.target, text)
        return Prompt(tuple(ids), tuple(places))

    def answer_ids(self, text: str, *, end: bool = True) -> tuple[int, ...]:
        """Token ids of an answer, and the end of the text."""
        ids = tuple(self.target.tokenizer(text, add_special_tokens=False)["input_ids"])
        if not ids:
            raise ConfigError(f"the answer {text!r} has no tokens")
        return (*ids, *self.target.stop_ids[:1]) if end else ids

    def loss(self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], vectors: torch.Tensor | None) -> Any:
        """Mean over rows of the mean cross-entropy of the answer's tokens."""
        return -self._logprobs(prompts, answers, vectors, mean=True).mean()

    def logprobs(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], vectors: Floats | None
    ) -> npt.NDArray[np.float64]:
        """Log-probability of a whole answer to each question."""
        with torch.no_grad():
            made = None if vectors is None else torch.from_numpy(vectors)
            return self._logprobs(prompts, answers, made, mean=False).double().cpu().numpy()

    def write(
        self,
        prompts: Sequence[Prompt],
        vectors: Floats | None,
        max_new_tokens: int = 8,
        size: int = 32,
        first: Sequence[Sequence[int]] | None = None,
    ) -> tuple[list[str], list[npt.NDArray[np.float64]]]:
        """Greedy answers, and from the same pass log-probabilities of some first tokens.

        Args:
            prompts: Questions.
            vectors: [questions, width], or [questions, placeholders, width].
            max_new_tokens: Of an answer.
            size: Questions a pass; those of like length together.
            first: For each question the tokens whose log-probability, as the first of the answer, is wanted.

        Returns:
            Answers, and one array a question where `first` is given.
        """
        said, found = [""] * len(prompts), [np.zeros(0)] * (0 if first is None else len(prompts))
        stop = self.target.tokenizer("\n", add_special_tokens=False)["input_ids"][-1:]
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
        for start in range(0, len(order), size):
            part = order[start : start + size]
            batch = self.target.encode([prompts[i].ids for i in part], left=True)
            made = None if vectors is None else torch.from_numpy(vectors[part])
            heard: list[torch.Tensor] = []
            with torch.no_grad(), self._with(batch, [prompts[i] for i in part], made, 0):
                tokens = self.target.continue_(batch, max_new_tokens, stop, None if first is None else heard)
            for i, text in zip(part, self.target.decode(tokens), strict=True):
                said[i] = text
            if first is not None:
                logprobs = torch.log_softmax(heard[0].float(), -1).double().cpu().numpy()
                for row, i in enumerate(part):
                    found[i] = logprobs[row, list(first[i])]
        return said, found

    def _logprobs(
        self, prompts: Sequence[Prompt], answers: Sequence[Sequence[int]], vectors: torch.Tensor | None, mean: bool
    ) -> torch.Tensor:
        keep = max(map(len, answers)) + 1
        logits = self._logits([(*p.ids, *a) for p, a in zip(prompts, answers, strict=True)], prompts, vectors, keep)
        logprobs = torch.log_softmax(logits[:, :-1].float(), -1)
        goal = torch.zeros(len(answers), keep - 1, dtype=torch.long)
        real = torch.zeros(len(answers), keep - 1)
        for i, answer in enumerate(answers):
            goal[i, -len(answer) :] = torch.tensor(answer)
            real[i, -len(answer) :] = 1
        goal, real = goal.to(logprobs.device), real.to(logprobs.device)
        found = (logprobs.gather(-1, goal[..., None])[..., 0] * real).sum(-1)
        return found / real.sum(-1) if mean else found

    def _logits(
        self, rows: Sequence[Sequence[int]], prompts: Sequence[Prompt], vectors: torch.Tensor | None, keep: int
    ) -> torch.Tensor:
        """Logits at the last columns of rows that all end in the last one; a beginning that all share is run once."""
        prefix = self._prefix(rows, prompts, keep) if self._shares else 0
        batch = self.target.encode([list(row[prefix:]) for row in rows], left=True)
        more: dict[str, Any] = {}
        if prefix:
            from transformers import DynamicCache

            past = DynamicCache(config=self.target.model.config)
            with torch.no_grad():
                head = torch.tensor([list(rows[0][:prefix])], device=self.target.device)
                call(self.target.model, input_ids=head, past_key_values=past, use_cache=True, logits_to_keep=1)
            past.batch_repeat_interleave(len(rows))
            ones = torch.ones(len(rows), prefix, dtype=torch.long, device=self.target.device)
            more = {
                "past_key_values": past,
                "use_cache": True,
                "attention_mask": torch.cat([ones, batch.mask], 1),
                "position_ids": batch.inputs["position_ids"] + prefix,
            }
        with self._with(batch, prompts, vectors, prefix):
            out: torch.Tensor = self.target.run(batch, keep=keep, **more).logits[:, -keep:]
        return out

    @staticmethod
    def _prefix(rows: Sequence[Sequence[int]], prompts: Sequence[Prompt], keep: int) -> int:
        limit = min(min(len(row) for row in rows) - keep, *(min(p.places, default=10**9) for p in prompts))
        first, last = min(rows, key=tuple), max(rows, key=tuple)
        shared = next((i for i in range(max(limit, 0)) if first[i] != last[i]), max(limit, 0))
        return shared if shared >= _SHARED and len(rows) > 1 else 0

    @contextmanager
    def _with(
        self, batch: TokenBatch, prompts: Sequence[Prompt], vectors: torch.Tensor | None, prefix: int
    ) -> Iterator[None]:
        if not prompts[0].places or vectors is None:
            with nullcontext():
                yield
            return
        made = vectors[:, None] if vectors.dim() == 2 else vectors
        places = [[place - prefix for place in p.places] for p in prompts]
        learned = self.map
        with self.spec.soft.injecting(self.target, batch, places, made, learned):
            yield


def _trainable(target: Target, spec: ExplainerSpec) -> Target:
    model = copy.deepcopy(target.model)
    if spec.method == "map+lora":
        try:
            from peft import LoraConfig, get_peft_model
        except ImportError as error:
            raise MissingExtraError("peft", "local") from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            config = LoraConfig(r=spec.lora_rank, lora_alpha=2 * spec.lora_rank, target_modules="all-linear")
            model = get_peft_model(model, config)
    made = Target(model, target.tokenizer, target.ref)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(spec.method == "full" or "lora_" in name)
    return made
