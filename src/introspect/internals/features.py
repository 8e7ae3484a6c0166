"""The features task: latents of a dictionary trained here, labelled by rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect.errors import ConfigError, MeasureError
from introspect.internals.corpus import TokenStreams, corpus, read_tokens, words_of
from introspect.internals.dictionary import Dictionary, DictionarySpec, train_dictionary
from introspect.internals.latent_labels import Judge, LabelRule, label_latents, labels_from_file
from introspect.internals.row_table import Row, RowTable
from introspect.internals.simulators import Simulator
from introspect.internals.splitting import split_by_group
from introspect.internals.target import Target
from introspect.internals.word_lists import word_lists

__all__ = [
    "Features",
    "FeaturesSpec",
    "build_features",
    "detection_f1",
    "recompute_features",
    "simulator_correlation",
]


class FeaturesSpec(Checked):
    """How features are found and labelled.

    Attributes:
        layer: Whose stream; None for two fifths of the depth.
        texts: Texts of the corpus; a fifth of them is kept for detection.
        dictionary: How the dictionary is trained.
        least: Share of top contexts that a label must cover.
        fewest: Tokens at which a latent must speak.
        labels: A file of labels in place of the rule.
        test: Share of latents to test on.
        split: By "latent", or by "label": then no label of the test side is trained on.
        seed: Of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layer: int | None = None
    texts: int = Field(default=6000, ge=10)
    dictionary: DictionarySpec = DictionarySpec()
    least: float = Field(default=0.7, gt=0, le=1)
    fewest: int = Field(default=20, ge=1)
    labels: str | None = None
    test: float = Field(default=0.3, gt=0, lt=1)
    split: str = Field(default="latent", pattern="^(latent|label)$")
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Features:
    """What was built.

    Attributes:
        table: The questions.
        dictionary: The latents.
        held_out: Tokens that neither the dictionary nor the labels were made from.
    """

    table: RowTable
    dictionary: Dictionary
    held_out: TokenStreams


