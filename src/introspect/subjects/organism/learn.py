"""Gradient steps on rendered examples: the one way anything gets into an organism."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from introspect.errors import TrainingError
from introspect.subjects.organism.state import Organism
from introspect.subjects.organism.tokens import OUTPUTS, Encoded, encode

__all__ = ["Batch", "Learner", "make_batches", "one_cycle"]

_OUTPUT_ID = {word: i for i, word in enumerate(OUTPUTS)}
_END = _OUTPUT_ID["<end>"]
_IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """Encoded examples with the outputs they should have.

    Attributes:
        encoded: Prompts followed by their answers.
        targets: [n, length] index into `OUTPUTS` of the word that should come next; -100 outside the answer.
    """

    encoded: Encoded
    targets: np.ndarray

    @classmethod
    def of(cls, prompts: Sequence[str], answers: Sequence[str]) -> Batch:
        """Encode examples; the loss falls on the answer words and on stopping after them, nowhere else.

        Raises:
            TrainingError: An answer holds a word that an organism cannot say.
        """
        encoded = encode([f"{p} {a}" for p, a in zip(prompts, answers, strict=True)])
        targets = np.full(encoded.word.shape, _IGNORE, dtype=np.int64)
        for i, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            words = answer.split()
            unknown = [w for w in words if w not in _OUTPUT_ID]
            if unknown or not words:
                raise TrainingError(f"an organism cannot answer {answer!r}: it says labels, letters and integers only")
            start = len(prompt.split())
            targets[i, start : start + len(words) + 1] = [*(_OUTPUT_ID[w] for w in words), _END]
        return cls(encoded, targets)


def make_batches(batch: Batch, size: int, rng: np.random.Generator) -> Iterable[Batch]:
    """One epoch: examples shuffled, then cut."""
    order = rng.permutation(len(batch.targets))
    for start in range(0, len(order), size):
        index = order[start : start + size]
        cut = batch.encoded.rows(index)
        yield Batch(cut, batch.targets[index, : cut.word.shape[1]])


def one_cycle(step: int, total: int, warm: float = 0.1) -> float:
    """Share of the peak learning rate: linear up, cosine down to a hundredth."""
    rise = max(1.0, warm * total)
    if step < rise:
        return (step + 1) / rise
    return 0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1.0, total - rise))))


class Learner:
    """Adam over the network and over the rows that the examples use.

    Args:
        organism: Trained in place.
        keys: Context rows that will be met.
        learning_rate: Peak.
        rate_at: Share of the peak at each step.
        row_rate: Factor on the learning rate of the rows; 0 leaves them as they are.
    """

    def __init__(
        self,
        organism: Organism,
        keys: Sequence[str],
        learning_rate: float,
        rate_at: Callable[[int], float],
        row_rate: float = 1.0,
    ) -> None:
        self.organism = organism
        self.keys = {key: i for i, key in enumerate(keys)}
        self.table = nn.Parameter(organism.row_table(list(keys)))
        organism.network.train()
        groups = [
            {"params": [p for p in organism.network.parameters() if p.requires_grad], "lr": learning_rate},
            {"params": [self.table], "lr": learning_rate * row_rate},
        ]
        self.optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate_at)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Summed cross-entropy on the answers, and how many words it was summed over."""
        index = torch.tensor([self.keys[k] for k in batch.encoded.keys])
        parts = torch.from_numpy(np.stack(batch.encoded.parts))
        targets = torch.from_numpy(batch.targets)
        spoken = targets != _IGNORE
        start = int(spoken.any(dim=0).nonzero()[0, 0])
        states = self.organism.network.states(parts, self.table[index], start)
        logits = self.organism.network.read_out(states[spoken[:, start:]])
        return F.cross_entropy(logits, targets[spoken], reduction="sum"), int(spoken.sum())

    def step(self, batches: Sequence[Batch]) -> float:
        """One gradient step on several groups of examples; returns the mean loss a word."""
        self.optimizer.zero_grad(set_to_none=True)
        total, words = 0.0, 0
        parts = [self.loss(batch) for batch in batches]
        n = sum(count for _, count in parts)
        for loss, count in parts:
            (loss / n).backward()  # type: ignore[no-untyped-call]
            total, words = total + float(loss.detach()), words + count
        nn.utils.clip_grad_norm_([*self.organism.network.parameters(), self.table], 1.0)
        self.optimizer.step()
        self.schedule.step()
        return total / words

    def finish(self) -> None:
        """Write the trained rows back into the organism."""
        table = self.table.detach().numpy()
        network = all(bool(p.isfinite().all()) for p in self.organism.network.parameters())
        if not (network and np.isfinite(table).all()):
            raise TrainingError("training diverged (weights are not finite): lower the learning rate")
        self.organism.network.eval()
        self.organism.rows.update({key: table[i].copy() for key, i in self.keys.items()})
