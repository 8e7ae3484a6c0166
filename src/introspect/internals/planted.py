"""Directions made on purpose, whose meaning is known: the mean stream of some words of a kind, less that of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect._random import stream
from introspect.errors import ConfigError
from introspect.internals.row_table import Row, RowTable
from introspect.internals.target import Target
from introspect.internals.word_lists import word_lists

__all__ = ["PlantedSpec", "build_planted", "recompute_planted"]

Floats = npt.NDArray[np.float32]
_STEMS = ("I was thinking about {word}", "The next word is {word}", "She wrote down {word}")


class PlantedSpec(Checked):
    """How directions are planted.

    Attributes:
        layer: Whose stream; None for two fifths of the depth.
        seen: Kinds that are trained on; the rest are "unseen".
        words: Words averaged into one direction.
        directions: For each seen kind, to train on.
        test: For each kind, to test on; of words that no training direction holds.
        lists: A YAML file of word lists in place of the shipped one.
        seed: Of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int | None = None
    seen: int = Field(default=20, ge=2)
    words: int = Field(default=3, ge=1)
    directions: int = Field(default=24, ge=1)
    test: int = Field(default=10, ge=1)
    lists: str | None = None
    seed: int = Field(default=0, ge=0)

    def layer_of(self, target: Target) -> int:
        """The layer that is read."""
        return target.middle if self.layer is None else self.layer


def build_planted(
    target: Target, spec: PlantedSpec | None = None, lists: Mapping[str, Sequence[str]] | None = None
) -> RowTable:
    """Plant directions in a target's stream.

    The words of each kind are cut in two: training directions average words of the first three fifths, test directions
    words of the rest, so that a test direction shares no word with any training direction.

    Args:
        target: The model.
        spec: How.
        lists: Words by kind, in place of those the spec names.

    Raises:
        ConfigError: Fewer kinds than are to be seen.

    Example:
        >>> from introspect.internals.tiny import tiny_target
        >>> table = build_planted(tiny_target(), PlantedSpec(seen=4, directions=3, test=2))
        >>> table.counts()
        {'train': 12, 'test': 8, 'unseen': 44}
    """
    spec = spec or PlantedSpec()
    known = dict(word_lists(spec.lists) if lists is None else lists)
    if len(known) < spec.seen:
        raise ConfigError(f"{spec.seen} kinds are to be seen, but there are only {len(known)} lists")
    layer = spec.layer_of(target)
    kinds = sorted(known)
    kinds = [kinds[i] for i in stream(spec.seed, "kinds").permutation(len(kinds))]
    rows = []
    for place, kind in enumerate(kinds):
        words = list(known[kind])
        cut = max(1, round(0.6 * len(words)))
        halves = {"train": words[:cut], "test": words[cut:] or words[-1:]}
        wanted = [("train", spec.directions), ("test", spec.test)] if place < spec.seen else [("unseen", spec.test)]
        for split, n in wanted:
            pool = words if split == "unseen" else halves[split]
            for k in range(n):
                rng = stream(spec.seed, "direction", kind, split, k)
                some = [pool[i] for i in rng.permutation(len(pool))[: spec.words]]
                stem = _STEMS[int(rng.integers(len(_STEMS)))]
                rows.append(Row(
                    f"{kind}/{split}/{k}", f"{kind}/{split}", split, {"layer": str(layer)}, kind, layer=layer,
                    more={"words": list(some), "stem": stem},
                ))  # fmt: skip
    every = sorted({word for words in known.values() for word in words})
    provenance = {**target.provenance, "layer": layer, "spec": spec.model_dump(mode="json"), "kinds": kinds,
                  "every": list(every), "version": 1}  # fmt: skip
    made = RowTable("planted", tuple(rows), None, provenance)
    return recompute_planted(target, made)


def recompute_planted(target: Target, table: RowTable) -> RowTable:
    """The directions anew, from the words that rows name."""
    layer = int(table.provenance["layer"])
    every = [str(w) for w in table.provenance["every"]]
    texts = sorted({stem.format(word=word) for stem in _STEMS for word in every})
    streams = dict(zip(texts, target.read(texts, [layer])[:, 0], strict=True))
    centre = {s: np.mean([streams[s.format(word=word)] for word in every], axis=0) for s in _STEMS}
    vectors = []
    for row in table.rows:
        stem = str(row.more["stem"])
        words = [str(w) for w in row.more["words"]]
        vectors.append(np.mean([streams[stem.format(word=w)] for w in words], axis=0) - centre[stem])
    return table.with_vectors(np.array(vectors, dtype=np.float32))
