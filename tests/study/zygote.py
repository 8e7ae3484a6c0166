"""Runs studies in children of one process that has imported all it needs, so that many kills take little time."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Zygote:
    """A process that runs `paid_study` in a child, for each folder that it is told.

    Args:
        provider: Of the model that is studied.
        url: Where it is.
        n_contexts: How large the study is.
        folder: For what the children complain of.
        key: For the server.
    """

    def __init__(self, provider: str, url: str, n_contexts: int, folder: Path, key: str) -> None:
        folder.mkdir()
        self.log = folder / "stderr.txt"
        env = {**os.environ, "OMP_NUM_THREADS": "1", "INTROSPECT_API_KEY_127_0_0_1": key}
        program = Path(__file__).with_name("paid_study.py")
        command = [sys.executable, str(program), provider, url, str(n_contexts)]
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env
            )

        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self._said.put(line) for line in self._process.stdout], daemon=True).start()

    def start(self, folder: Path) -> int:
        """Begin or go on with the study in a folder; the child's pid."""
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        return int(self._said.get(timeout=600))

    @property
    def runs(self) -> bool:
        """Whether the child has not ended yet."""
        return self._said.empty()

    def ended(self) -> int:
        """Wait for the child; its exit code, or below zero the signal that ended it."""
        status = int(self._said.get(timeout=600))
        self._process.stdin.write("reap\n")
        self._process.stdin.flush()
        return status

    def close(self) -> None:
        """Let the process end."""
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def zygote(provider: str, url: str, n_contexts: int, folder: Path, key: str = "none") -> Iterator[Zygote]:
    """A `Zygote` for as long as the block lasts."""
    made = Zygote(provider, url, n_contexts, folder, key)
    try:
        yield made
    finally:
        made.close()
