"""The program ``introspect``: its commands, and what an error looks like."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Never

from introspect._version import __version__
from introspect.cli import (
    analyse,
    archive,
    doctor,
    internals,
    models,
    plan,
    quickstart,
    report,
    scenarios,
    serve,
    studies,
    sweeps,
)
from introspect.errors import ConfigError, IntrospectError

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
    parser.add_argument("--version", action="version", version=__version__, help="print the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    rooms = (quickstart, report, scenarios, internals, models, doctor, plan, serve, archive, analyse, studies, sweeps)
    for command in rooms:
        command.add_parser(commands)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _version(options: argparse.Namespace) -> int:
    del options
    print(__version__)
    return 0
