"""What must hold before a study's figures mean anything. A gate flags; it never drops a row."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from pydantic import JsonValue

from introspect.study.arms import Arm
from introspect.study.seed_data import SeedData
from introspect.training import Verdict, judge

__all__ = ["Gate", "gates_of", "verdict_of"]

MIN_ACCURACY = 0.75
MIN_TARGET_R = 0.7
MAX_ONE_SIDED = 0.8
MIN_COVERAGE = 0.9
MAX_COST = 0.05


@dataclass(frozen=True)
class Gate:
    """One condition.

    Attributes:
        name: What is looked at.
        passed: Whether it holds.
        value: What was measured.
        bound: What it is held against.
        sentence: What it means and what to do.
    """

    name: str
    passed: bool
    value: float
    bound: float
    sentence: str

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON; undefined is null."""
        row: dict[str, JsonValue] = asdict(self)
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}


def verdict_of(data: SeedData) -> Verdict:
    """Whether instilling took in this seed, on fresh choices, with the likely causes if it did not."""
    after, before, tuned = data.choices["instilled"], data.choices["untuned"], data.tuned["instilled"]
    outside = after.mass_outside[np.isfinite(after.mass_outside)]
    trials = data.draw.measure
    return judge(
        after.chosen,
        trials.labels,
        n_options=max((block.n_options for block in trials.blocks), default=2),
        before=before.chosen,
        outside=float(outside.mean()) if len(outside) else float("nan"),
        canary=tuned.canary,
        losses=tuned.losses,
        per_context=len(data.draw.instil) / max(1, len(data.draw.instil.scenarios)),
    )


def gates_of(data: SeedData, arms: dict[str, Arm]) -> tuple[Gate, ...]:
    """The gates of one seed."""
    gates = []

    def gate(name: str, value: float, bound: float, at_least: bool, sentence: str) -> None:
        # An undefined value passes nothing.
        passed = bool(value >= bound) if at_least else bool(value <= bound)
        said = sentence.format(value=value, bound=bound) if np.isfinite(value) else f"{name}: cannot be told."
        gates.append(Gate(name, passed, float(value), bound, said))

    if "instilled" not in arms:
        return ()
    instilled = arms["instilled"]
    gate(
        "instilled", instilled.choice_accuracy, MIN_ACCURACY, True,
        "Only {value:.0%} of the instilled model's fresh choices follow the target (at least {bound:.0%} wanted): "
        "instilling did not take, so its reports have little to be right about. Train longer or on more choices.",
    )  # fmt: skip
    gate(
        "learned like target", instilled.learned_vs_target_r, MIN_TARGET_R, True,
        "The weights of the instilled model follow the target at r = {value:.2f} (at least {bound:.2f} wanted).",
    )  # fmt: skip
    for name, table in data.choices.items():
        if name == "untuned":
            continue  # An untuned model may well answer one letter only; it is not asked to know better.
        chosen = table.chosen[table.chosen >= 0]
        share = float(np.bincount(chosen).max() / len(chosen)) if len(chosen) else float("nan")
        gate(
            f"both sides chosen: {name}", share, MAX_ONE_SIDED, False,
            f"The model {name!r} gives one and the same letter in {{value:.0%}} of its choices "
            "(at most {bound:.0%} wanted): weights from one-sided answers are noise.",
        )  # fmt: skip
    for name in ("instilled", "report-trained", "native-before", "native-after"):
        if name in arms:
            gate(
                f"reports parse: {name}", arms[name].accuracy.coverage, MIN_COVERAGE, True,
                f"Only {{value:.0%}} of the contexts of arm {name!r} have a usable report (at least {{bound:.0%}} "
                "wanted): "
                "before and after may cover different contexts; compare them on the common ones.",
            )  # fmt: skip
    if "report-trained, weights after" not in arms:
        return tuple(gates)
    cost = instilled.choice_accuracy - arms["report-trained, weights after"].choice_accuracy
    gate(
        "report training keeps choices", cost, MAX_COST, False,
        "Report training cost {value:.1%} of choice accuracy (at most {bound:.0%} wanted): compare with weights "
        "measured after it.",
    )  # fmt: skip
    return tuple(gates)
