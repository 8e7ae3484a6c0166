"""What happened to a fine-tuning job, line by line in a file."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from introspect.serve.naming import new_id

__all__ = ["EventLog"]

_SHOWN_STEPS = 200


class EventLog:
    """A job's events, oldest first; written from the event loop and from the thread that trains.

    Args:
        path: JSON Lines; what an earlier process wrote is kept.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._events: list[dict[str, Any]] = []
        if path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    self._events.append(json.loads(line))
                except ValueError:  # the line that a kill cut off
                    continue
            if self._events and not path.read_bytes().endswith(b"\n"):
                with path.open("a", encoding="utf-8") as file:
                    file.write("\n")

    def all(self) -> list[dict[str, Any]]:
        """OpenAI's event objects, oldest first."""
        with self._lock:
            return list(self._events)

    def say(self, message: str, level: str = "info", data: dict[str, Any] | None = None) -> None:
        """Add an event; with data, it is one of type "metrics"."""
        event: dict[str, Any] = {
            "object": "fine_tuning.job.event",
            "id": new_id("ftevent-"),
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": "message" if data is None else "metrics",
        }
        if data is not None:
            event["data"] = data
        with self._lock:
            self._events.append(event)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")

    def step(self, done: int, total: int, loss: float | None) -> None:
        """Tell of a gradient step; of long trainings, only some."""
        if done not in (1, total) and done % max(1, total // _SHOWN_STEPS):
            return
        data: dict[str, Any] = {"step": done, "total_steps": total}
        said = f"Step {done}/{total}"
        if loss is not None:
            data["train_loss"] = round(loss, 6)
            said += f": training loss={loss:.4f}"
        self.say(said, data=data)
