"""Who answers: the trained explainer, and everything that it must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from introspect._random import stream
from introspect.errors import ConfigError
from introspect.internals.explainer import Explainer, ExplainerSpec
from introspect.internals.linear_probe import LinearProbe, nearest
from introspect.internals.questions import Question, Said
from introspect.internals.row_table import RowTable
from introspect.internals.target import Target

__all__ = ["BASELINES", "Answers", "Asker", "blank", "candidates", "majority", "rules", "shuffled", "vector_baselines"]

Floats = npt.NDArray[np.float32]
BASELINES = ("zero-shot", "few-shot", "SelfIE", "nearest neighbour", "linear probe", "majority", "one more run")
_SCALES = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Answers:
    """One answer a row.

    Attributes:
        said: Read answers.
        retrieved: Whether the true label was picked among `candidates`; None where that was not asked.
        note: What should be known about them.
        among: From how many candidates each label was picked.
    """

    said: list[Said]
    retrieved: list[bool] | None = None
    note: str = ""
    among: list[int] | None = None


def candidates(
    table: RowTable, labels: Sequence[str], n: int, first: Callable[[str], int], seed: int
) -> list[list[str]]:
    """For each row its true label and n - 1 others that begin with other tokens, in random order.

    Args:
        table: The rows.
        labels: Which labels there are to choose from.
        n: How many candidates.
        first: The first token of a label's answer.
        seed: Of the draws.

    Returns:
        The true label alone where all begin with the same token: then nothing can be picked, and nothing is found.
    """
    made = []
    tokens = {label: first(label) for label in dict.fromkeys([*labels, *table.labels])}
    for row in table.rows:
        rng = stream(seed, "candidates", row.key)
        chosen = {tokens[row.truth]: row.truth}
        for i in rng.permutation(len(labels)):
            if len(chosen) >= n:
                break
            chosen.setdefault(tokens[labels[i]], labels[i])
        picked = list(chosen.values())
        made.append([picked[i] for i in rng.permutation(len(picked))])
    return made


class Asker:
    """Asks explainers the questions of one table.

    Args:
        question: The task's question.
        labels: All contents of answers; None where any content is readable.
        retrieval: Candidates to choose from; 0 where nothing is chosen.
        seed: Of wordings and candidates.
        max_new_tokens: Of a written answer, where any content is readable.
    """

    def __init__(
        self,
        question: Question,
        labels: Sequence[str] | None,
        retrieval: int = 0,
        seed: int = 0,
        max_new_tokens: int = 8,
    ) -> None:
        self.question, self.labels, self.retrieval, self.seed = question, labels, retrieval, seed
        self.max_new_tokens = max_new_tokens

    def ask(
        self, explainer: Explainer, table: RowTable, vectors: Floats | None = None, shown: Sequence[int] = (),
        examples: RowTable | None = None,
    ) -> Answers:  # fmt: skip
        """Written answers, and choices among candidates.

        Args:
            explainer: Who is asked.
            table: The questions.
            vectors: In place of the table's own.
            shown: Rows of `examples` that are shown solved, before every question.
            examples: Training rows.
        """
        own = table.vectors if vectors is None else vectors
        head, solved = "", None
        if examples is not None and len(shown):
            rows = [examples.rows[i] for i in shown]
            head = "".join(f"{self.question.text(r, self.seed)}{self.question.of(r)}\n\n" for r in rows)
            solved = None if examples.vectors is None else examples.vectors[list(shown)]
        prompts = [explainer.prompt(head + self.question.text(row, self.seed)) for row in table.rows]
        if own is not None and solved is not None:
            own = np.concatenate([np.repeat(solved[None], len(own), 0), own[:, None]], axis=1)
        named = self.candidates(explainer, table) if self.retrieval else []
        starts = {label: self._first(explainer, label) for label in {label for row in named for label in row}}
        tokens = [[starts[label] for label in row] for row in named]
        told, found = explainer.write(prompts, own, self._longest(explainer), first=tokens if self.retrieval else None)
        said = [self.question.read(text, self.labels) for text in told]
        if not self.retrieval:
            return Answers(said)
        picked = [
            len(names) > 1 and bool(np.isfinite(p).all()) and names[int(p.argmax())] == row.truth
            for names, p, row in zip(named, found, table.rows, strict=True)
        ]
        return Answers(said, picked, among=[len(names) for names in named])

    def _longest(self, explainer: Explainer) -> int:
        """New tokens to wait for: with known labels one more than the longest has, so that none is cut out of more."""
        if self.labels is None:
            return self.max_new_tokens
        return max(len(explainer.answer_ids(self.question.answer(label), end=False)) for label in self.labels) + 1

    def candidates(self, explainer: Explainer, table: RowTable) -> list[list[str]]:
        """What each row's label is retrieved from."""
        labels = list(self.labels or table.labels)
        return candidates(table, labels, self.retrieval, lambda x: self._first(explainer, x), self.seed)

    def _first(self, explainer: Explainer, label: str) -> int:
        return explainer.answer_ids(self.question.answer(label), end=False)[0]


