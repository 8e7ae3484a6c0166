"""The one place where YAML is read: plain data alone, a key at most once, and aliases that cannot fill the memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from introspect.errors import ConfigError, IntrospectError

__all__ = ["load_yaml", "load_yaml_file", "load_yaml_lines"]

_REPEATS = 100_000
"""Values that the aliases of one text may stand for beyond those that are written out. Ten lines can stand for more
values than fit into any memory, and whatever walks over them (checks, hashes, error messages) walks over each."""

Place = tuple[str | int, ...]


def load_yaml(text: str, source: str, error: type[IntrospectError] = ConfigError) -> Any:
    """Plain data from YAML.

    Args:
        text: The YAML.
        source: What errors call it.
        error: Their kind.

    Raises:
        IntrospectError: One line with the source and where it can be told the line: not YAML, more than plain data, a
            key given twice, or aliases that stand for too much.

    Example:
        >>> load_yaml("a: &x [1, 2]\\nb: *x", "mine.yaml")
        {'a': [1, 2], 'b': [1, 2]}
        >>> load_yaml("a: 1\\na: 2", "mine.yaml")
        Traceback (most recent call last):
        ...
        introspect.errors.ConfigError: mine.yaml, line 2: 'a' is given twice; keep one
    """
    return _load(text, source, error)[0]


def load_yaml_lines(
    text: str, source: str, error: type[IntrospectError] = ConfigError
) -> tuple[Any, Mapping[Place, int]]:
    """Plain data, and the line (from 1) of the key or item at each path."""
    data, root = _load(text, source, error)
    at: dict[Place, int] = {}
    todo: list[tuple[Place, Any]] = [((), root)]
    while todo:
        path, node = todo.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*path, str(key.value))
                at[here] = key.start_mark.line + 1
                todo.append((here, value))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                at[(*path, number)] = value.start_mark.line + 1
                todo.append(((*path, number), value))
    return data, at


def load_yaml_file(path: Path | str, what: str, error: type[IntrospectError] = ConfigError) -> Any:
    """Plain data from a file.

    Args:
        path: The file.
        what: What it is, as "the price table".
        error: Kind of the errors.

    Raises:
        IntrospectError: As `load_yaml`, or the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise error(f"{what} {path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise error(f"{what} {path} cannot be read: not UTF-8 text (byte {problem.start})") from None
    return load_yaml(text, str(path), error)


def _load(text: str, source: str, error: type[IntrospectError]) -> tuple[Any, Any]:
    """Data and the node that it was made from."""
    said = "not readable as YAML"
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, None
            found = _problem(root)
            if found is not None:
                raise error(f"{source}, line {found[0]}: {found[1]}")
            return loader.construct_document(root), root
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as caught:
        better = _told_better(text) or caught
        line = f", line {better.problem_mark.line + 1}" if better.problem_mark else ""
        raise error(f"{source}{line}: {said}: {better.problem or ' '.join(str(better).split())}") from None
    except RecursionError:
        raise error(f"{source}: {said}: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as problem:
        if isinstance(problem, IntrospectError):
            raise
        raise error(f"{source}: {said}: {' '.join(str(problem).split())}") from None


def _told_better(text: str) -> yaml.MarkedYAMLError | None:
    """What the slow reader finds wrong: it names the line where a thing began, the fast one where the text ended."""
    try:
        yaml.SafeLoader(text).get_single_data()
    except yaml.MarkedYAMLError as problem:
        return problem
    except Exception:  # the first complaint stands
        return None
    return None


def _problem(root: Any) -> tuple[int, str] | None:
    """What is wrong with a tree of nodes, and in which line; each node is looked at once, however often it stands."""
    sizes: dict[int, int] = {}  # with all that it holds, counted as often as it stands in it
    open_: set[int] = set()
    todo = [root]
    while todo:
        node = todo[-1]
        if id(node) in sizes:
            todo.pop()
            continue
        line, inner = node.start_mark.line + 1, _inner(node)
        if id(node) not in open_:
            open_.add(id(node))
            twice = _twice(node)
            if twice is not None:
                return twice.start_mark.line + 1, f"{twice.value!r} is given twice; keep one"
            if any(id(child) in open_ and id(child) not in sizes for child in inner):
                return line, "an alias stands within what it is an alias of; write it out"
            todo += inner
            continue
        todo.pop()
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in inner)
        # Each node that is written out is counted once in `sizes`, so what is more comes from aliases.
        if sizes[id(node)] > len(sizes) + _REPEATS:
            return line, (
                f"aliases (*name) repeat more than {_REPEATS:,} values from here on; write out what is meant, and not "
                "copies of copies"
            )
    return None


def _inner(node: Any) -> list[Any]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _twice(node: Any) -> Any:
    """YAML keeps the last of two equal keys and says nothing; a lost setting should be said."""
    seen = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                return key
            seen.add(key.value)
    return None
