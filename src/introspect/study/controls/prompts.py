"""Prompts: do reports hold when they are asked for in other ways?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

from pydantic import Field

from introspect.backend.wire import ModelRef
from introspect.decision import ChatStyle, DecisionScenario
from introspect.measure import SelfReportProbe
from introspect.study.controls.base import ControlContext, Reading, Row, shown
from introspect.study.controls.reworded import OTHER_SCALE, PARAPHRASE, Reworded
from introspect.study.graph import Node
from introspect.study.protocols.sections import Section

__all__ = ["Prompts"]

Variant = Literal[
    "no-options", "one-at-a-time", "forced-comparison", "ranking", "key-order", "ranges", "name-only", "item-only",
    "persona", "paraphrase", "scale",
]  # fmt: skip
_WORDED = ("key-order", "ranges", "name-only", "item-only", "persona", "paraphrase", "scale")
_WORDINGS = {"paraphrase": PARAPHRASE, "scale": OTHER_SCALE}


class _Options(Section):
    variants: tuple[Variant, ...] = Field(default=get_args(Variant), min_length=1)


class Prompts:
    """The report-trained models' held-out reports, asked for in other formats and with parts of the prompt missing.

    "name-only" and "item-only" take the item or the chooser out of the prompt; "persona" puts another context's
    chooser in its place: a report that follows the name says what that name's owner would. "paraphrase" asks in other
    words, "scale" for numbers from -10 to 10.
    """

    word = "prompts"
    question = "Do reports hold when they are asked for in other ways?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """It fits every model; single variants may not."""
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Reports of each fold's model on what was held out, per variant."""
        nodes = []
        for variant in ctx.options.variants:
            if _unfit(ctx, variant):
                continue
            for k, (_, test) in enumerate(ctx.folds, 1):
                name = f"prompts {variant} {k}"

                def ask(got: Mapping[str, Any], variant: Variant = variant, name: str = name, k: int = k,
                        test: Sequence[str] = test) -> Any:  # fmt: skip
                    contexts = _contexts([ctx.stages.scenarios.by_id(i) for i in test], variant)
                    ref = got[f"train fold{k}"].ref
                    return ctx.stages.reports(ctx.seed, name, ref, contexts, probe=_probe(ctx, variant))

                nodes.append(Node(f"{name}: reports", (f"train fold{k}",), ask))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """Held-out r of each variant."""
        rows: list[Row] = [ctx.row("as the study asks", ctx.held_out(got, "fold"))]
        for variant in ctx.options.variants:
            why = _unfit(ctx, variant)
            if why:
                rows.append({"condition": variant, "note": f"not applicable: {why}"})
            else:
                rows.append(ctx.row(variant, ctx.held_out(got, f"prompts {variant} ")))
        known = [row for row in rows if isinstance(row.get("r"), float)]
        if not known:
            return Reading(tuple(rows), "However they were asked for, no reports could be scored.")
        low, high = min(known, key=lambda row: float(row["r"])), max(known, key=lambda row: float(row["r"]))  # type: ignore[arg-type]
        return Reading(
            tuple(rows),
            f"Over {len(known)} ways to ask, held-out r goes from {shown(low['r'])} ({low['condition']}) to "
            f"{shown(high['r'])} ({high['condition']}); rankings and comparisons say nothing of signs.",
        )


def _unfit(ctx: ControlContext, variant: Variant) -> str:
    if variant in _WORDED and not isinstance(ctx.stages.style, ChatStyle):
        return "it changes words of the prompt, and this model's language has none to change"
    return ""


def _probe(ctx: ControlContext, variant: Variant) -> SelfReportProbe:
    probe = ctx.stages.report_probe
    known: dict[str, dict[str, Any]] = {
        "no-options": {"report_options": "none"},
        "one-at-a-time": {"report_format": "single"},
        "forced-comparison": {"report_format": "comparison"},
        "ranking": {"report_format": "ranking"},
        "key-order": {"attribute_order": "trial"},
        "ranges": {"show_ranges": True},
    }
    style: Any = probe.style
    if variant in _WORDINGS:
        return replace(probe, style=Reworded(style, _WORDINGS[variant], variant))
    changes = known.get(variant, {})
    probe = replace(probe, style=replace(style, **changes), shuffle_attributes=variant == "key-order")
    # Greedy repeats without fresh options would all be alike.
    return replace(probe, options="none", k=1) if variant == "no-options" else probe


def _contexts(contexts: Sequence[DecisionScenario], variant: Variant) -> Sequence[DecisionScenario]:
    if variant not in ("name-only", "item-only", "persona"):
        return contexts
    changed = []
    for k, context in enumerate(contexts):
        if variant == "name-only":
            new = {"item": "option", "question": f"Which option would {context.chooser} take?"}
        else:
            chooser = "someone" if variant == "item-only" else contexts[(k + 1) % len(contexts)].chooser
            new = {"chooser": chooser, "question": context.question.replace(context.chooser, chooser)}
        changed.append(context.model_copy(update=new))
    return changed
