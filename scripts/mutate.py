"""Do the tests notice when a line of the statistics is wrong? Sampled mutants of modules, each against its own tests.

A mutant changes one place: an operator, a comparison, a constant, a function of numpy, a condition, a default. It is
killed if its tests fail or run out of time. Mutants in docstrings, messages and annotations are not made.

Run: python scripts/mutate.py [--per-module 12] [--seed 0] [--only newton,firth] [--timeout 240]
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
TESTS = {
    "newton": ("newton", "estimator_invariants"),
    "learned_weights": ("learned_weights", "estimators"),
    "graded": ("graded",),
    "firth": ("estimator_agreement", "estimator_invariants"),
    "evidence": ("estimators", "choice_model"),
    "replicates": ("estimators", "estimator_invariants"),
    "separation": ("separation",),
    "accuracy_metric": ("accuracy_metric", "metric_invariants"),
    "intervals": ("accuracy_parts", "metric_invariants"),
    "nulls": ("accuracy_parts", "metric_invariants"),
    "ceiling": ("accuracy_parts", "metric_invariants"),
    "moments": ("accuracy_parts", "metric_invariants"),
    "resampling": ("accuracy_parts", "metric_invariants"),
}
"""Module of `introspect.measure` -> its tests in tests/measure, the likeliest to notice first."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
NAMES = {
    "max": "min", "min": "max", "mean": "sum", "sum": "mean", "abs": "sign", "sqrt": "square", "any": "all",
    "all": "any",
    "argmax": "argmin", "maximum": "minimum", "minimum": "maximum", "zeros": "ones", "ones": "zeros", "log1p": "log",
    "tanh": "arctanh", "arctanh": "tanh", "floor": "ceil", "cumsum": "cumprod", "zeros_like": "ones_like",
}  # fmt: skip


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Nodes that can be changed, and how. Annotations, docstrings and messages are left alone."""

    def walk(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
            yield node, "operator"
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, "comparison"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
            yield node, "sign"
        elif isinstance(node, ast.Attribute) and node.attr in NAMES:
            yield node, "function"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield node, "constant"
        elif isinstance(node, ast.If | ast.IfExp):
            yield node, "condition"
        for name, child in ast.iter_fields(node):
            if name in ("annotation", "returns", "type_params", "decorator_list"):
                continue
            for one in child if isinstance(child, list) else [child]:
                if isinstance(one, ast.AST):
                    yield from walk(one)

    yield from walk(tree)


def change(node: ast.AST, kind: str) -> None:
    """Make the node wrong, in place."""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp):
        node.op = SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[assignment, call-overload]
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
        if kind == "sign" and isinstance(node.op, ast.Not):
            node.operand = ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Attribute):
        node.attr = NAMES[node.attr]
    elif isinstance(node, ast.Constant):
        value = node.value
        node.value = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 2 + 0.1
    elif isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)


def mutants(source: str, n: int, seed: str) -> Iterator[tuple[int, str, str]]:
    """A sample of (line, what it became, whole changed source)."""
    tree = ast.parse(source)
    count = sum(1 for _ in places(tree))
    for number in sorted(random.Random(seed).sample(range(count), min(n, count))):
        changed = copy.deepcopy(tree)
        node, kind = list(places(changed))[number]
        line = getattr(node, "lineno", 0)
        change(node, kind)
        ast.fix_missing_locations(changed)
        statement = ast.unparse(node.test if isinstance(node, ast.If) else node)
        yield line, f"{source.splitlines()[line - 1].strip()[:90]}  ->  {statement[:90]}", ast.unparse(changed)


def survives(tree: Path, tests: tuple[str, ...], timeout: float) -> str:
    """ "" if the tests notice, else "survived"; in a fork, which finds the heavy imports made."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), Path(os.devnull).open("w") as nowhere:
            os.setsid()
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            os.environ["PYTHONPATH"] = str(tree / "src")
            sys.path.insert(0, str(tree / "src"))
            import pytest

            files = [str(ROOT / "tests" / "measure" / f"test_{name}.py") for name in tests]
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"--rootdir={ROOT}", *files])
            os._exit(int(code))
        os._exit(1)
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "" if os.waitstatus_to_exitcode(status) else "survived"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return ""


def main() -> None:
    """Print survivors as they are found, then a row per module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-module", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(TESTS))
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds; a mutant that needs more is killed")
    parser.add_argument("--unchecked", action="store_true", help="take it that the tests pass without any change")
    options = parser.parse_args()
    for name in ("numpy", "scipy.special", "scipy.optimize", "scipy.linalg", "hypothesis", "pandas", "pydantic"):
        __import__(name)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for module in options.only.split(","):
            path = Path(folder) / "src" / "introspect" / "measure" / f"{module}.py"
            source = path.read_text()
            if not options.unchecked and not survives(Path(folder), TESTS[module], options.timeout):
                raise SystemExit(f"the tests of {module} fail without any change, or need over {options.timeout:g} s")
            tried = left = 0
            for line, what, text in mutants(source, options.per_module, f"{options.seed} {module}"):
                path.write_text(text)
                tried += 1
                if survives(Path(folder), TESTS[module], options.timeout):
                    left += 1
                    print(f"survived: {module}.py:{line}: {what}", flush=True)
            path.write_text(source)
            rows.append((module, tried, tried - left))
            print(f"{module}: {tried - left} of {tried} killed", flush=True)
    total, killed = sum(row[1] for row in rows), sum(row[2] for row in rows)
    print(f"{killed} of {total} mutants were killed")


if __name__ == "__main__":
    main()
