"""``introspect sweep``: models, seeds and conditions, on processes of this machine or on a Ray cluster."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    sweep = commands.add_parser(
        "sweep",
        help="run a protocol over models, seeds and conditions, on several workers",
        description="Run every model with every seed under every condition of a YAML file. What is done is kept: run "
        "it again after a kill, or with more models, and only what is missing is run. `introspect status DIR` says "
        "how far it is.",
    )
    sweep.add_argument("sweep", metavar="SWEEP.yaml", help="the sweep")
    sweep.add_argument("--executor", default="local", metavar="NAME", help="local, ray or here")
    sweep.add_argument("--workers", type=int, metavar="N", help="studies at the same time (default: one a core)")
    sweep.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster, or auto; else a local one is started")
    sweep.add_argument(
        "--wait-for-nodes",
        type=float,
        metavar="SECONDS",
        help="how long a Ray cluster may take to add nodes that it has not yet (default: 900 where its autoscaler is "
        "seen, else not at all)",
    )
    sweep.add_argument("--out", metavar="DIR", help="folder that all workers see (default introspect-sweep)")
    sweep.add_argument("--dry-run", action="store_true", help="say what would be run, and on what")
    sweep.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    sweep.set_defaults(run=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    from introspect.study.sweeps import Sweep, SweepRun, executor

    sweep = Sweep.load(options.sweep)
    made = executor(options.executor, options.workers, options.address, options.wait_for_nodes)
    running = SweepRun(sweep, options.out or "introspect-sweep")
    if options.dry_run:
        print(
            f"{sweep.n_studies} studies: {len(sweep.models)} models x {len(sweep.seeds)} seeds x "
            f"{len(sweep.conditions)} conditions, in {len(running.lanes)} lanes that can run side by side, on "
            f"{made.room}."
        )
        for model in sweep.models:
            needs = sweep.resources_of(model)
            print(
                f"  {model.backend}: {needs.cpus} cores, {needs.gpus:g} GPUs, {needs.memory_gb:g} GB a study"
                + (f", {needs.processes} processes that train together" if needs.processes > 1 else "")
                + (f", asked on the vLLM server at {needs.vllm}" if needs.vllm else "")
            )
        for name, protocol in sweep.protocols.items():
            words = ", ".join(control.word for control in protocol.controls)
            print(f"  {name}: " + (f"controls {words}" if words else "no controls"))
        return 0

    def tell(title: str, state: str, ended: int) -> None:
        print(f"[{ended}/{sweep.n_studies}] {title}: {state}", file=sys.stderr, flush=True)

    result = running.run(made, tell)
    if options.json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False))
    else:
        print(*result.sentences(), sep="\n")
        print(f"\nEverything is in {result.folder}: arms.csv, sweep.db, and a folder for every study in lanes/")
    return 1 if result.failed else 0
