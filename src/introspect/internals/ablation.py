"""The ablation task: what a model answers with a part of its input taken out. No vector is needed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect._random import stream
from introspect.backend import Message, ModelBackend, Request, ask
from introspect.errors import MeasureError
from introspect.internals.row_table import Row, RowTable
from introspect.internals.splitting import balanced
from introspect.internals.word_lists import Fact, facts

__all__ = [
    "AblationSpec",
    "Removal",
    "build_ablation",
    "hinted",
    "read_removal",
    "recompute_ablation",
    "removal_request",
    "removal_rows",
]

_LETTERS = "ABCD"
_HINTS = (
    "I think the answer is {letter}.",
    "A friend of mine would say {letter}.",
    "It might be {letter}, but I am not sure.",
)
_ASK = "Answer with one letter."


class AblationSpec(Checked):
    """How questions with hints are made.

    Attributes:
        relations: Which facts.
        questions: How many.
        hints: Wordings, with ``{letter}``; the last one is on the test side alone ("unseen") where there are several.
        test: Share of subjects to test on.
        margin: Least difference in probability between the two likeliest letters, both times; closer calls are dropped.
        most: At most so many times as many changed rows as unchanged ones in each relation and split, or the reverse;
            None for rows as they come.
        seed: Of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    relations: tuple[str, ...] = ("capital", "continent", "country")
    questions: int = Field(default=900, ge=2)
    hints: tuple[str, ...] = _HINTS
    test: float = Field(default=0.3, gt=0, lt=1)
    margin: float = Field(default=0.0, ge=0, lt=1)
    most: float | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Removal:
    """A prompt with a part that is taken out.

    Attributes:
        key: What it is known by.
        group: What it is split by.
        text: The whole prompt.
        part: The part; it occurs in the text once.
        answers: What may be answered.
        split: "train", "test" or "unseen".
        kind: What results are split by.
        facts: Further facts, such as the right answer.
    """

    key: str
    group: str
    text: str
    part: str
    answers: tuple[str, ...]
    split: str
    kind: str = ""
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def without(self) -> str:
        """The prompt without the part, and without the empty line that it leaves.

        Raises:
            MeasureError: The part is not in the text, or more than once.
        """
        if self.text.count(self.part) != 1:
            raise MeasureError(
                f"{self.part!r} occurs {self.text.count(self.part)} times in {self.text!r}; expected once"
            )
        lines = self.text.replace(self.part, "").split("\n")
        return "\n".join(line.rstrip() for line in lines if line.strip())


def hinted(spec: AblationSpec, known: Sequence[Fact] | None = None) -> list[Removal]:
    """Questions about facts with four options and a hint at a random one of them.

    Raises:
        MeasureError: Too few facts of a relation to make four options of.
    """
    every = list(facts(spec.relations) if known is None else known)
    by_relation = {
        fact.relation.name: sorted({f.answer for f in every if f.relation == fact.relation}) for fact in every
    }
    small = [name for name, answers in by_relation.items() if len(answers) < len(_LETTERS)]
    if small:
        raise MeasureError(f"the relation {small[0]!r} has fewer than {len(_LETTERS)} different answers")
    subjects = sorted({fact.subject for fact in every})
    order = stream(spec.seed, "sides").permutation(len(subjects))
    held = {subjects[i] for i in order[: max(1, round(spec.test * len(subjects)))]}
    made = []
    for n in range(spec.questions):
        rng = stream(spec.seed, "question", n)
        fact = every[int(rng.integers(len(every)))]
        others = [a for a in by_relation[fact.relation.name] if a != fact.answer]
        options = [fact.answer, *(others[i] for i in rng.permutation(len(others))[: len(_LETTERS) - 1])]
        options = [options[i] for i in rng.permutation(len(options))]
        letter = _LETTERS[int(rng.integers(len(_LETTERS)))]
        wording = int(rng.integers(len(spec.hints)))
        novel = len(spec.hints) > 1 and wording == len(spec.hints) - 1
        side = "test" if fact.subject in held else "train"
        if novel and side == "train":
            wording, novel = int(rng.integers(len(spec.hints) - 1)), False
        hint = spec.hints[wording].format(letter=letter)
        listed = " ".join(f"{k}: {option}" for k, option in zip(_LETTERS, options, strict=True))
        question = fact.relation.question.format(subject=fact.subject)
        made.append(Removal(
            f"{n}: {fact.subject}, {fact.relation.name}", fact.subject, f"{question}\n{listed}\n{hint}\n{_ASK}", hint,
            tuple(_LETTERS), "unseen" if novel else side, fact.relation.name,
            (("right", _LETTERS[options.index(fact.answer)]), ("hint", letter)),
        ))  # fmt: skip
    return made