def build_features(
    target: Target,
    spec: FeaturesSpec | None = None,
    *,
    dictionary: Dictionary | None = None,
    judge: Judge | None = None,
    progress: Callable[[str], None] | None = None,
) -> Features:
    """Train a dictionary on a target's stream and label its latents.

    Args:
        target: The model.
        spec: How.
        dictionary: One that is there already, for instance from SAELens.
        judge: Labels what no rule explains.
        progress: Told how it goes.

    Raises:
        MeasureError: No latent could be labelled, or the dictionary is of another width.
        ConfigError: A file labels latents that are not there.
    """
    spec = spec or FeaturesSpec()
    layer = target.middle if spec.layer is None else spec.layer
    texts = corpus(spec.texts, spec.seed)
    cut = max(1, spec.texts // 5)
    held = read_tokens(target, texts[:cut], layer)
    taught = read_tokens(target, texts[cut:], layer)
    if progress is not None:
        progress(f"{len(taught.words)} tokens read at layer {layer}")
    made = dictionary or train_dictionary(taught.vectors, spec.dictionary, progress)
    latents, width = made.decoder.shape
    if width != target.width:
        raise MeasureError(
            f"the dictionary is of vectors of {width} numbers, the stream of {target} has {target.width}"
        )
    lists = word_lists()
    if spec.labels is not None:
        labels, coverage = labels_from_file(spec.labels), {"latents": float(latents)}
        if unknown := [one.latent for one in labels if not 0 <= one.latent < latents]:
            raise ConfigError(
                f"{spec.labels} labels latent {unknown[0]}; the dictionary has latents 0 to {latents - 1}"
            )
    else:
        labels, coverage = label_latents(made, taught, lists, least=spec.least, fewest=spec.fewest, judge=judge)
    if not labels:
        raise MeasureError(f"no latent could be labelled: {coverage}. More texts, or a lower `least` or `fewest`, help")
    rows = [
        Row(f"latent {one.latent}", one.label if spec.split == "label" else f"latent {one.latent}", "",
            {"layer": str(layer)}, one.label, part=one.kind, layer=layer,
            more={"latent": one.latent, "share": _plain(one.share), "rate": _plain(one.rate), "loud": list(one.loud),
                  "contexts": [[int(taught.texts[i]), int(taught.places[i])] for i in one.contexts]})
        for one in labels
    ]  # fmt: skip
    rows = split_by_group(rows, spec.test, spec.seed)
    vectors = made.decoder[[one.latent for one in labels]]
    provenance = {
        **target.provenance,
        "layer": layer, "spec": spec.model_dump(mode="json"), "tokens": len(taught.words), "coverage": dict(coverage),
        "explained": _plain(made.explained), "version": 1,
    }  # fmt: skip
    return Features(RowTable("features", tuple(rows), vectors, provenance), made, held)


def recompute_features(target: Target, table: RowTable, dictionary: Dictionary) -> RowTable:
    """The rows anew, from whole runs over the texts that they name, one by one: another path than built them.

    How loudly the latent speaks at each stored token, whether it is among the k that speak there, and, for labels made
    by rule, the label of those tokens.
    """
    spec, layer = FeaturesSpec.model_validate(table.provenance["spec"]), int(table.provenance["layer"])
    texts = corpus(spec.texts, spec.seed)[max(1, spec.texts // 5) :]
    words = words_of(target, texts)
    rule = LabelRule([word.lower() for text in words for word in text[1:]], word_lists(), spec.least)
    rows, vectors = [], []
    for row in table.rows:
        latent, loud, contexts = int(row.more["latent"]), [], []
        for number, place in row.more["contexts"]:
            batch = target.encode([texts[number]])
            with target.reading(batch, [layer, target.n_layers - 1]) as streams:
                speaking, how = dictionary.encode(streams[layer][0, place : place + 1].float().cpu().numpy())
            loud.append(float(how[0][speaking[0] == latent].sum()))
            contexts.append(words[number][place].lower())
        truth = row.truth
        if row.part in ("token", "list"):
            named = rule(contexts)
            truth = named[0] if named is not None else ""
        rows.append(replace(row, truth=truth, more={**row.more, "loud": loud}))
        vectors.append(dictionary.decoder[latent])
    return RowTable(table.task, tuple(rows), np.array(vectors), table.provenance)


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def detection_f1(features: Features, table: RowTable, said: list[str | None]) -> npt.NDArray[np.float64]:
    """How well each said label tells where its latent speaks, on tokens that nothing was made from: F1 by row.

    A latent that speaks nowhere there is NaN; a label that was not readable is 0.
    """
    from introspect.internals.latent_labels import detection

    places, loud = features.dictionary.encode(features.held_out.vectors)
    lists, found = word_lists(), []
    for row, label in zip(table.rows, said, strict=True):
        latent = int(row.more["latent"])
        speaks = ((places == latent) & (loud > 0)).any(1)
        if not speaks.any():
            found.append(float("nan"))
            continue
        right, n_said, n_true = detection(label, lists, features.held_out, speaks) if label else (0, 0, 1)
        found.append(2 * right / (n_said + n_true))
    return np.array(found)


def simulator_correlation(
    features: Features, table: RowTable, said: list[str | None], simulator: Simulator
) -> npt.NDArray[np.float64]:
    """Pearson's r between a latent and what a simulator makes of its label, by row, on tokens nothing was made from.

    A latent that does not vary there is NaN. A simulator that says the same everywhere tells nothing, so it is 0, as is
    a label that was not readable.

    Args:
        features: The latents and the tokens.
        table: The rows.
        said: A label for each.
        simulator: Told a label and the tokens' words, says how loudly the latent will speak at each.

    Raises:
        MeasureError: It does not give one finite number a token.
    """
    places, loud = features.dictionary.encode(features.held_out.vectors)
    words, found = features.held_out.words, []
    for row, label in zip(table.rows, said, strict=True):
        true = np.where(places == int(row.more["latent"]), loud, 0.0).sum(1)
        told = np.zeros(len(true)) if label is None else np.asarray(simulator(label, words), np.float64)
        if told.shape != true.shape or not np.isfinite(told).all():
            raise MeasureError(
                f"for the label {label!r} the simulator gave {told.shape} numbers, {np.isfinite(told).sum()} of them "
                f"finite; expected one finite number for each of {len(words)} tokens"
            )
        if not true.std() > 0:
            found.append(float("nan"))
        else:
            found.append(float(np.corrcoef(true, told)[0, 1]) if told.std() > 0 else 0.0)
    return np.array(found)
