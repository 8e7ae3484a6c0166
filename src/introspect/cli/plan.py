"""``introspect plan``: how many contexts, choices and reports it takes."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.study import Assumptions

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "plan",
        help="say what a study of some size will show, or find the cheapest that shows it",
        description="Expected width of the interval of r, ceiling and power, by simulation with the estimator that "
        "will be used. Without --width or --power: of the sizes given. With one of them: the cheapest sizes that "
        "reach it. Nothing is asked of any model.",
    )
    sizes = parser.add_argument_group("sizes, one or several with commas")
    sizes.add_argument("--contexts", type=_numbers, metavar="N", help="contexts (default 100)")
    sizes.add_argument("--trials", type=_numbers, metavar="N", help="choices per context (default 50)")
    sizes.add_argument("--reports", type=_numbers, metavar="N", help="reports per context (default 5)")
    wishes = parser.add_argument_group("wishes")
    wishes.add_argument("--width", type=float, metavar="W", help="wanted width of the 95 %% interval of r")
    wishes.add_argument("--power", type=float, metavar="P", help="wanted power to find the gain at 5 %%")
    wishes.add_argument("--ceiling", type=float, metavar="R", help="least noise ceiling (default 0.8)")
    supposed = parser.add_argument_group("what is supposed of the model")
    supposed.add_argument("--r", type=float, help="r without measurement noise (default 0.6)")
    supposed.add_argument("--gain", type=float, help="its rise by report training (default 0.1)")
    supposed.add_argument("--attributes", type=int, dest="n_attributes", metavar="N", help="per context (default 5)")
    supposed.add_argument(
        "--scale", type=_scale, metavar="S", help="logits per 100 units of weight, or 'none' for no noise (default 10)"
    )
    supposed.add_argument("--lapse", type=float, metavar="P", help="share of blind picks (default 0)")
    supposed.add_argument("--item-sd", type=float, metavar="S", help="errors of single pairs, in logits (default 0)")
    supposed.add_argument("--graded", action="store_const", const=True, help="label log-probabilities are recorded")
    supposed.add_argument("--design", choices=["random", "d-optimal"], help="measuring trials (default d-optimal)")
    supposed.add_argument("--reliability", type=float, metavar="R", help="r between two single reports (default 0.8)")
    supposed.add_argument("--spread", type=float, metavar="S", help="how far contexts differ (default 0.5)")
    supposed.add_argument("--stability", type=float, metavar="R", help="r of errors before and after (default 0.5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the simulation (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=_plan)


_SUPPOSED = (
    "r", "gain", "n_attributes", "scale", "lapse", "item_sd", "graded", "design", "reliability", "spread", "stability",
)  # fmt: skip


def _plan(options: argparse.Namespace) -> int:
    from introspect.errors import ConfigError
    from introspect.study import cheapest_plan, plan

    if options.seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {options.seed}")
    supposed = _assumptions(options)
    if options.width is None and options.power is None:
        if options.ceiling is not None:
            raise ConfigError("--ceiling belongs to --width and --power: it limits what may be chosen")
        sizes = options.contexts or [100], options.trials or [50], options.reports or [5]
        found = plan(*sizes, supposed, rng=options.seed)
    else:
        if options.contexts:
            raise ConfigError("--contexts is what --width and --power find out; give the one or the others")
        wish = {k: v for k in ("trials", "reports", "ceiling") if (v := getattr(options, k)) is not None}
        found = cheapest_plan(
            width=options.width, power=options.power, assumptions=supposed, rng=options.seed, **wish
        )  # fmt: skip
    print(json.dumps(found.to_dict(), allow_nan=False) if options.json else str(found))
    return 0


def _assumptions(options: argparse.Namespace) -> Assumptions:
    from introspect.study import Assumptions

    given = {name: getattr(options, name) for name in _SUPPOSED if getattr(options, name) is not None}
    if given.get("scale") == "none":
        given["scale"] = None
    return Assumptions(**given)


def _scale(text: str) -> float | str:
    return "none" if text == "none" else float(text)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, got {text!r}") from None
