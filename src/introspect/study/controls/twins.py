"""Twins: the same model, the same lessons, another order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from introspect.study.controls.base import ControlContext
from introspect.study.graph import Node
from introspect.training import FineTuned

__all__ = ["twin_nodes"]


def twin_nodes(ctx: ControlContext, number: int) -> list[Node]:
    """Steps that make a twin: instilled from the same choices in another order, and report-trained like the study's
    own model. Controls that need the same twin share it.
    """
    stages, seed, name = ctx.stages, ctx.seed, f"twin{number}"

    def instil(got: Mapping[str, Any]) -> FineTuned:
        draw = got["draw"]
        return stages.train(
            seed, name, stages.model, stages.protocol.instil,
            lambda tuner, base: tuner.instil(base, draw.instil, draw.taught), draw.instil.hash,
        )  # fmt: skip

    nodes = [Node(f"train {name}", ("draw",), instil), ctx.choices_of(name, f"train {name}")]
    for k, (_, test) in enumerate(ctx.folds, 1):
        own = f"{name} fold{k}"
        nodes += [ctx.fold_training(own, f"train {name}", k), ctx.reports_of(own, f"train {own}", test)]
    return nodes
