"""``introspect run``, ``status`` and ``diff``: protocols, what has become of their steps, and where two runs differ."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from introspect.study import Protocol, RunResult

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the commands to the others."""
    run = commands.add_parser(
        "run",
        help="run a protocol, or what an edit of it changes",
        description="Run a named protocol (plunkett2025, recommended, organism, chat, beyond-weights) or a YAML file. "
        "Each step is run once and found again by every protocol of the folder that needs it; after an edit only what "
        "it changes is done anew, and the reason is printed.",
    )
    run.add_argument("protocol", metavar="PROTOCOL", help="name of a protocol, or a YAML file")
    run.add_argument("--backend", metavar="MODEL", help="organism, organism:NAME, simulated, or PROVIDER:MODEL")
    run.add_argument("--out", metavar="DIR", help="folder of the results (default introspect-studies)")
    run.add_argument(
        "--seeds", type=int, metavar="N", help="complete runs with seeds 0 to N-1, instead of the protocol's"
    )
    run.add_argument("--show", action="store_true", help="print the protocol as YAML with all its settings, and stop")
    run.add_argument(
        "--dry-run", action="store_true", help="say what it would cost and where it departs from the paper"
    )
    run.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    run.set_defaults(run=_run)

    status = commands.add_parser(
        "status", help="what has become of the steps of a folder, or of the studies of a sweep"
    )
    status.add_argument("folder", metavar="DIR")
    status.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    status.set_defaults(run=_status)

    diff = commands.add_parser("diff", help="where two folders differ: protocols, models, steps, results")
    diff.add_argument("first", metavar="DIR1")
    diff.add_argument("second", metavar="DIR2")
    diff.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    diff.set_defaults(run=_diff)


def _protocol(options: argparse.Namespace) -> Protocol:
    from introspect.study import Protocol, named_protocol

    text = options.protocol
    found = Protocol.load(text) if Path(text).suffix in (".yaml", ".yml") else named_protocol(text)
    if options.seeds is None:
        return found
    if not 1 <= options.seeds <= 1000:
        raise ConfigError(f"--seeds must be a whole number from 1 to 1000, got {options.seeds}")
    return found.changed(seeds=list(range(options.seeds)))


def _run(options: argparse.Namespace) -> int:
    from introspect.study import ProgressWatcher, ProtocolRun, backend_ref, departures

    protocol = _protocol(options)
    if options.show:
        print(protocol.to_yaml(), end="")
        return 0
    if options.backend is None:
        raise ConfigError("--backend is missing: say which model, for example --backend organism")
    running = ProtocolRun(protocol, backend_ref(options.backend), options.out or "introspect-studies")
    if options.dry_run:
        print(*running.check().plan().sentences(), sep="\n")
        print("Controls are not counted here.") if protocol.controls else None
        print(*(f"Departs from the published study: {d}" for d in departures(protocol)), sep="\n")
        return 0
    watcher = ProgressWatcher()
    try:
        result = running.run(watcher)
    finally:
        watcher.close()
    figures = _figures(result)
    if options.json:
        print(json.dumps({**result.to_dict(), "figures": figures}, ensure_ascii=False, allow_nan=False))
    else:
        print(*result.sentences(), sep="\n")
        print(f"\nEverything is in {result.folder}" + (f"; figures: {', '.join(figures)}" if figures else ""))
    return 0


def _figures(result: RunResult) -> list[str]:
    try:
        from introspect.show import plot_control, plot_reports

        drawn = []
        if result.study.seeds:
            plot_reports(result.study, result.folder / "reports.png")
            drawn.append("reports.png")
        for found in result.controls:
            if found.state == "done":
                name = f"{found.word}.png"
                plot_control(found, result.folder / name)
                drawn.append(name)
        return drawn
    except MissingExtraError as error:
        print(f"No figures: {error}", file=sys.stderr)
        return []


def _status(options: argparse.Namespace) -> int:
    from introspect.study.folder import read_folder

    if (Path(options.folder).expanduser() / "sweep.db").is_file():
        from introspect.study.sweeps import read_sweep

        told = read_sweep(options.folder)
        print(json.dumps(told.to_dict(), ensure_ascii=False) if options.json else "\n".join(told.sentences()))
        return 0
    found = read_folder(options.folder)
    if options.json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
    else:
        print(*found.sentences(), sep="\n")
    return 0


def _diff(options: argparse.Namespace) -> int:
    from introspect.study.folder import differences, read_folder

    lines = differences(read_folder(options.first), read_folder(options.second))
    if options.json:
        print(json.dumps({"same": not lines, "differences": lines}, ensure_ascii=False))
    else:
        print(*(lines or ["No difference in protocols, models, steps or results."]), sep="\n")
    return 0
