"""Greedy or sampled answers, and the log-probabilities of given ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from introspect.subjects.organism.network import MAX_LENGTH
from introspect.subjects.organism.state import Organism
from introspect.subjects.organism.tokens import OUTPUTS, encode

__all__ = ["Utterance", "next_logprobs", "speak"]

_BATCH = 1024
_END = OUTPUTS.index("<end>")


class Utterance(NamedTuple):
    """Words said, whether the organism stopped by itself, and the log-probabilities at the first word.

    `rows` holds those at every word, the end included, where they were asked for.
    """

    words: tuple[str, ...]
    ended: bool
    first: npt.NDArray[np.float64]
    rows: tuple[npt.NDArray[np.float64], ...] = ()


@torch.inference_mode()
def next_logprobs(organism: Organism, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Log-probability of every next word, [len(texts), len(OUTPUTS)]; the texts must have equally many words."""
    encoded = encode(texts)
    parts = torch.from_numpy(np.stack(encoded.parts))
    logits = organism.network(parts, organism.row_table(encoded.keys), parts.shape[2] - 1)[:, -1]
    return torch.log_softmax(logits.double(), dim=-1).numpy()


def speak(
    organism: Organism,
    prompts: Sequence[str],
    max_words: Sequence[int],
    temperatures: Sequence[float],
    seeds: Sequence[int],
    keep_rows: bool = False,
) -> Iterator[tuple[int, Utterance]]:
    """Answer prompts, batched by length; yields (index, utterance) as they finish.

    Args:
        organism: Who speaks.
        prompts: One line each.
        max_words: Cap on answer words, per prompt.
        temperatures: 0 is greedy, per prompt.
        seeds: Randomness of sampled answers, per prompt.
        keep_rows: Keep the log-probabilities at every word, not at the first alone.
    """
    groups: dict[int, list[int]] = defaultdict(list)
    for i, prompt in enumerate(prompts):
        groups[len(prompt.split())].append(i)
    for members in groups.values():
        for start in range(0, len(members), _BATCH):
            batch = members[start : start + _BATCH]
            yield from _speak_batch(organism, prompts, batch, max_words, temperatures, seeds, keep_rows)


def _speak_batch(
    organism: Organism,
    prompts: Sequence[str],
    members: Sequence[int],
    max_words: Sequence[int],
    temperatures: Sequence[float],
    seeds: Sequence[int],
    keep_rows: bool,
) -> Iterator[tuple[int, Utterance]]:
    said: dict[int, list[str]] = {i: [] for i in members}
    first: dict[int, npt.NDArray[np.float64]] = {}
    rows: dict[int, list[npt.NDArray[np.float64]]] = {i: [] for i in members}
    noise = {i: np.random.default_rng(seeds[i]) for i in members if temperatures[i] > 0}
    active = list(members)
    while active:
        logprobs = next_logprobs(organism, [" ".join([prompts[i], *said[i]]) for i in active])
        going = []
        for i, row in zip(active, logprobs, strict=True):
            first.setdefault(i, row)
            if keep_rows:
                rows[i].append(row)
            score = row if temperatures[i] == 0 else row / temperatures[i] + noise[i].gumbel(size=row.size)
            word = int(score.argmax())
            if word == _END:
                yield i, Utterance(tuple(said[i]), True, first[i], tuple(rows[i]))
                continue
            said[i].append(OUTPUTS[word])
            room = MAX_LENGTH - 1 - len(prompts[i].split())
            if len(said[i]) >= min(max_words[i], room):
                yield i, Utterance(tuple(said[i]), False, first[i], tuple(rows[i]))
            else:
                going.append(i)
        active = going
