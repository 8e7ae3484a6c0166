"""Self against other: is it self-knowledge, or coordinates that two models share?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from introspect.internals.arms import Answers, Asker, blank, shuffled
from introspect.internals.clustered import Estimate
from introspect.internals.corpus import corpus
from introspect.internals.explainer import ExplainerSpec
from introspect.internals.explainer_training import train_explainer
from introspect.internals.questions import QUESTIONS
from introspect.internals.row_table import RowTable
from introspect.internals.scores import Scores, paired, score
from introspect.internals.self_tests import require, self_test
from introspect.internals.soft_map import SoftMap, fit_ridge
from introspect.internals.target import Target

__all__ = ["AccessReport", "alignment", "privileged_access", "rotation", "taught_on"]

Floats = npt.NDArray[np.float32]

_Arm = tuple[Target, Callable[[Floats], Floats]]


@dataclass(frozen=True)
class AccessReport:
    """Who explains a target's vectors how well, each explainer trained on the same rows.

    Attributes:
        scores: By arm.
        against: Self minus each other arm, of the main figure, on the same rows.
        main: The figure.
        aligned: Share of variance that the closed-form map to each other model explains on held-out tokens.
        scaling: Rows as `rows()` has them, without the floors, for fewer training rows; "rows" says how many.
    """

    scores: dict[str, Scores]
    against: dict[str, Estimate]
    main: str
    aligned: dict[str, float]
    scaling: tuple[dict[str, Any], ...] = ()

    def rows(self) -> list[dict[str, Any]]:
        """One row an arm: the main figure, and self minus it."""
        made = []
        for name, scores in self.scores.items():
            figure, gap = scores.figures[self.main], self.against.get(name)
            made.append({
                "explainer": name, self.main: figure.value, "low": figure.interval.low, "high": figure.interval.high,
                "self minus it": None if gap is None else gap.value,
                "gap low": None if gap is None else gap.interval.low,
                "gap high": None if gap is None else gap.interval.high,
            })  # fmt: skip
        return made

    def sentences(self) -> list[str]:
        """The report in words."""
        lines = [
            f"{name}: {scores.title(self.main)} {scores.figures[self.main]}" for name, scores in self.scores.items()
        ]
        for name, gap in self.against.items():
            verdict = "not told apart"
            if gap.excludes_zero:
                verdict = "self is better" if gap.value > 0 else "self is worse"
            lines.append(f"self minus {name}: {gap}: {verdict}")
        lines += [
            f"map to {name}: {share:.2f} of the variance of held-out tokens" for name, share in self.aligned.items()
        ]
        for row in self.scaling:
            gap = row["self minus it"]
            less = "" if gap is None else f"; self minus it {gap:.3f} [{row['gap low']:.3f}, {row['gap high']:.3f}]"
            lines.append(f"on {row['rows']} rows, {row['explainer']}: {self.main} {row[self.main]:.3f}{less}")
        return lines


def rotation(width: int, seed: int = 0) -> Floats:
    """A random orthogonal matrix: the same vectors in other coordinates, as far from the model's own as they can be.

    Example:
        >>> q = rotation(8)
        >>> bool(np.allclose(q @ q.T, np.eye(8), atol=1e-5))
        True
    """
    made, upper = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    rotated: Floats = (made * np.sign(np.diag(upper))).astype(np.float32)
    return rotated


def alignment(
    target: Target, other: Target, layer: int, other_layer: int, texts: Sequence[str] | None = None
) -> tuple[SoftMap, float]:
    """The closed-form affine map from a target's stream to another model's, at the ends of the same texts.

    Both models read the same words, whatever their tokenizers; compared are the streams at each text's last token.

    Returns:
        The map, and the share of variance that it explains on held-out texts.
    """
    words = list(texts) if texts is not None else [text.rsplit(" ", 1)[0] for text in corpus(1200, seed=9)]
    return fit_ridge(target.read(words, [layer])[:, 0], other.read(words, [other_layer])[:, 0], penalty=1.0)


def privileged_access(
    target: Target,
    table: RowTable,
    spec: ExplainerSpec,
    others: dict[str, Target],
    *,
    retrieval: int = 20,
    sizes: Sequence[int] = (),
    seed: int = 0,
    most_test: int = 200,
    texts: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> AccessReport:
    """Train self and others on the same rows about the same target, and hold them against each other.

    Arms: "self"; "self, rotated": the target explains its own vectors after one random rotation of all of them, so that
    its own coordinates are of no use unless the map undoes it; each other model; "NAME, aligned": the same after a
    closed-form map into its own stream; "no vector"; "shuffled vector". If self beats the others but not the rotated
    self or the aligned others, what it has is shared coordinates and not knowledge of itself.

    Args:
        target: Whose vectors they are.
        table: Questions of a task with vectors; rows of the split "test" are asked.
        spec: How every explainer is trained.
        others: Other models by name: a sibling, another seed, another family.
        retrieval: Labels that the true one is retrieved from; 0 for tasks with two sentences.
        sizes: Also train self, others and both controls on so many rows, in as many steps as on all: a curve.
        seed: Of the draws.
        most_test: Most rows asked.
        texts: Read by both models for the map between them; see `alignment`.
        progress: Told how it goes.

    Example:
        >>> from introspect.internals.planted import PlantedSpec, build_planted
        >>> from introspect.internals.tiny import tiny_target
        >>> one, other = tiny_target(), tiny_target(seed=1)
        >>> table = build_planted(one, PlantedSpec(seen=4, directions=3, test=2))
        >>> report = privileged_access(one, table, ExplainerSpec(epochs=1), {"other": other}, retrieval=3)
        >>> list(report.scores)
        ['self', 'self, rotated', 'other', 'other, aligned', 'no vector', 'shuffled vector']
    """
    say = progress or (lambda _: None)
    for model in (target, *others.values()):
        require(self_test(model, spec.soft))
    test = table.of("test")
    test = test.take(np.random.default_rng(seed).permutation(len(test))[:most_test].tolist())
    question = QUESTIONS[table.task]
    closed = not question.branches
    asker = Asker(question, table.labels if closed else None, retrieval if closed else 0, seed, 6)
    assert table.vectors is not None
    assert test.vectors is not None
    q = rotation(table.vectors.shape[1], seed)
    layer = int(table.rows[0].layer)
    aligned: dict[str, float] = {}
    arms: dict[str, _Arm] = {
        "self": (target, lambda v: v),
        "self, rotated": (target, lambda v: (v @ q.T).astype(np.float32)),
    }
    for name, other in others.items():
        there = round(layer * other.n_layers / target.n_layers)
        mapped, aligned[name] = alignment(target, other, layer, min(there, other.n_layers - 1), texts)
        matrix = mapped.matrix.detach().numpy()
        arms[name] = (other, lambda v: v)
        arms[f"{name}, aligned"] = (other, lambda v, m=matrix: (v @ m.T).astype(np.float32))  # type: ignore[misc]

    def trained(part: RowTable, part_spec: ExplainerSpec, named: dict[str, _Arm]) -> dict[str, Answers]:
        answers: dict[str, Answers] = {}
        for name, (source, change) in named.items():
            say(f"training on {len(part.of('train'))} rows and asking: {name}")
            assert part.vectors is not None
            assert test.vectors is not None
            made = train_explainer(source, part.with_vectors(change(part.vectors)), question, part_spec)
            answers[name] = asker.ask(made.explainer, test.with_vectors(change(test.vectors)))
            if name == "self" and part is table:
                answers["shuffled vector"] = asker.ask(made.explainer, test, shuffled(test, seed))
        return answers

    main = "retrieval" if closed else "exact"

    def judged(answers: dict[str, Answers]) -> tuple[dict[str, Scores], dict[str, Estimate]]:
        scores = {name: score(test, a.said, a.retrieved, seed, among=a.among) for name, a in answers.items()}
        return scores, {n: paired(test, scores["self"], s, main, seed) for n, s in scores.items() if n != "self"}

    answers = trained(table, spec, {**arms, "no vector": (target, blank)})
    answers["shuffled vector"] = answers.pop("shuffled vector")
    scores, against = judged(answers)
    curve: list[dict[str, Any]] = []
    for size in sizes:
        few = AccessReport(*judged(trained(*taught_on(table, spec, size, seed), arms)), main, {})
        curve += [{"rows": size, **row} for row in few.rows()]
    return AccessReport(scores, against, main, aligned, tuple(curve))


def taught_on(table: RowTable, spec: ExplainerSpec, rows: int, seed: int = 0) -> tuple[RowTable, ExplainerSpec]:
    """The table with so many of its training rows, and settings that make as many steps of them as of all.

    Otherwise fewer rows would also be less training.

    Example:
        >>> from introspect.internals.planted import PlantedSpec, build_planted
        >>> from introspect.internals.tiny import tiny_target
        >>> table = build_planted(tiny_target(), PlantedSpec(seen=4, directions=3, test=2))
        >>> few, longer = taught_on(table, ExplainerSpec(epochs=2), 3)
        >>> len(table.of("train")), len(few.of("train")), longer.epochs
        (12, 3, 8)
    """
    train = [place for place, row in enumerate(table.rows) if row.split == "train"]
    kept = np.random.default_rng(seed).permutation(len(train))[: max(1, rows)].tolist()
    chosen = {train[place] for place in kept}
    few = table.take([p for p, row in enumerate(table.rows) if row.split != "train" or p in chosen])
    return few, spec.model_copy(update={"epochs": math.ceil(spec.epochs * len(train) / len(kept))})
