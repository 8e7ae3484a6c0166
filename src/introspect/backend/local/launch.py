"""Training in several processes, one per GPU, started with accelerate's own launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from pydantic import JsonValue

from introspect.backend.jobs import FolderJobs
from introspect.backend.protocol import JobRecorder
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.errors import TrainingError

if TYPE_CHECKING:
    import torch

__all__ = ["processes_asked", "train_in_processes", "world_size"]

_VARIABLE = "INTROSPECT_PROCESSES"
_MARK = "introspect-progress "


def processes_asked() -> int:
    """Processes that the environment asks for (INTROSPECT_PROCESSES); 1 where it does not, and inside such a process.

    Raises:
        TrainingError: It is not a whole number.
    """
    asked = os.environ.get(_VARIABLE, "1")
    if not asked.isdigit():
        raise TrainingError(f"{_VARIABLE} must be a number of processes, got {asked!r}")
    return 1 if world_size() > 1 else max(1, int(asked))


def world_size() -> int:
    """Processes that train together with this one, itself included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def train_in_processes(
    n: int,
    device: torch.device,
    every: float,
    base: ModelRef,
    data: TrainingSet,
    spec: TrainingSpec,
    jobs: JobRecorder,
) -> ModelRef:
    """Train in `n` processes, which share every batch, and come back with the result.

    Args:
        n: Processes.
        device: "cpu" or "cuda"; of several GPUs each process takes its own.
        every: Seconds between two checkpoints.
        base: Start.
        data: Examples.
        spec: Settings; `batch_size` is that of all processes together.
        jobs: Whose folder gets the weights.

    Raises:
        TrainingError: The batch cannot be shared, or a process failed; its last words are in the message.
    """
    if spec.batch_size % n:
        raise TrainingError(f"a batch of {spec.batch_size} cannot be shared evenly by {n} processes")
    order = jobs.folder / ".order.json"
    order.write_text(
        json.dumps(
            {
                "base": base.model_dump(mode="json"),
                "spec": spec.model_dump(mode="json"),
                "data": data.to_jsonl(),
                "device": device.type,
                "every": every,
            }
        ),
        encoding="utf-8",
    )
    before = jobs.recall()
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(n), "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
        *(["--cpu"] if device.type == "cpu" else ["--multi_gpu"]),
        "-m", "introspect.backend.local.launch", str(order),
    ]  # fmt: skip
    last: deque[str] = deque(maxlen=25)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            assert running.stdout is not None
            for line in running.stdout:
                if line.startswith(_MARK):
                    done, total, loss = json.loads(line.removeprefix(_MARK))
                    jobs.progress(done, total, loss)
                else:
                    last.append(line.rstrip())
                _stop_if_cancelled()
        except BaseException:
            running.terminate()  # the launcher ends its children
            raise
    order.unlink(missing_ok=True)
    result = jobs.folder / ".result.json"
    if running.returncode or not result.is_file():
        said = next((line for line in reversed(last) if "Error" in line), "\n".join(last))
        raise TrainingError(f"training in {n} processes failed (exit {running.returncode}): {said}")
    told = json.loads(result.read_text(encoding="utf-8"))
    result.unlink()
    jobs.record({**before, **told["state"]})
    return ModelRef.model_validate(told["ref"])


class _Rank(FolderJobs):
    """The first process tells its parent how it goes; the others are silent, and none of them keeps the state."""

    def __init__(self, folder: Path) -> None:
        first = os.environ.get("RANK", "0") == "0"
        super().__init__(folder, _tell if first else None)
        self.state: dict[str, JsonValue] = {}

    def recall(self) -> dict[str, JsonValue]:
        """Nothing: the parent has looked."""
        return {}

    def record(self, state: dict[str, JsonValue]) -> None:
        """For the parent."""
        self.state = dict(state)


def _tell(done: int, total: int, loss: float | None) -> None:
    print(_MARK + json.dumps([done, total, loss]), flush=True)


def _stop_if_cancelled() -> None:
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:  # not called through the event loop, so nobody can cancel
        return


def _main(order: Path) -> None:
    import torch

    from introspect.backend.local.trainer import TransformersTrainer

    asked = json.loads(order.read_text(encoding="utf-8"))
    device = asked["device"]
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    jobs = _Rank(order.parent)
    ref = TransformersTrainer(device=device, checkpoint_every=asked["every"], processes=1)._train(
        ModelRef.model_validate(asked["base"]),
        TrainingSet.from_jsonl(asked["data"]),
        TrainingSpec.model_validate(asked["spec"]),
        jobs,
    )
    if os.environ.get("RANK", "0") == "0":
        text = json.dumps({"ref": ref.model_dump(mode="json"), "state": jobs.state})
        (order.parent / ".result.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
