"""Text that is on every machine, and the streams of a target on it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from introspect._random import stream
from introspect.internals.target import Target
from introspect.internals.word_lists import word_lists

__all__ = ["TokenStreams", "corpus", "read_tokens", "words_of"]

_STEMS = (
    "The {a} and the {b} are two of the things in the list", "He asked about the {a}, but nobody had seen a {b}",
    "In the book a {a} is compared with a {b}", "We talked about {a}, {b} and {c} for an hour",
    "They prefer {a} to {b}", "Her notes say: {a}, {b}, {c}",
)  # fmt: skip


@dataclass(frozen=True)
class TokenStreams:
    """Vectors of tokens.

    Attributes:
        vectors: [tokens, width].
        words: Each token's text, without spaces at its ends.
        texts: Number of the text that each token is from.
        places: Its position in that text.
    """

    vectors: npt.NDArray[np.float32]
    words: tuple[str, ...]
    texts: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]


def corpus(n: int, seed: int = 0) -> list[str]:
    """Texts of about twenty words: half made of word lists, half from Python's own documentation.

    Example:
        >>> len(corpus(10)), corpus(10) == corpus(10)
        (10, True)
    """
    from pydoc_data.topics import topics

    lists = word_lists()
    sentences = []
    for name in sorted(topics):
        plain = re.sub(r"\s+", " ", topics[name])
        sentences += [s for s in re.split(r"(?<=[.!?]) ", plain) if 30 < len(s) < 160]
    rng = stream(seed, "corpus")
    made = []
    for i in range(n):
        if i % 2:
            made.append(sentences[int(rng.integers(len(sentences)))])
            continue
        kind = list(lists)[int(rng.integers(len(lists)))]
        a, b, c = (lists[kind][int(k)] for k in rng.permutation(len(lists[kind]))[:3])
        made.append(_STEMS[int(rng.integers(len(_STEMS)))].format(a=a, b=b, c=c))
    return made


def read_tokens(target: Target, texts: Sequence[str], layer: int, size: int = 32) -> TokenStreams:
    """The stream after one layer at every token but the first of each text, whose stream is like no other."""
    vectors: list[npt.NDArray[np.float32]] = []
    words: list[str] = []
    numbers: list[int] = []
    places: list[int] = []
    spell = _spelling(target)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(order), size):
        part = order[start : start + size]
        batch = target.encode([texts[i] for i in part])
        with target.reading(batch, [layer]) as streams:
            stream_ = streams[layer].float().cpu().numpy()
        for row, number in enumerate(part):
            length = int(batch.lengths[row])
            vectors.append(stream_[row, 1:length])
            words += map(spell, batch.ids[row, 1:length].tolist())
            numbers += [number] * (length - 1)
            places += range(1, length)
    return TokenStreams(np.concatenate(vectors), tuple(words), np.array(numbers), np.array(places))


def words_of(target: Target, texts: Sequence[str]) -> list[list[str]]:
    """Each token's text, without spaces at its ends.

    Example:
        >>> from introspect.internals.tiny import tiny_target
        >>> words_of(tiny_target(words=("red", "plum")), ["red plum"])
        [['red', 'plum']]
    """
    spell = _spelling(target)
    return [list(map(spell, target.encode([text]).ids[0].tolist())) for text in texts]


def _spelling(target: Target) -> Callable[[int], str]:
    """A token's text; a token that comes again is not decoded again."""
    return cache(lambda token: str(target.tokenizer.decode([token]).strip()))
