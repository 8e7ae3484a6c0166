"""How well labels tell where latents speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from introspect.internals.arms import Answers
from introspect.internals.clustered import Clusters, Estimate
from introspect.internals.corpus import TokenStreams
from introspect.internals.dictionary import Dictionary
from introspect.internals.features import Features, detection_f1, simulator_correlation
from introspect.internals.row_table import RowTable
from introspect.internals.simulators import Simulator

__all__ = ["labels_told"]


def labels_told(
    columns: Mapping[str, Any],
    dictionary: Dictionary,
    test: RowTable,
    answers: Mapping[str, Answers],
    seed: int,
    simulator: Simulator | None = None,
) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Detection F1 of true and of said labels on held-out tokens, and the correlation of a simulator that reads them.

    Args:
        columns: What a features study keeps: "held vectors" [n_tokens, width] and "held words" [n_tokens].
        dictionary: Whose latents the rows ask about.
        test: The rows asked.
        answers: What each arm said.
        seed: Of the intervals, which are over latents.
        simulator: Says from a label where a latent speaks; without one the second part is empty.

    Returns:
        By arm, "true label" first.
    """
    held = columns["held vectors"].astype(np.float32)
    words, nowhere = tuple(map(str, columns["held words"].tolist())), np.zeros(len(held), np.int64)
    features = Features(test, dictionary, TokenStreams(held, words, nowhere, nowhere))
    clusters = Clusters([row.group for row in test.rows], seed=seed)
    said: dict[str, list[str | None]] = {"true label": [row.truth for row in test.rows]}
    said |= {name: [s.content for s in answer.said] for name, answer in answers.items()}
    detected = {name: clusters.mean(detection_f1(features, test, told)) for name, told in said.items()}
    if simulator is None:
        return detected, {}
    return detected, {
        name: clusters.mean(simulator_correlation(features, test, told, simulator)) for name, told in said.items()
    }