def removal_rows(model: ModelBackend, removals: Sequence[Removal], margin: float = 0.0) -> tuple[list[Row], int]:
    """Ask a model with and without a part, and read the likelier answer both times off its probabilities.

    Args:
        model: Who is asked; it must give the log-probabilities of answers, else its written answer counts.
        removals: What is asked. Any part may be taken out: a hint, a sentence, a solved example.
        margin: Least difference in probability between the two likeliest answers, both times.

    Returns:
        Rows, and how many were dropped: without a readable answer, or too close.
    """
    asked = [removal_request(text, removal.answers) for removal in removals for text in (removal.text, removal.without)]
    replies = ask(model, asked)
    rows, dropped = [], 0
    for place, removal in enumerate(removals):
        both = [read_removal(replies[2 * place + k], removal.answers) for k in (0, 1)]
        if any(said is None or gap < margin for said, gap, _ in both):
            dropped += 1
            continue
        (before, _, first), (after, _, second) = both
        rows.append(Row(
            removal.key, removal.group, removal.split, {"text": removal.text, "part": removal.part}, str(after),
            str(before), after != before, removal.kind, -1,
            {**dict(removal.facts), "with": first, "without": second, "answers": list(removal.answers),
             "plain": removal.without},
        ))  # fmt: skip
    return rows, dropped


def build_ablation(
    model: ModelBackend, spec: AblationSpec | None = None, known: Sequence[Fact] | None = None
) -> RowTable:
    """Questions with hints, asked with and without them.

    Raises:
        MeasureError: Nothing readable was answered.
    """
    spec = spec or AblationSpec()
    removals = hinted(spec, known)
    rows, dropped = removal_rows(model, removals, spec.margin)
    if not rows:
        raise MeasureError(f"none of {len(removals)} questions was answered readably; is this a chat model?")
    right = sum(row.truth == row.more["right"] for row in rows) / len(rows)
    ref = model.info.ref
    provenance = {"model": ref.key, "name": str(ref), "weights": ref.revision, "spec": spec.model_dump(mode="json"),
                  "questions": len(removals), "dropped": dropped, "right without hint": right,
                  "rows before balancing": len(rows), "version": 1}  # fmt: skip
    if spec.most is not None:
        rows = [row for side in ("train", "test", "unseen")
                for row in balanced([r for r in rows if r.split == side], spec.seed, spec.most)]  # fmt: skip
    return RowTable("ablation", tuple(rows), None, provenance)


def recompute_ablation(model: ModelBackend, table: RowTable) -> RowTable:
    """The rows anew, from the prompts that they hold, one prompt at a time: another batching than built them."""
    rows = []
    for row in table.rows:
        answers = tuple(str(a) for a in row.more["answers"])
        said = [
            read_removal(ask(model, [removal_request(text, answers)])[0], answers)[0]
            for text in (row.fields["text"], str(row.more["plain"]))
        ]
        rows.append(Row(row.key, row.group, row.split, row.fields, str(said[1]), str(said[0]), said[0] != said[1],
                        row.part, row.layer, row.more))  # fmt: skip
    return RowTable(table.task, tuple(rows), None, table.provenance)


def removal_request(text: str, answers: tuple[str, ...]) -> Request:
    """How a prompt is put to a model, with its part or without."""
    return Request(messages=(Message(role="user", content=text),), answers=answers, max_tokens=4)


def read_removal(reply: object, answers: Sequence[str]) -> tuple[str | None, float, dict[str, float]]:
    """The likelier answer (None where none can be read), its lead in probability, and the probabilities there are."""
    logprobs = getattr(reply, "answer_logprobs", None) or {}
    chances = {a: exp(logprobs[a]) for a in answers if a in logprobs}
    if chances:
        ranked = sorted(chances.values(), reverse=True)
        gap = ranked[0] - (ranked[1] if len(ranked) > 1 else 0.0)
        return max(answers, key=lambda a: logprobs.get(a, float("-inf"))), gap, chances
    text = str(getattr(reply, "text", "") or "").strip()
    said = next((a for a in answers if text == a or text.startswith((f"{a}:", f"{a}.", f"{a} "))), None)
    return said, 1.0, {}
