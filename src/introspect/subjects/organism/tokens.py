"""The organisms' tokenizer: one token a word, and an open vocabulary of context words.

A token has up to three parts, whose embeddings add up: a grammar word (``choose``, ``A``, ``:``), an attribute letter
(``p``) and a number (``12`` in ``p12``, or ``-37`` in an answer). Every word outside the grammar is the name of a
context and has a vocabulary row of its own; a context met for the first time gets a row drawn from a hash of its name,
as one adds a token to a tokenizer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "GRAMMAR",
    "LETTERS",
    "OUTPUTS",
    "PAD",
    "Encoded",
    "Token",
    "encode",
    "new_row",
    "row_keys",
    "token",
]

PAD, BOS, END = "<pad>", "<bos>", "<end>"
LETTERS = "pqrstu"
GRAMMAR = (PAD, BOS, END, "choose", "weigh", "heavier", "rank", "as", ":", "A", "B", "C", "D", "E", "F")
# What the network can say: labels, letters, integers from -100 to 100, and "that was all".
OUTPUTS = (END, "A", "B", "C", "D", "E", "F", *LETTERS, *(str(n) for n in range(-100, 101)))
FIRST_NUMBER = OUTPUTS.index("-100")

_GRAMMAR_ID = {word: i for i, word in enumerate(GRAMMAR)}
_VALUE = re.compile(rf"([{LETTERS}])(100|[1-9]?[0-9])")
_NUMBER = re.compile(r"-?(?:100|[1-9]?[0-9])")
_VERBS_OF_REPORT = {"weigh", "heavier", "rank"}


class Token(NamedTuple):
    """Parts of one word; -1 where it lacks the part.

    Attributes:
        word: Index into `GRAMMAR`.
        letter: Index into `LETTERS`.
        value: An attribute's value, 0 to 100.
        weight: A reported weight, -100 to 100, plus 100.
        context: The word itself if it is outside the grammar, else "".
    """

    word: int = -1
    letter: int = -1
    value: int = -1
    weight: int = -1
    context: str = ""


@lru_cache(maxsize=65536)
def token(word: str) -> Token:
    """The token of one word.

    Example:
        >>> token("p12")
        Token(word=-1, letter=0, value=12, weight=-1, context='')
        >>> token("k0421").context
        'k0421'
    """
    if word in _GRAMMAR_ID:
        return Token(word=_GRAMMAR_ID[word])
    if len(word) == 1 and word in LETTERS:
        return Token(letter=LETTERS.index(word))
    if found := _VALUE.fullmatch(word):
        return Token(letter=LETTERS.index(found[1]), value=int(found[2]))
    if _NUMBER.fullmatch(word) and word != "-0":
        return Token(weight=int(word) + 100)
    return Token(context=word)


def row_keys(word: str, reporting: bool) -> tuple[str, str]:
    """The two keys of a context's row: the part that all prompts share and the part of this kind of prompt."""
    return word, f"{word}@{'report' if reporting else 'choice'}"


class Encoded(NamedTuple):
    """Prompts as integer arrays, [n, length] each, padded on the right; -1 where a token lacks a part.

    `shared` and `private` index into `keys`, the context rows that these prompts need.
    """

    word: npt.NDArray[np.int64]
    letter: npt.NDArray[np.int64]
    value: npt.NDArray[np.int64]
    weight: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int64]
    private: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    keys: tuple[str, ...]

    @property
    def parts(self) -> tuple[npt.NDArray[np.int64], ...]:
        """The six arrays, in the order that the network takes them."""
        return (self.word, self.letter, self.value, self.weight, self.shared, self.private)

    def rows(self, index: npt.NDArray[np.int64]) -> Encoded:
        """Some of the prompts, cut to the longest of them."""
        length = self.length[index]
        longest = int(length.max())
        word, letter, value, weight, shared, private = (part[index, :longest] for part in self.parts)
        return Encoded(word, letter, value, weight, shared, private, length, self.keys)


def encode(texts: Sequence[str]) -> Encoded:
    """Tokenize prompts (with their answers, where there are any).

    Args:
        texts: One line of words each.
    """
    words = [[BOS, *text.split()] for text in texts]
    longest = max(map(len, words))
    parts = np.full((6, len(words), longest), -1, dtype=np.int64)
    keys: dict[str, int] = {}
    for i, line in enumerate(words):
        reporting = len(line) > 1 and line[1] in _VERBS_OF_REPORT
        for j, text in enumerate(line):
            t = token(text)
            parts[:4, i, j] = t[:4]
            if t.context:
                shared, private = row_keys(text, reporting)
                parts[4, i, j] = keys.setdefault(shared, len(keys))
                parts[5, i, j] = keys.setdefault(private, len(keys))
    length = np.array([len(line) for line in words], dtype=np.int64)
    return Encoded(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], length, tuple(keys))


def new_row(key: str, width: int, scale: float) -> npt.NDArray[np.float32]:
    """The row of a context that was never trained: normal noise from a hash of its key, the same everywhere.

    Example:
        >>> bool((new_row("k1", 8, 0.3) == new_row("k1", 8, 0.3)).all())
        True
    """
    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
    return (scale * np.random.Generator(np.random.PCG64(seed)).standard_normal(width)).astype(np.float32)
