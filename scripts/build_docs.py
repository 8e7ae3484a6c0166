"""Lays out and builds the documentation site: `python scripts/build_docs.py [--out DIR]`.

The pages of docs/ are copied to a folder of their own, with the notebooks of examples/notebooks/ as tutorials, a page
for each room of the package and one for the command line; files elsewhere that a page links to come along as downloads.
Then Sphinx builds it, and any warning is an error.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("decision", "backend", "store", "training", "measure", "subjects", "study", "analysis", "internals", "show",
         "serve", "bridges", "testing", "errors")  # fmt: skip
PROJECT = {"CHANGELOG.md": "project/changes.md", "CONTRIBUTING.md": "project/contributing.md",
           "README.md": "project/readme.md"}  # fmt: skip
LINK = re.compile(r"(\]\()(?P<target>[^)\s#]+)(?P<rest>(?:#[^)\s]*)?\))")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that is written by hand: its file, and its place in the site."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        yield path, path.relative_to(ROOT / "docs").as_posix()
    for path in sorted((ROOT / "examples" / "notebooks").glob("*.md")):
        yield path, f"tutorials/{path.name}"
    for name, place in PROJECT.items():
        yield ROOT / name, place


def lay_out(folder: Path) -> None:
    """Writes the sources of the site.

    Raises:
        SystemExit: A page links to a file that does not exist.
    """
    places = dict(pages())
    for path, place in places.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        parts = FENCED.split(path.read_text(encoding="utf-8"))
        parts[::2] = [_relinked(text, path, place, places, folder) for text in parts[::2]]
        target.write_text("".join(parts), encoding="utf-8")
    for path in (ROOT / "docs").rglob("*"):
        if path.is_file() and path.suffix != ".md":
            target = folder / path.relative_to(ROOT / "docs")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    reference(folder / "reference")


def _relinked(text: str, path: Path, place: str, places: dict[Path, str], folder: Path) -> str:
    """Links as they lead from a page's place in the site."""

    def lead(found: re.Match[str]) -> str:
        target = found["target"]
        if re.match(r"[a-z]+:", target):
            return found[0]
        file = (path.parent / target).resolve()
        if not file.exists():
            sys.exit(f"{path.relative_to(ROOT)} links to {target}, which does not exist")
        if file.is_dir():
            return f"]({target}{found['rest']}"
        if file in places:
            end = folder / places[file]
        elif file.is_relative_to(ROOT / "docs"):
            end = folder / file.relative_to(ROOT / "docs")
        else:
            end = folder / "files" / file.relative_to(ROOT)
            end.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, end)
        return f"]({Path(os.path.relpath(end, (folder / place).parent)).as_posix()}{found['rest']}"

    return LINK.sub(lead, text)


def reference(folder: Path) -> None:
    """A page for each room, with every public object from its docstring, and one for the command line."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for room in ROOMS:
        if not any((ROOT / "src" / "introspect" / room).with_suffix(end).exists() for end in ("", ".py")):
            continue
        module = import_module(f"introspect.{room}")
        (folder / f"{room}.md").write_text(_room_page(module), encoding="utf-8")
        listed.append(room)
    (folder / "command-line.md").write_text(_command_page(), encoding="utf-8")
    entries = "\n".join([*listed, "command-line"])
    (folder / "index.md").write_text(
        "# Reference\n\nEvery public object, from its docstring. `from introspect import X` finds what people use, "
        f"and the rest is imported from its room.\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n",
        encoding="utf-8",
    )


def public_names(module: ModuleType) -> list[str]:
    """What a room makes public."""
    return sorted(module.__all__, key=str.lower)


def _room_page(module: ModuleType) -> str:
    name = module.__name__
    blocks = "\n\n".join(_directive(f"{name}.{each}", getattr(module, each)) for each in public_names(module))
    return (
        f"# `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :no-members:\n   :no-index:\n```\n\n"
        f"```{{eval-rst}}\n{blocks}\n```\n"
    )


def _directive(path: str, value: object) -> str:
    if inspect.isclass(value) and issubclass(value, BaseException):
        return f".. autoexception:: {path}\n   :members:\n   :show-inheritance:"
    if inspect.isclass(value):
        bases = "\n   :show-inheritance:" if value.__bases__ != (object,) else ""
        return f".. autoclass:: {path}\n   :members:{bases}"
    if inspect.isroutine(value):
        return f".. autofunction:: {path}"
    room, _, name = path.rpartition(".")
    words = textwrap.indent(_said_of(room, name), "   ")
    shown = repr(value)
    kind = f"\n   :value: {shown}" if isinstance(value, int | str | tuple) and len(shown) < 90 else ""
    return f".. py:data:: {path}{kind}\n\n{words}"


def _said_of(room: str, name: str) -> str:
    """The docstring below a constant, where it is defined: no object carries it."""
    from sphinx.pycode import ModuleAnalyzer

    tree = ast.parse(Path(str(import_module(room).__file__)).read_text(encoding="utf-8"))
    homes = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
             and name in {alias.name for alias in node.names}]  # fmt: skip
    if homes and homes[0]:  # handed on: look where it comes from
        return _said_of(homes[0], name)
    said = ModuleAnalyzer.for_module(room).find_attr_docs().get(("", name))
    if not said:
        sys.exit(f"{room}.{name} is public and has no docstring below it")
    return "\n".join(said)


def _command_page() -> str:
    from introspect.cli.program import _parser

    os.environ["COLUMNS"] = "100"
    top = _parser()
    lines = ["# The command line", "", "```text", top.format_help().rstrip(), "```", ""]
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                lines += [f"## `introspect {name}`", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def build(out: Path) -> Path:
    """Lays out and builds the site under a folder; the pages lie in its `html`.

    Raises:
        SystemExit: Sphinx found something to warn of.
    """
    from sphinx.cmd.build import build_main

    source, html = out / "source", out / "html"
    shutil.rmtree(source, ignore_errors=True)
    lay_out(source)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if code := build_main(
        ["-q", "-W", "--keep-going", "-b", "html", "-d", str(out / "doctrees"), str(source), str(html)]
    ):
        sys.exit(code)
    return html


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    print(build(parser.parse_args().out.resolve()) / "index.html")


if __name__ == "__main__":
    main()
