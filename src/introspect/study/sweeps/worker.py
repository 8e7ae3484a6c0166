"""Runs one study of a sweep, wherever it is: on a cluster's node, or as a process that reads orders from its input."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from introspect._version import __version__
from introspect.errors import IntrospectError, StoreError
from introspect.study.engine import ProtocolRun, RunResult
from introspect.study.sweeps.lanes import StudyOrder
from introspect.study.sweeps.sweep import Resources

__all__ = ["MARK", "cores", "main", "pinned_threads", "run_order", "thread_variables"]

MARK = "sweep.json"
"""The file by which a worker knows that it sees the folder that the sweep was begun in."""

# Whoever held the lane may have died with its machine; a network file system lets go of its lock after a while.
_WAIT = 120.0

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def thread_variables(n: int) -> dict[str, str]:
    """Environment that gives torch and the matrix libraries n threads; to be set before they are loaded."""
    return dict.fromkeys(_THREADS, str(n))


@contextmanager
def pinned_threads(n: int) -> Iterator[None]:
    """So many for this process while the block runs, also where torch is loaded already; then as many as before.

    A study may run in the very process of its caller, whose own work is not to be slowed down by it.
    """
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    with _environment(thread_variables(n)):
        if torch is not None:
            torch.set_num_threads(n)
        try:
            yield
        finally:
            torch = sys.modules.get("torch")
            if torch is not None:
                # Loaded meanwhile, it took its number from this block's environment.
                torch.set_num_threads(before or (int(asked) if asked.isdigit() else cores()))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment for as long as the block runs."""
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def run_order(text: str) -> str:
    """Run a study, or find it done.

    Nothing is lost if this process dies: whoever is given the same order finds the finished steps of the lane.

    Args:
        text: A `StudyOrder` as JSON.

    Returns:
        JSON: "state" ("done", "incomplete" where steps failed, or "failed" with its "reason"), the result, and what
        became of each step.
    """
    given = json.loads(text)
    began, cpu, threads = time.time(), time.process_time(), None
    try:
        if given.get("introspect") != __version__:
            raise StoreError(
                f"this node has introspect {__version__} and the sweep was begun with {given.get('introspect')}; "
                "install the same version on all nodes"
            )
        order = StudyOrder.model_validate(given)
        _same_folder(order)
        with _given(order.resources):
            found = ProtocolRun(order.protocol, order.model, Path(order.out) / "lanes" / order.lane).run(wait=_WAIT)
            threads = _threads()
        told: dict[str, Any] = {"state": "done", **_told(found)}
        if found.count("failed") + found.count("blocked"):
            told["state"] = "incomplete"
        json.dumps(told, allow_nan=False)  # what cannot be written is this study's failure, and not the worker's
    except IntrospectError as error:
        told = {"state": "failed", "reason": " ".join(str(error).split())}
    except Exception as error:  # a study must not take a worker, and with it the others, down
        told = {"state": "failed", "reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    told |= {
        "process": f"{os.getpid()}@{socket.gethostname()}", "threads": threads,
        "began": began, "seconds": time.time() - began, "cpu_seconds": time.process_time() - cpu,
    }  # fmt: skip
    return json.dumps(told, ensure_ascii=False, allow_nan=False)


def _told(found: RunResult) -> dict[str, Any]:
    result = found.to_dict()
    result.pop("folder")
    steps = result.pop("steps")
    return {"result": result, "steps": steps}


def _same_folder(order: StudyOrder) -> None:
    """Whether this machine sees the sweep's folder."""
    mark = Path(order.out) / MARK
    try:
        seen = json.loads(mark.read_text(encoding="utf-8"))["hash"]
    except (OSError, ValueError, KeyError, TypeError):
        seen = None
    if seen != order.sweep:
        raise StoreError(
            f"{order.out} on {socket.gethostname()} is not the folder that the sweep was begun in; give one with "
            "--out that all nodes see under the same path"
        )


@contextmanager
def _given(resources: Resources) -> Iterator[None]:
    """Threads, and what trains and asks reads from the environment, for as long as the study runs."""
    given: dict[str, str] = {}
    if resources.processes > 1:
        given["INTROSPECT_PROCESSES"] = str(resources.processes)
    if resources.vllm is not None:
        given["INTROSPECT_VLLM_URL"] = resources.vllm
    with pinned_threads(resources.cpus), _environment(given):
        yield


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def main() -> None:
    """Orders on standard input, one a line; answers on what was standard output, which nothing else may write to."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answers.write(run_order(line) + "\n")
            answers.flush()
        except BrokenPipeError:  # whoever ordered it has gone; the study's steps are kept
            os._exit(1)
