"""The command line."""

from introspect.cli.program import main

__all__ = ["main"]
