"""``introspect report``: a study as one HTML page."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the others."""
    report = commands.add_parser(
        "report",
        help="write a study as one HTML page with every prompt and reply",
        description="Write one self-contained HTML file: warnings and arms first, figures, every prompt and raw reply "
        "to browse and filter, cost, manifest. It loads nothing from anywhere, and can be sent as it is.",
    )
    report.add_argument("folder", metavar="STUDY_DIR")
    report.add_argument("--out", metavar="FILE", help="where to write (default STUDY_DIR/report.html)")
    report.add_argument(
        "--manifest",
        metavar="COMMAND",
        nargs="?",
        const="",
        help="write no page, but print what a page of results should state about the run, in Markdown: protocol and "
        "model with their hashes, seeds, versions, machine, date, and the command that you give here",
    )
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from introspect.show import run_card, write_page

    if options.manifest is not None:
        print(run_card(options.folder, options.manifest), end="")
        return 0
    path = write_page(options.folder, options.out)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; open it in a browser")
    return 0