def vector_baselines(
    names: Sequence[str], target: Target, table: RowTable, test: RowTable, asker: Asker, spec: ExplainerSpec
) -> dict[str, Answers]:
    """Baselines that need no training of a language model.

    Args:
        names: Of `BASELINES`.
        target: The untrained model.
        table: Training rows are taken from here.
        test: What is asked.
        asker: How.
        spec: Of the trained explainer: where vectors enter.

    Raises:
        ConfigError: An unknown baseline.
    """
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ConfigError(f"unknown baseline {unknown[0]!r}; known: {', '.join(BASELINES)}")
    train, question, found = table.of("train"), asker.question, {}
    assert train.vectors is not None
    assert test.vectors is not None
    plain = spec.model_copy(update={"method": "untrained"})
    sentences = [question.of(row) for row in train.rows]
    for name in names:
        if name == "zero-shot":
            found[name] = asker.ask(Explainer(target, plain), test)
        elif name == "few-shot":
            shown = stream(spec.seed, "shown").permutation(len(train))[:3].tolist()
            found[name] = asker.ask(Explainer(target, plain), test, None, shown, train)
        elif name == "SelfIE":
            found[name] = _selfie(target, train, test, asker, plain)
        elif name == "nearest neighbour":
            places = nearest(train.vectors, test.vectors)
            found[name] = _told(asker, target, plain, test, [sentences[i] for i in places])
        elif name == "linear probe":
            probe = LinearProbe.fit(train.vectors, sentences)
            scores = probe.scores(test.vectors)
            told = [probe.classes[i] for i in scores.argmax(1)]
            found[name] = _told(asker, target, plain, test, told, probe, scores)
        elif name == "one more run":  # asking the network itself is how the truth was found
            found[name] = _told(asker, target, plain, test, [question.of(row) for row in test.rows])
        else:
            found[name] = _told(asker, target, plain, test, [majority(sentences)] * len(test))
    return found


def majority(sentences: Sequence[str]) -> str:
    """The most frequent answer; of several the first in the alphabet.

    Example:
        >>> majority(["b", "a", "b"])
        'b'
    """
    counts = Counter(sentences)
    return min(counts, key=lambda s: (-counts[s], s))


def _told(
    asker: Asker, target: Target, spec: ExplainerSpec, test: RowTable, told: Sequence[str],
    probe: LinearProbe | None = None, scores: npt.NDArray[np.float64] | None = None,
) -> Answers:  # fmt: skip
    said = [asker.question.read(t, asker.labels) for t in told]
    if not asker.retrieval:
        return Answers(said)
    picked = []
    named = asker.candidates(Explainer(target, spec), test)
    for i, (row, names) in enumerate(zip(test.rows, named, strict=True)):
        if probe is not None and scores is not None:
            rank = {c.strip(): scores[i, k] for k, c in enumerate(probe.classes)}
            best = max(names, key=lambda n, r=rank: r.get(n, -np.inf))  # type: ignore[misc]
            picked.append(len(names) > 1 and best == row.truth)
        else:
            picked.append(said[i].content == row.truth)
    return Answers(said, picked, among=[len(names) for names in named])


def _selfie(target: Target, train: RowTable, test: RowTable, asker: Asker, spec: ExplainerSpec) -> Answers:
    """No training: unit vectors times a scale, which is chosen on training rows."""
    judged = train.take(stream(spec.seed, "scales").permutation(len(train))[:48].tolist())
    explainers = [
        Explainer(target, spec.model_copy(update={"mode": "unit", "scale": s, "add": False})) for s in _SCALES
    ]
    rates = []
    for explainer in explainers:
        made = asker.ask(explainer, judged)
        right = [s.content == row.truth for s, row in zip(made.said, judged.rows, strict=True)]
        rates.append((float(np.mean(made.retrieved if made.retrieved is not None else right)), float(np.mean(right))))
    best = max(range(len(rates)), key=lambda i: rates[i])
    made = asker.ask(explainers[best], test)
    note = f"scale {_SCALES[best]:g}, chosen on {len(judged)} training rows"
    return Answers(made.said, made.retrieved, note, made.among)


def shuffled(table: RowTable, seed: int) -> Floats:
    """The vectors of other rows, of another truth wherever there is one.

    Example:
        >>> from introspect.internals.row_table import Row
        >>> rows = tuple(Row(str(i), str(i), "test", {}, "ab"[i % 2]) for i in range(4))
        >>> shuffled(RowTable("planted", rows, np.arange(4, dtype=np.float32)[:, None], {}), 0)[0] % 2
        array([1.], dtype=float32)
    """
    assert table.vectors is not None
    places = []
    for i, row in enumerate(table.rows):
        others = [k for k, other in enumerate(table.rows) if other.truth != row.truth] or [
            k for k in range(len(table)) if k != i
        ]
        places.append(others[int(stream(seed, "shuffled", row.key).integers(len(others)))] if others else i)
    return table.vectors[places]


def rules(test: RowTable, train: RowTable) -> dict[str, Answers]:
    """Rules for questions with a hint: what needs no knowledge of the model.

    "correct answer": it would answer right, and now follows the hint. "hint letter": it stays with the hint. "one more
    question": ask the model without the part: the truth itself, since that is how the truth was found; the cost of
    knowing it is one query.
    """
    sentences = [(row.changed, row.truth) for row in train.rows]
    most = max(sorted(set(sentences), key=str), key=sentences.count)
    found = {
        "majority": [Said(most[1], most[0]) for _ in test.rows],
        "one more question": [Said(row.truth, row.changed) for row in test.rows],
    }
    if all("right" in row.more and "hint" in row.more for row in test.rows):
        found["correct answer"] = [Said(str(r.more["right"]), r.more["right"] != r.more["hint"]) for r in test.rows]
        found["hint letter"] = [Said(str(r.more["hint"]), False) for r in test.rows]
    return {name: Answers(said) for name, said in found.items()}


def blank(vectors: Floats) -> Floats:
    """No vector: zeros, so that only what a map adds by itself is left."""
    return torch.zeros(vectors.shape).numpy()
