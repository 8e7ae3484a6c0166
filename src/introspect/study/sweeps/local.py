"""Studies in processes of this machine, or in this very process."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from introspect.errors import ConfigError
from introspect.study.sweeps.executors import Lost, Ticket
from introspect.study.sweeps.lanes import StudyOrder
from introspect.study.sweeps.sweep import Resources
from introspect.study.sweeps.worker import cores, run_order, thread_variables

__all__ = ["HereExecutor", "LocalExecutor"]


# Not -m: the package has loaded that module by then, and it would be run a second time.
_PROGRAM = "from introspect.study.sweeps.worker import main; main()"


class HereExecutor:
    """One study after another in this process: for providers that are registered in it, and for debugging."""

    room = "this process"

    def __init__(self) -> None:
        self._waiting: deque[tuple[Ticket, StudyOrder]] = deque()

    def check(self, needs: Sequence[Resources]) -> None:
        """Whatever there is has to do."""

    def submit(self, ticket: Ticket, order: StudyOrder) -> None:
        """Keep it for `wait`."""
        self._waiting.append((ticket, order))

    def wait(self) -> list[tuple[Ticket, str | Lost]]:
        """Run the next one."""
        ticket, order = self._waiting.popleft()
        return [(ticket, run_order(order.model_dump_json()))]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    threads: int
    devices: str | None
    ticket: Ticket | None = None
    said: bytes = b""


class LocalExecutor:
    """Processes of this machine, each of which runs one study after another.

    A worker that dies is replaced. Workers share memory and GPUs by number alone: so many studies at once as there
    are workers, each with GPUs of its own where it needs any.

    Args:
        workers: How many; by default one for every core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._n = workers or cores()
        self._workers: list[_Worker | None] = [None] * self._n
        self._waiting: deque[tuple[Ticket, StudyOrder]] = deque()
        self._selector = selectors.DefaultSelector()
        self._gpus = 0.0

    @property
    def room(self) -> str:
        """How many workers."""
        return f"{self._n} worker{'s' * (self._n > 1)} on this machine"

    def check(self, needs: Sequence[Resources]) -> None:
        """Whether all workers together have what they would need at the same time.

        Raises:
            ConfigError: Too many workers for memory or GPUs.
        """
        gpus, memory = max(r.gpus for r in needs), max(r.memory_gb for r in needs)
        self._gpus = gpus
        here, there = len(_devices()) if gpus else 0, _memory_gb()
        # Of shares, whole ones only fit on a GPU: three times .3, and not half of a fourth.
        wanted = -(-self._n // int(1 / gpus + 1e-9)) if 0 < gpus < 1 else self._n * gpus
        if wanted > here:
            raise ConfigError(
                f"resources: {self._n} workers need {wanted:g} GPUs and this machine shows {here}; lower "
                "--workers or gpus, or give a cluster with --executor ray"
            )
        if memory and self._n * memory > there:
            raise ConfigError(
                f"resources: {self._n} workers need {self._n * memory:g} GB of memory and this machine has "
                f"{there:.0f}; lower --workers or memory_gb, or give a cluster with --executor ray"
            )

    def submit(self, ticket: Ticket, order: StudyOrder) -> None:
        """Hand it to a free worker, or keep it for the next."""
        self._waiting.append((ticket, order))
        self._hand_out()

    def wait(self) -> list[tuple[Ticket, str | Lost]]:
        """Wait for an answer, or the end of a worker."""
        ended: list[tuple[Ticket, str | Lost]] = []
        while not ended:
            for key, _ in self._selector.select():
                place: int = key.data
                found = self._heard(place)
                if found is not None:
                    ended.append(found)
        self._hand_out()
        return ended

    def _heard(self, place: int) -> tuple[Ticket, str | Lost] | None:
        worker = self._workers[place]
        assert worker is not None
        assert worker.process.stdout is not None
        part = os.read(worker.process.stdout.fileno(), 1 << 20)
        worker.said += part
        ticket = worker.ticket
        if part and b"\n" not in part:
            return None
        if part:
            line, _, worker.said = worker.said.partition(b"\n")
            worker.ticket = None
            return None if ticket is None else (ticket, line.decode())
        self._retire(place)
        code = worker.process.returncode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return None if ticket is None else (ticket, Lost(f"its worker, process {worker.process.pid}, died ({how})"))

    def _hand_out(self) -> None:
        for place in range(self._n):
            worker = self._workers[place]
            if not self._waiting or (worker is not None and worker.ticket is not None):
                continue
            ticket, order = self._waiting.popleft()
            worker = self._fit(place, order.resources)
            worker.ticket = ticket
            assert worker.process.stdin is not None
            # A worker that died meanwhile is noticed when it is listened to.
            with suppress(BrokenPipeError):
                worker.process.stdin.write(order.model_dump_json().encode() + b"\n")
                worker.process.stdin.flush()

    def _fit(self, place: int, needs: Resources) -> _Worker:
        """The worker of a place, or a new one where threads or GPUs differ: a process cannot change them later."""
        worker, devices = self._workers[place], _share(place, needs.gpus, max(self._gpus, needs.gpus))
        if worker is not None and worker.threads == needs.cpus and worker.devices == devices:
            return worker
        if worker is not None:
            self._retire(place)
        environment = {**os.environ, **thread_variables(needs.cpus)}
        if devices is not None:
            environment["CUDA_VISIBLE_DEVICES"] = devices
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=environment, bufsize=0,
        )  # fmt: skip
        made = _Worker(process, needs.cpus, devices)
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, place)
        self._workers[place] = made
        return made

    def _retire(self, place: int) -> None:
        worker, self._workers[place] = self._workers[place], None
        if worker is None:
            return
        assert worker.process.stdin is not None
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)
        with suppress(OSError):
            worker.process.stdin.close()
        if worker.ticket is not None:  # in the middle of a study: dead already, or told to stop
            worker.process.terminate()
        worker.process.wait()
        worker.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all workers."""
        for place in range(self._n):
            self._retire(place)
        self._selector.close()


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (ValueError, OSError, AttributeError):
        return float("inf")  # a system that does not say


def _devices() -> list[str]:
    """GPUs that may be used, by what CUDA_VISIBLE_DEVICES calls them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [part for part in named.split(",") if part.strip()]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False).stdout
    return [str(k) for k, line in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def _share(place: int, gpus: float, most: float) -> str | None:
    """The GPUs of a worker's place: some of its own, or one that it shares with its neighbours.

    Args:
        place: Number of the worker.
        gpus: What its study needs.
        most: What the most demanding study of the sweep needs: places are cut for it, so that no two overlap.
    """
    if not gpus:
        return None
    known = _devices()
    if most < 1:
        return known[place // int(1 / most + 1e-9)]
    first = place * int(most)
    return ",".join(known[first : first + max(1, int(gpus))])
