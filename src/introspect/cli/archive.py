"""``introspect export`` and ``introspect replay``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

__all__ = ["add_parser"]

_SHOWN = 10


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the two commands."""
    export = commands.add_parser(
        "export",
        help="write a finished study into one file to hand on",
        description="Write the replies, stages, settings and result of a finished study into one zip file, from which "
        "anyone can run its analysis again without a key. Weights of trained models are not in it.",
    )
    export.add_argument("folder", metavar="STUDY_DIR")
    export.add_argument("target", metavar="STUDY.zip")
    export.set_defaults(run=_export)

    replay = commands.add_parser(
        "replay",
        help="run the analysis of an exported study again, without network or key",
        description="Read every stored reply anew, fit, score, and hold the result against the recorded one. No model "
        "is opened. The exit code is 0 where the two are identical, and 1 where they differ.",
    )
    replay.add_argument("archive", metavar="STUDY.zip")
    replay.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    replay.set_defaults(run=_replay)


def _export(options: argparse.Namespace) -> int:
    from introspect.study import export_study

    header = export_study(options.folder, options.target)
    total = sum(size for _, size in header.files.values())
    print(f"{options.target}: {total:,} bytes of study, without weights of models. Check it: introspect replay")
    return 0


def _replay(options: argparse.Namespace) -> int:
    from introspect._version import __version__
    from introspect.study import ProgressWatcher, replay_study

    watcher = ProgressWatcher()
    try:
        replay = replay_study(options.archive, watcher)
    finally:
        watcher.close()
    if options.json:
        shown: dict[str, Any] = {
            **replay.result.to_dict(),
            "replay": {
                "identical": replay.identical,
                "differences": list(replay.differences),
                "made_by": replay.made_by,
                "introspect": __version__,
                "replies": replay.n_replies,
            },
        }
        print(json.dumps(shown, ensure_ascii=False, allow_nan=False))
        return 0 if replay.identical else 1
    print("\n".join(replay.result.sentences()))
    if replay.identical:
        print(f"\nIdentical to the recorded result, from {replay.n_replies:,} stored replies.")
        return 0
    print(f"\nDiffers from the recorded result in {len(replay.differences)} places:", file=sys.stderr)
    print("\n".join(replay.differences[:_SHOWN]), file=sys.stderr)
    if replay.made_by != __version__:
        print(f"It was made by introspect {replay.made_by}; this is {__version__}.", file=sys.stderr)
    return 1
