"""``introspect scenarios``: scenario files."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the others."""
    scenarios = commands.add_parser("scenarios", help="work with scenario files")
    actions = scenarios.add_subparsers(required=True, metavar="ACTION")
    validate = actions.add_parser("validate", help="check a YAML or JSON file of scenarios")
    validate.add_argument("file", metavar="FILE")
    validate.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    validate.set_defaults(run=_validate)


def _validate(options: argparse.Namespace) -> int:
    from introspect.decision import ScenarioSet

    scenarios = ScenarioSet.load(options.file)
    widths = sorted({len(s.attributes) for s in scenarios})
    if options.json:
        rows = [
            {"id": s.id, "attributes": [a.name for a in s.attributes], "predictors": list(s.predictors)}
            for s in scenarios
        ]
        print(json.dumps({"valid": True, "n_scenarios": len(scenarios), "scenarios": rows}, ensure_ascii=False))
    else:
        print(f"{options.file}: {len(scenarios)} scenarios with {' or '.join(map(str, widths))} attributes, all valid")
    return 0
