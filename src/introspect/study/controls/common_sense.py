"""Common sense: could the weights be guessed from the names?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from introspect.backend.wire import ModelRef
from introspect.decision import ScenarioSet
from introspect.measure import ReportTable
from introspect.study.controls.base import ControlContext, Reading, Row, plain, shown
from introspect.study.graph import Node
from introspect.study.protocols.compiling import backend_ref
from introspect.study.protocols.sections import Section

__all__ = ["CommonSense"]


class _Options(Section):
    models: tuple[str, ...] = ()


class CommonSense:
    """What the untuned model, and models of no relation to it, say of the same choosers, taken out of r.

    Above all on native contexts, where preferences come from somewhere and may be what anyone would guess.
    """

    word = "common-sense"
    question = "Could the weights be guessed from who chooses and what is chosen?"
    Options = _Options

    def unfit(self, model: ModelRef, options: Any) -> str:
        """An organism's contexts are words without meaning."""
        if model.provider == "organism":
            return "the contexts of an organism are words without meaning; there is nothing to guess them from"
        return ""

    def nodes(self, ctx: ControlContext) -> Sequence[Node]:
        """Reports of each independent model, on instilled and native contexts."""
        stages, nodes = ctx.stages, []
        for model in ctx.options.models:
            for where, contexts in (("", stages.scenarios), ("native ", stages.native)):
                if contexts:

                    def ask(
                        _: Mapping[str, Any], model: str = model, where: str = where, contexts: ScenarioSet = contexts
                    ) -> ReportTable:
                        name = f"common sense {model}"
                        return stages.reports(ctx.seed, name, backend_ref(model), contexts, where)

                    nodes.append(Node(f"common sense {model}: {where}reports", (), ask))
        return nodes

    def read(self, ctx: ControlContext, got: Mapping[str, Any]) -> Reading:
        """r of each guesser, and what is left of the model's own r beyond it."""
        data, rows, left = ctx.seed_data, [], []
        places: list[tuple[str, ReportTable, Any, Mapping[str, ReportTable]]] = [
            ("", data.reports["instilled"], ctx.weights, data.reports)
        ]
        if "instilled" in data.native_weights:
            weights = data.native_weights["instilled"]
            places.append(("native, ", data.native_reports["instilled"], weights, data.native_reports))
        for where, own, weights, tables in places:
            rows.append(ctx.row(f"{where}the model itself", own, weights))
            guesses = {"untuned": tables["untuned"]}
            kind = "native reports" if where else "reports"
            guesses |= {m: got[f"common sense {m}: {kind}"] for m in ctx.options.models}
            for name, said in guesses.items():
                beyond = ctx.metric.score(own, weights, rng=ctx.seed, others=said).beyond_others
                row: Row = ctx.row(f"{where}guessed by {name}", said, weights, beyond_r=plain(beyond.r))
                row |= {"beyond_low": plain(beyond.interval.low), "beyond_high": plain(beyond.interval.high)}
                rows.append(row)
                left.append((beyond.r, f"{where}{name}", beyond.interval))
        worst = min(left, key=lambda found: found[0] if found[0] == found[0] else 2.0)
        low, high = shown(worst[2].low), shown(worst[2].high)
        return Reading(
            tuple(rows),
            f"With the best guess ({worst[1]}) taken out, reports and weights keep a partial r of {shown(worst[0])} "
            f"[{low}, {high}].",
            "beyond common sense" if all(interval.low > 0 for _, _, interval in left) else "not excluded",
        )
