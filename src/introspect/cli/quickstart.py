"""``introspect quickstart``: the whole loop."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from introspect.study import Study

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the others."""
    quick = commands.add_parser(
        "quickstart",
        help="run the whole loop and show what it found",
        description="Instil hidden preferences by choices alone, measure the weights in use, ask for reports, train "
        "reporting, and see whether it generalises: on a tiny organism in about a minute, or on a chat model. "
        "Interrupted, the same command goes on where it stopped.",
    )
    which = quick.add_mutually_exclusive_group()
    which.add_argument("--organism", metavar="NAME", help="shared (default), weak, split, or an organism file")
    which.add_argument("--model", metavar="NAME", help="smollm2, or the folder or hub id of a chat model")
    quick.add_argument(
        "--seeds", type=_count, default=1, metavar="N", help="complete runs with seeds 0 to N-1 (default 1)"
    )
    quick.add_argument("--out", metavar="DIR", help="folder of the study (default introspect-quickstart/NAME)")
    quick.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    quick.add_argument("--dry-run", action="store_true", help="say what it would cost, and stop")
    quick.set_defaults(run=_quickstart)


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 1000, got {text!r}")
    return number


def _quickstart(options: argparse.Namespace) -> int:
    from introspect.backend.portal import run_sync
    from introspect.backend.registry import open_model
    from introspect.study import ProgressWatcher

    study = _study(options)
    plan = study.plan()
    if options.dry_run:
        print("\n".join(plan.sentences()))
        return 0
    # A folder that cannot be written to should be found out now, not after the first stage.
    try:
        study.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {study.folder} cannot be made: {error.strerror} ({error.filename})") from None
    # Opened once before, so that a model that cannot be had costs one line and no stage.
    run_sync(open_model(study.model).aclose)
    watcher = ProgressWatcher(opening=plan.sentences()[-1])
    try:
        result = study.run(watcher)
    finally:
        watcher.close()
    figure: Path | None = study.folder / "reports.png"
    try:
        from introspect.show import plot_reports

        plot_reports(result, figure)
    except MissingExtraError as error:
        print(f"No figure: {error}", file=sys.stderr)
        figure = None
    if options.json:
        shown = {
            **result.to_dict(),
            "out": str(study.folder),
            "figure": None if figure is None else str(figure),
        }
        print(json.dumps(shown, ensure_ascii=False, allow_nan=False))
        return 0
    print("\n".join(result.sentences()))
    print(f"\nEverything is in {study.folder}" + ("" if figure is None else f"; the figure is {figure}"))
    print(f"introspect report {study.folder} writes it as one page, with every prompt and reply")
    return 0


def _study(options: argparse.Namespace) -> Study:
    from introspect.backend.models import ref_of
    from introspect.study import chat_study, organism_study

    seeds = tuple(range(options.seeds))
    if options.model is None:
        name = options.organism or "shared"
        return organism_study(name, out=options.out or _default_out(name), seeds=seeds)
    return chat_study(ref_of(options.model), out=options.out or _default_out(options.model), seeds=seeds)


def _default_out(name: str) -> Path:
    return Path("introspect-quickstart") / (Path(name).stem or "model")
