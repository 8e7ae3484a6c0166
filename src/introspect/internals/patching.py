"""The patching task: what a model says next when a stretch of its layers is given another run's vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect._random import stream
from introspect.errors import MeasureError
from introspect.internals.clean_run import CleanRun
from introspect.internals.row_table import Row, RowTable
from introspect.internals.splitting import balanced
from introspect.internals.target import Target
from introspect.internals.token_batch import TokenBatch
from introspect.internals.word_lists import Fact, Relation, facts
from introspect.internals.write import Write

__all__ = ["PatchingSpec", "build_patching", "recompute_patching", "stretches"]

_ROLES = ("subject", "relation", "last")


class PatchingSpec(Checked):
    """How patches are made.

    Attributes:
        relations: Which facts.
        facts: At most so many of them, those of the most populous countries; None for all.
        pairs: Pairs of subjects, of both splits together.
        blocks: Into how many stretches the layers are cut.
        roles: Where is patched: "subject" (its last token), "relation" (the token before the last), "last".
        test: Share of subjects to test on.
        unseen: Relations that are never taught: asked about test subjects alone, and reported apart.
        most: At most so many times as many changed rows as unchanged ones in each role and stretch, or the reverse.
        only_right: Keep only facts that the model gets right.
        batch_size: Pairs a pass.
        seed: Of the draws.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    relations: tuple[str, ...] = ("capital", "continent", "country")
    facts: int | None = Field(default=None, ge=2)
    pairs: int = Field(default=300, ge=2)
    blocks: int = Field(default=4, ge=1)
    roles: tuple[str, ...] = _ROLES
    test: float = Field(default=0.3, gt=0, lt=1)
    unseen: tuple[str, ...] = ()
    most: float = Field(default=2.0, ge=1)
    only_right: bool = True
    batch_size: int = Field(default=24, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class _Prompt:
    fact: Fact
    text: str
    span: tuple[int, int]

    @classmethod
    def of(cls, fact: Fact) -> _Prompt:
        text = fact.relation.stem.format(subject=fact.subject)
        start = text.index(fact.subject)
        return cls(fact, text, (start, start + len(fact.subject)))


def stretches(layers: int, blocks: int) -> list[range]:
    """Equal stretches of layers.

    Example:
        >>> stretches(30, 4)
        [range(0, 7), range(7, 15), range(15, 22), range(22, 30)]
    """
    edges = [layers * k // blocks for k in range(blocks + 1)]
    return [range(a, b) for a, b in pairwise(edges) if b > a]


def build_patching(
    target: Target,
    spec: PatchingSpec | None = None,
    known: Sequence[Fact] | None = None,
    progress: Callable[[str], None] | None = None,
) -> RowTable:
    """Patch runs over facts with vectors of runs over other subjects of the same relation.

    The other run's stream at a role is averaged over a stretch of layers, and written at the same role of this run
    after every layer of the stretch. What is asked is the next word before and after. The other subject is not named in
    the question. Subjects are cut into two sides first; both subjects of a pair are of one side.

    Args:
        target: The model.
        spec: How.
        known: Facts in place of those of the spec's relations.
        progress: Told how it goes.

    Raises:
        MeasureError: The model gets too few facts right to make pairs of.
    """
    spec = spec or PatchingSpec()
    every = list(facts(spec.relations) if known is None else known)[: spec.facts]
    prompts = [_Prompt.of(fact) for fact in every]
    said = _next_tokens(target, prompts)
    right = [_first(target, p.fact.answer) == token for p, token in zip(prompts, said, strict=True)]
    share = float(np.mean(right))
    if progress is not None:
        progress(f"{sum(right)} of {len(right)} facts are told right ({share:.2f})")
    kept = [p for p, ok in zip(prompts, right, strict=True) if ok or not spec.only_right]
    pairs = _pairs(kept, spec)
    if len(pairs) < 2:
        raise MeasureError(
            f"the model gets {sum(right)} of {len(right)} facts right, which leaves {len(pairs)} pairs; use other "
            f"relations, only_right: false, or train the model on the facts first"
        )
    rows: list[Row] = []
    vectors: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    for start in range(0, len(pairs), spec.batch_size):
        _patch(target, pairs[start : start + spec.batch_size], spec, rows, vectors)
        if progress is not None:
            progress(f"patched {min(start + spec.batch_size, len(pairs))} of {len(pairs)} pairs")
    fair = {row.key for row in balanced(rows, spec.seed, spec.most)}
    places = [i for i, row in enumerate(rows) if row.key in fair]
    provenance = {
        **target.provenance,
        "spec": spec.model_dump(mode="json"), "facts": len(every), "right": share, "pairs": len(pairs),
        "rows before balancing": len(rows), "version": 1,
    }  # fmt: skip
    return RowTable("patching", tuple(rows[i] for i in places), np.array([vectors[i] for i in places]), provenance)


def recompute_patching(target: Target, table: RowTable) -> RowTable:
    """The rows anew, one by one and by whole runs: another path than the one that built them."""
    rows, vectors = [], []
    for row in table.rows:
        relation = Relation(str(row.more["relation"]), str(row.more["stem"]), "")
        one, other = (_Prompt.of(Fact(str(row.more[k]), relation, "")) for k in ("subject", "other"))
        layers = [int(n) for n in row.more["layers"]]
        batch, far = _encode(target, [one]), _encode(target, [other])
        vector = target.read(far, layers, row.part, mean_layers=True)
        at = [batch.columns(row.part)[0][-1]]
        before = int(target.logits(batch).argmax())
        after = int(target.logits(batch, [Write(layers, torch.from_numpy(vector), at)]).argmax())
        vectors.append(vector[0])
        rows.append(Row(row.key, row.group, row.split, row.fields, _word(target, after), _word(target, before),
                        after != before, row.part, row.layer, row.more))  # fmt: skip
    return RowTable(table.task, tuple(rows), np.array(vectors), table.provenance)


def _encode(target: Target, prompts: Sequence[_Prompt]) -> TokenBatch:
    batch = target.encode([p.text for p in prompts], [{"subject": p.span} for p in prompts])
    roles = [
        {**known, "relation": (length - 2,)} for known, length in zip(batch.roles, batch.lengths.tolist(), strict=True)
    ]
    return TokenBatch(batch.inputs, batch.ids, batch.mask, tuple(roles))


def _next_tokens(target: Target, prompts: Sequence[_Prompt], size: int = 32) -> list[int]:
    found: list[int] = []
    for start in range(0, len(prompts), size):
        batch = _encode(target, prompts[start : start + size])
        found += target.logits(batch).argmax(-1).tolist()
    return found


def _first(target: Target, answer: str) -> int:
    return int(target.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"][0])


def _word(target: Target, token: int) -> str:
    return str(target.tokenizer.decode([token])).strip()


def _pairs(prompts: Sequence[_Prompt], spec: PatchingSpec) -> list[tuple[_Prompt, _Prompt, str]]:
    subjects = sorted({p.fact.subject for p in prompts})
    order = stream(spec.seed, "sides").permutation(len(subjects))
    held = {subjects[i] for i in order[: max(1, round(spec.test * len(subjects)))]}
    made = []
    for side in ("train", "test", "unseen"):
        taught = [p for p in prompts if (p.fact.relation.name in spec.unseen) == (side == "unseen")]
        here = [p for p in taught if (p.fact.subject in held) == (side != "train")]
        able = [
            (a, b) for a in here for b in here
            if a.fact.relation.name == b.fact.relation.name and a.fact.answer != b.fact.answer
        ]  # fmt: skip
        wanted = round(spec.pairs * (1 - spec.test if side == "train" else spec.test))
        drawn = stream(spec.seed, "pairs", side).permutation(len(able))[:wanted]
        made += [(*able[i], side) for i in sorted(drawn.tolist())]
    return made


def _patch(
    target: Target,
    pairs: Sequence[tuple[_Prompt, _Prompt, str]],
    spec: PatchingSpec,
    rows: list[Row],
    vectors: list[np.ndarray[tuple[int], np.dtype[np.float32]]],
) -> None:
    batch, far = _encode(target, [a for a, _, _ in pairs]), _encode(target, [b for _, b, _ in pairs])
    before = target.logits(batch).argmax(-1).tolist()
    cuts = stretches(target.n_layers, spec.blocks)
    kept = CleanRun(target, batch, [cut[0] for cut in cuts])
    with target.reading(far, range(target.n_layers)) as streams:  # one run of the other side serves all patches
        ends = {role: torch.tensor([row[-1] for row in far.columns(role)]) for role in spec.roles}
        heard = {
            role: torch.stack(
                [streams[k][torch.arange(len(pairs)), ends[role]].float() for k in range(target.n_layers)]
            )
            for role in spec.roles
        }
    for cut in cuts:
        for role in spec.roles:
            found = heard[role][list(cut)].mean(0).cpu().numpy()
            starts = batch.mask.int().argmax(-1).tolist()
            at = [columns[-1] - start for columns, start in zip(batch.columns(role), starts, strict=True)]
            after = kept.logits([Write(list(cut), torch.from_numpy(found), at)]).argmax(-1).tolist()
            for i, (one, other, side) in enumerate(pairs):
                words = _word(target, before[i]), _word(target, after[i])
                if not all(words):
                    continue
                place = batch.ids[i, batch.columns(role)[i][-1]]
                rows.append(Row(
                    f"{one.fact.relation.name}: {one.fact.subject} > {other.fact.subject}, {role}, {cut[0]}",
                    one.fact.subject, side,
                    {"text": one.text, "token": str(target.tokenizer.decode([int(place)])),
                     "layers": f"{cut[0]} to {cut[-1]}"},
                    words[1], words[0], after[i] != before[i], role, cut[0],
                    {"subject": one.fact.subject, "other": other.fact.subject, "relation": one.fact.relation.name,
                     "stem": one.fact.relation.stem, "layers": list(cut)},
                ))  # fmt: skip
                vectors.append(found[i])
