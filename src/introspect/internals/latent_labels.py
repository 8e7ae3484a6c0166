"""What a latent means, by rule: the token, or the list of words, that makes it speak."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from introspect._yaml import load_yaml_file
from introspect.errors import ConfigError
from introspect.internals.corpus import TokenStreams
from introspect.internals.dictionary import Dictionary

__all__ = ["Judge", "LabelRule", "LatentLabel", "detection", "label_latents", "labels_from_file", "named_by"]

Judge = Callable[[int, Sequence[str]], str | None]
"""Told a latent and the words of its top contexts; says what it means, or None. A language model may do it."""


@dataclass(frozen=True)
class LatentLabel:
    """A labelled latent.

    Attributes:
        latent: Its number.
        label: A token's text, or the name of a list.
        kind: "token", "list", "file" or "judge".
        share: Of its top contexts that the label covers.
        rate: Of all tokens that the label covers.
        contexts: Tokens at which it speaks loudest, the loudest first.
        loud: How loudly it speaks there.
    """

    latent: int
    label: str
    kind: str
    share: float
    rate: float
    contexts: tuple[int, ...] = ()
    loud: tuple[float, ...] = ()


def label_latents(
    dictionary: Dictionary,
    tokens: TokenStreams,
    lists: Mapping[str, Sequence[str]],
    *,
    top: int = 20,
    least: float = 0.7,
    fewest: int = 20,
    judge: Judge | None = None,
) -> tuple[list[LatentLabel], dict[str, float]]:
    """Label latents by their top contexts.

    A list's name is given where words of one list make up at least `least` of the top contexts (and no single token
    does), a token's text where one token does; and only where the label is at least three times as frequent there as
    among all tokens. What no rule explains goes to the judge, if there is one, and is dropped otherwise.

    Args:
        dictionary: The latents.
        tokens: Where they speak.
        lists: Words by kind.
        top: Contexts looked at.
        least: Share that a label must cover.
        fewest: Tokens at which a latent must speak to be looked at.
        judge: Labels what is left.

    Returns:
        The labels; and coverage: latents that speak enough, and the shares labelled in each way.
    """
    places, loud = dictionary.encode(tokens.vectors)
    words = [word.lower() for word in tokens.words]
    rule = LabelRule(words, lists, least)
    flat, token_of = places.ravel(), np.repeat(np.arange(len(places)), places.shape[1])
    strength = loud.ravel()
    order = np.lexsort((-strength, flat))
    flat, token_of, strength = flat[order], token_of[order], strength[order]
    starts = np.searchsorted(flat, np.arange(len(dictionary.decoder) + 1))
    found: list[LatentLabel] = []
    alive = 0
    for latent in range(len(dictionary.decoder)):
        here = slice(starts[latent], starts[latent + 1])
        speaking, how_loud = token_of[here][strength[here] > 0], strength[here]
        if len(speaking) < fewest:
            continue
        alive += 1
        contexts = [words[i] for i in speaking[:top]]
        named = rule(contexts)
        if named is None and judge is not None:
            said = judge(latent, contexts)
            named = (said, "judge", float("nan"), float("nan")) if said else None
        if named is not None:
            where, how = tuple(speaking[:top].tolist()), tuple(map(float, how_loud[:top]))
            found.append(LatentLabel(latent, *named, where, how))
    made = Counter(label.kind for label in found)
    coverage = {"latents": float(len(dictionary.decoder)), "speaking": float(alive)}
    return found, coverage | {kind: n / max(alive, 1) for kind, n in made.items()}


class LabelRule:
    """Names what words have in common: one token, or one list.

    Args:
        words: Of all tokens, in lower case: what is rare among them is worth naming.
        lists: Words by kind.
        least: Share that a label must cover.

    Example:
        >>> rule = LabelRule(["red", "blue", *"abcdefgh"], {"color": ["red", "blue"]})
        >>> rule(["red", "blue", "red", "blue"])
        ('color', 'list', 1.0, 0.2)
    """

    def __init__(self, words: Sequence[str], lists: Mapping[str, Sequence[str]], least: float = 0.7) -> None:
        self._n, self._least, self._rates = len(words), least, Counter(words)
        self._kinds = {str(word).lower(): kind for kind, known in lists.items() for word in known}
        self._kind_rates = Counter(self._kinds[word] for word in words if word in self._kinds)

    def __call__(self, contexts: Sequence[str]) -> tuple[str, str, float, float] | None:
        """Label, kind of label, share of the contexts and of all tokens that it covers; None where no rule fits."""
        word, count = Counter(contexts).most_common(1)[0]
        share, rate = count / len(contexts), self._rates[word] / self._n
        if share >= self._least and share > 3 * rate and word.strip():
            return word, "token", share, rate
        listed = Counter(self._kinds[word] for word in contexts if word in self._kinds)
        if listed:
            kind, count = listed.most_common(1)[0]
            share, rate = count / len(contexts), self._kind_rates[kind] / self._n
            if share >= self._least and share > 3 * rate:
                return kind, "list", share, rate
        return None


def labels_from_file(path: Path | str) -> list[LatentLabel]:
    """Labels from a YAML or JSON file that maps numbers of latents to labels.

    Raises:
        ConfigError: It is something else.
    """
    found = load_yaml_file(path, "the labels in")
    try:
        return [LatentLabel(int(k), str(v), "file", float("nan"), float("nan")) for k, v in found.items()]
    except (AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} does not map numbers of latents to labels: {error}") from error


def named_by(label: str, lists: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The words that a label names, in lower case: itself, and those of the list of that name.

    Example:
        >>> sorted(named_by("color", {"color": ["Red"]}))
        ['color', 'red']
    """
    return frozenset({*(str(word).lower() for word in lists.get(label, ())), label.lower()})


def detection(
    label: str, lists: Mapping[str, Sequence[str]], tokens: TokenStreams, speaks: npt.NDArray[np.bool_]
) -> tuple[int, int, int]:
    """Right, said and true tokens of the rule "it speaks at words that the label names": what F1 is made of."""
    named = named_by(label, lists)
    said = np.array([word.lower() in named for word in tokens.words])
    return int((said & speaks).sum()), int(said.sum()), int(speaks.sum())
