"""``introspect analyse``: reports against choices that were collected anywhere."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "analyse",
        help="score reports against choices that were collected anywhere",
        description="Fit weights to the choices of a CSV file and hold the reports of another against them: r with "
        "its interval, ceiling and nulls, arm by arm. docs/analyse.md describes the columns.",
    )
    parser.add_argument("choices", metavar="CHOICES.csv", help="one row per attribute of every trial")
    parser.add_argument("reports", metavar="REPORTS.csv", help="one row per reported weight")
    parser.add_argument("--targets", metavar="T.csv", help="the weights that the choices were meant to follow")
    parser.add_argument("--compat", choices=["pooled-z"], help="also redo the published analysis, for comparison")
    parser.add_argument(
        "--estimator", choices=["eb", "ridge", "ml", "firth"], default="eb", help="of the weights (default eb)"
    )
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of bootstrap and nulls (default 0)")
    parser.add_argument(
        "--drop-unknown", action="store_true", help="count reports with unheard-of attributes instead of refusing them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=_analyse)


def _analyse(options: argparse.Namespace) -> int:
    from introspect.analysis import analyse

    found = analyse(
        options.choices,
        options.reports,
        options.targets,
        compat=options.compat,
        estimator=options.estimator,
        rng=options.seed,
        drop_unknown=options.drop_unknown,
    )
    print(json.dumps(found.to_dict(), allow_nan=False) if options.json else found.summary())
    return 0


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)
