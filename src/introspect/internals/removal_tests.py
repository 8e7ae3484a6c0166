"""What is checked of the ablation task before anything is believed: what was cut out, and that answers hold."""

from __future__ import annotations

from collections.abc import Sequence

from introspect._random import stream
from introspect.backend import Message, ModelBackend, ModelRef, Request, ask
from introspect.internals.ablation import read_removal, removal_request
from introspect.internals.row_table import Row, RowTable
from introspect.internals.self_tests import Check

__all__ = ["removal_tests", "training_arrived"]

_ROWS = 4


def removal_tests(model: ModelBackend, table: RowTable, seed: int = 0) -> tuple[Check, ...]:
    """Hold rows against what can be worked out by hand: no vector enters this task, so none of a vector's checks apply.

    Every prompt without its part is compared with one cut by hand. Of a few rows both prompts are asked anew, one by
    one, and where the weights are on this machine also read off a plain run of the network: without batch, cache,
    shared beginning or another's adapter. Asked after training, the same checks show that the model was left alone.

    Args:
        model: Who was asked.
        table: Its rows.
        seed: Which rows are asked anew.
    """
    some = [table.rows[i] for i in sorted(stream(seed, "self-tests").permutation(len(table))[:_ROWS].tolist())]
    found = [_cut_by_hand(table.rows), _asked_anew(model, some)]
    if all(row.more["with"] and row.more["without"] for row in table.rows):
        found.append(_part_is_read(table.rows))
    ref = model.info.ref
    if ref.provider == "transformers":
        found.append(_plain_run(ref, some))
    return tuple(found)


def training_arrived(tuned: ModelBackend, source: ModelBackend, questions: Sequence[str]) -> Check:
    """The trained model answers otherwise than the one it was trained from.

    Args:
        tuned: The explainer.
        source: What it was trained from.
        questions: Some of what it is asked.
    """
    asked = [Request(messages=(Message(role="user", content=q),), answers=("now", "still")) for q in questions]
    both = [[read_removal(reply, ("now", "still")) for reply in ask(model, asked)] for model in (tuned, source)]
    gaps = [_gap(one[2], other[2]) for one, other in zip(*both, strict=True) if one[2] and other[2]]
    if gaps:
        passed, figure = max(gaps) > 1e-6, max(gaps)
    else:  # models that give no probabilities are told apart by what they are
        passed = tuned.info.ref.identity() != source.info.ref.identity()
        figure = float(passed)
    return Check("training reached the explainer", passed, figure)


def _cut_by_hand(rows: Sequence[Row]) -> Check:
    """Figure: rows whose prompt without the part is not what stands before and after the part."""
    wrong = 0
    for row in rows:
        text, part = row.fields["text"], row.fields["part"]
        start = text.find(part)
        around = f"{text[:start]}{text[start + len(part) :]}".split()
        wrong += not part or start < 0 or str(row.more["plain"]).split() != around
    return Check("a prompt without its part is the prompt with the part cut out by hand", wrong == 0, float(wrong))


def _asked_anew(model: ModelBackend, rows: Sequence[Row]) -> Check:
    """Figure: the largest change of a probability, or the share of other answers where there are no probabilities."""
    gaps, other = [], []
    near = 0.05
    for row in rows:
        answers = tuple(str(a) for a in row.more["answers"])
        for text, said, chances in _both(row):
            (reply,) = ask(model, [removal_request(text, answers)])
            if reply.provenance.get("dtype") == "float32":
                near = 2e-3
            again = read_removal(reply, answers)
            if chances and again[2]:
                gaps.append(_gap(again[2], chances))
            else:
                other.append(again[0] != said)
    figure = max(gaps) if gaps else sum(other) / len(other)
    # A hosted model may answer a close call either way; an eighth of the answers is one.
    passed = (not gaps or max(gaps) <= near) and (not other or sum(other) <= max(1, len(other) // 8))
    return Check("rows asked anew, one by one, are answered alike", passed, figure)


def _part_is_read(rows: Sequence[Row]) -> Check:
    """A part that changes no probability in any row did not reach the model: it was cut off, or never sent."""
    gap = max(_gap(row.more["with"], row.more["without"]) for row in rows)
    return Check("with a part and without it the model's probabilities differ", gap > 0, gap)


def _plain_run(ref: ModelRef, rows: Sequence[Row]) -> Check:
    gaps, near = [], 2e-3
    for row in rows:
        answers = tuple(str(a) for a in row.more["answers"])
        for text, said, chances in _both(row):
            by_hand, exact = _by_hand(ref, removal_request(text, answers))
            near = near if exact else 0.05
            if by_hand and chances:
                gaps.append(_gap(by_hand, chances))
            elif by_hand:
                gaps.append(float(max(by_hand, key=lambda a: by_hand[a]) != said))
    figure = max(gaps, default=0.0)
    return Check("a plain run of the network by hand gives the stored probabilities", figure <= near, figure)


def _by_hand(ref: ModelRef, request: Request) -> tuple[dict[str, float], bool]:
    """Probabilities of a request's answers, and whether they were computed in float32."""
    import torch

    from introspect.backend.local.answers import first_tokens
    from introspect.backend.local.bases import acquire, asked_dtype, pick_device, pick_dtype, weights_of
    from introspect.backend.local.loading import Loading

    weights, device = weights_of(ref), pick_device()
    base = acquire(weights, device, pick_dtype(device, asked_dtype(ref)), Loading.of(ref.settings))
    text = base.codec.prompt_text(request)
    tokens = first_tokens(base.codec, text, request.answers or ())
    if isinstance(tokens, str):
        return {}, True
    ids = torch.tensor([base.codec.encode(text)], device=base.device)
    with base.wearing(weights) as network, torch.no_grad():
        chances = torch.softmax(network(input_ids=ids, use_cache=False).logits[0, -1].double(), -1)
    return {name: float(chances[list(few)].sum()) for name, few in tokens.items()}, base.dtype == torch.float32


def _both(row: Row) -> tuple[tuple[str, str, dict[str, float]], tuple[str, str, dict[str, float]]]:
    more = row.more
    return (row.fields["text"], row.before, more["with"]), (str(more["plain"]), row.truth, more["without"])


def _gap(one: dict[str, float], other: dict[str, float]) -> float:
    """Largest difference of probabilities, each among the answers alone: a model may say much else."""
    sums = [sum(chances.values()) or 1.0 for chances in (one, other)]
    return max(abs(one.get(name, 0.0) / sums[0] - other.get(name, 0.0) / sums[1]) for name in {*one, *other})
