"""Fine-tuning jobs: a queue that survives a restart, and real training behind each."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import JsonValue

from introspect.backend import FolderJobs, ModelRef, TrainingSet, TrainingSpec, trainer_for
from introspect.backend.secrets import scrub
from introspect.errors import IntrospectError, TrainingError
from introspect.serve.config import ServeConfig
from introspect.serve.disk import read_states, write_state
from introspect.serve.errors import ApiError, not_found
from introspect.serve.events import EventLog
from introspect.serve.examples import read_examples
from introspect.serve.files import FileShelf
from introspect.serve.metrics import as_csv, metrics
from introspect.serve.models import ModelShelf, Served
from introspect.serve.naming import new_id, served_name, suffix_part
from introspect.serve.requests import JobBody, parsed, shown_hyperparameters, spec_of

__all__ = ["Job", "JobQueue"]

_FINISHED = ("succeeded", "failed", "cancelled")
_LATER = 5.0  # seconds until a disk that took nothing is tried again
_log = logging.getLogger("introspect.serve")


class _Stop(Exception):
    """Raised inside a trainer, at a gradient step, when its job is cancelled or the server stops."""


class Job:
    """One fine-tuning job and its folder.

    Args:
        folder: Holds the state, the events, a copy of the training file, and what the trainer writes.
        state: What `write_state` kept: OpenAI's job object under "job", and what only this server needs.
    """

    def __init__(self, folder: Path, state: dict[str, Any]) -> None:
        self.folder, self._state = folder, state
        self.events = EventLog(folder / "events.jsonl")
        self.stop = False

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's job object."""
        return dict(self._state["job"])

    @property
    def id(self) -> str:
        """Its id."""
        return str(self._state["job"]["id"])

    @property
    def status(self) -> str:
        """As in OpenAI's description."""
        return str(self._state["job"]["status"])

    @property
    def finished(self) -> bool:
        """It will not change any more."""
        return self.status in _FINISHED

    @property
    def base(self) -> ModelRef:
        """The model it starts from."""
        return ModelRef.model_validate(self._state["base"])

    @property
    def spec(self) -> TrainingSpec:
        """How it trains."""
        return TrainingSpec.model_validate(self._state["spec"])

    @property
    def tuned(self) -> ModelRef | None:
        """What came out. Weights inside the job's folder are found also after the folder was moved."""
        if self._state.get("ref") is None:
            return None
        ref = ModelRef.model_validate(self._state["ref"])
        inside = self._state.get("inside")
        return ref if inside is None else ref.model_copy(update={"location": str(self.folder / inside)})

    @property
    def last_step(self) -> dict[str, Any]:
        """Number and loss of the last gradient step."""
        return dict(self._state.get("last_step") or {"step": 0})

    @property
    def withdrawn(self) -> bool:
        """Its model was deleted."""
        return bool(self._state.get("withdrawn"))

    def save(self, job: dict[str, Any] | None = None, **state: Any) -> None:
        """Change the state, on disk before in memory."""
        new = {**self._state, **state, "job": {**self._state["job"], **(job or {})}}
        write_state(self.folder / "state.json", new)
        self._state = new

    def keep_tuned(self, ref: ModelRef, job: dict[str, Any]) -> None:
        """The training is done."""
        inside = None
        if ref.location is not None and Path(ref.location).is_relative_to(self.folder):
            inside = str(Path(ref.location).relative_to(self.folder))
        self.save(job, ref=ref.model_dump(mode="json"), inside=inside)


class _Recorder(FolderJobs):
    """What a trainer writes to: its own folder, the job's events, and the way to stop it."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.folder / "training")
        self._job = job
        self.steps: list[tuple[int, float | None]] = []

    def progress(self, done: int, total: int, loss: float | None = None) -> None:
        if self._job.stop:
            raise _Stop
        self.steps.append((done, loss))
        self._job.events.step(done, total, loss)

    def record(self, state: dict[str, JsonValue]) -> None:
        super().record(state)


class JobQueue:
    """All fine-tuning jobs of a server; one trains at a time.

    Args:
        folder: Where they lie.
        files: Training files come from here, results go there.
        models: Tuned models are served here.
        config: Limits and what "auto" means.
    """

    def __init__(self, folder: Path, files: FileShelf, models: ModelShelf, config: ServeConfig) -> None:
        self._folder, self._files, self._models, self._config = folder, files, models, config
        folder.mkdir(parents=True, exist_ok=True)
        self._jobs: dict[str, Job] = {}
        self._wake = asyncio.Event()
        self._current: Job | None = None
        self._stopping = False
        for path, state in read_states(folder, "*/state.json"):
            job = Job(path.parent.absolute(), {**state, "job": dict(state["job"])})
            self._jobs[job.id] = job
            tuned = job.tuned
            if tuned is not None and not job.withdrawn:
                self._serve(job, tuned)

    def all(self) -> list[Job]:
        """Every job, oldest first."""
        return list(self._jobs.values())

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            ApiError: There is none of this id.
        """
        if job_id not in self._jobs:
            raise not_found("fine-tuning job", job_id, "fine_tuning_job_id")
        return self._jobs[job_id]

    async def create(self, raw: object) -> Job:
        """Queue a job. It is on disk before its id is told.

        Raises:
            ApiError: The request is not one, or names a model or file that is not there.
        """
        body = parsed(JobBody, raw)
        spec = spec_of(body, self._config.training)
        base = self._models.get(body.model)
        training = self._files.input(body.training_file, "fine-tune", "training_file")
        if body.validation_file is not None:
            self._files.input(body.validation_file, "fine-tune", "validation_file")
        limits = self._config.limits
        if len(self._jobs) >= limits.jobs:
            raise ApiError(429, f"there are {len(self._jobs)} jobs already, which is this server's limit", "job_limit")
        if sum(not job.finished for job in self._jobs.values()) >= limits.waiting_jobs:
            raise ApiError(429, f"{limits.waiting_jobs} jobs wait already; try again later", "job_limit")
        hyperparameters = shown_hyperparameters(spec, self._config.training)
        now, job_id = int(time.time()), new_id("ftjob-")
        state: dict[str, Any] = {
            "order": time.time_ns(),
            "base": base.ref.model_dump(mode="json"),
            "spec": spec.model_dump(mode="json"),
            "suffix": body.suffix,
            "job": {
                "object": "fine_tuning.job",
                "id": job_id,
                "model": body.model,
                "created_at": now,
                "finished_at": None,
                "fine_tuned_model": None,
                "organization_id": "org-introspect",
                "result_files": [],
                "status": "validating_files",
                "validation_file": body.validation_file,
                "training_file": training.id,
                "hyperparameters": hyperparameters,
                "trained_tokens": None,
                "error": None,
                "integrations": [],
                "seed": spec.seed % 2**31,
                "estimated_finish": None,
                "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
                "metadata": body.metadata,
            },
        }
        folder = (self._folder / job_id).absolute()
        folder.mkdir()
        try:
            # A copy: the file may be deleted while the job waits.
            await anyio.to_thread.run_sync(shutil.copyfile, self._files.path(training), folder / "training.jsonl")
            job = Job(folder, state)
            job.save()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._jobs[job_id] = job
        job.events.say(f"Created fine-tuning job: {job_id}")
        if body.validation_file is not None:
            job.events.say("The validation file is kept but not evaluated: no validation loss will be shown.", "warn")
        self._wake.set()
        return job

    async def cancel(self, job_id: str) -> Job:
        """Stop a job, at its next gradient step where it trains.

        Raises:
            ApiError: There is none, or it is finished.
        """
        job = self.get(job_id)
        if job.finished:
            raise ApiError(400, f"Job has already {job.status}: {job_id}", "invalid_job_state")
        job.stop = True
        job.save({"status": "cancelled", "finished_at": int(time.time())})
        job.events.say("The job has been cancelled.")
        return job

    def checkpoints(self, job: Job) -> list[dict[str, Any]]:
        """The one state of the weights that is kept: the last."""
        tuned, last = job.tuned, job.last_step
        if tuned is None or job.withdrawn:
            return []
        checkpoint = {
            "object": "fine_tuning.job.checkpoint",
            "id": job.id.replace("ftjob-", "ftckpt_"),
            "created_at": job.body["finished_at"],
            "fine_tuned_model_checkpoint": job.body["fine_tuned_model"],
            "fine_tuning_job_id": job.id,
            "step_number": last["step"],
            "metrics": last,
        }
        return [checkpoint]

    async def withdraw(self, name: str) -> None:
        """Delete a tuned model and its weights.

        Raises:
            ApiError: There is none of this name, it is the base, or a job still needs it.
        """
        self._models.get(name)
        if any(not job.finished and job.body["model"] == name for job in self._jobs.values()):
            raise ApiError(409, f"a fine-tuning job still needs {name!r}", "model_in_use")
        await self._models.remove(name)
        for job in self._jobs.values():
            if job.body["fine_tuned_model"] == name:
                job.save(withdrawn=True)
                if not any(name == other.body["model"] for other in self._jobs.values()):
                    shutil.rmtree(job.folder / "training", ignore_errors=True)

    async def work(self) -> None:
        """Train what is queued, for as long as the server runs."""
        for job in self._jobs.values():
            if not job.finished:
                with suppress(OSError):
                    job.events.say("The server was restarted; the job goes on.")
        while not self._stopping:
            waiting = next((job for job in self._jobs.values() if not job.finished), None)
            if waiting is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._current = waiting
            try:
                await self._run(waiting)
            except OSError:  # its state cannot be written: the disk is full, and may not be for ever
                _log.exception("job %s", waiting.id)
                await asyncio.sleep(_LATER)
            self._current = None

    def halt(self) -> None:
        """Let the training that is under way stop at its next step; its job goes on at the next start."""
        self._stopping = True
        if self._current is not None:
            self._current.stop = True
        self._wake.set()

    async def _run(self, job: Job) -> None:
        recorder = _Recorder(job)
        try:
            data = await self._validated(job)
            if job.finished:
                return
            job.save({"status": "running"})
            job.events.say("Fine-tuning job started")
            tuned = await trainer_for(job.base).train(job.base, data, job.spec, recorder)
            if job.status != "cancelled":
                self._succeeded(job, tuned, recorder)
        except _Stop:
            return  # cancelled, or to be gone on with
        except (IntrospectError, OSError) as error:
            self._failed(job, error)
        except Exception as error:  # a trainer may raise anything; the next job must not suffer
            if not _stopped(error):
                _log.exception("job %s", job.id)
                self._failed(job, error)

    async def _validated(self, job: Job) -> TrainingSet:
        if job.status == "validating_files":
            job.events.say(f"Validating training file: {job.body['training_file']}")
        data, notes = await anyio.to_thread.run_sync(read_examples, job.folder / "training.jsonl", self._config.limits)
        trainer = trainer_for(job.base)
        check = getattr(trainer, "check", None)
        if check is not None and job.status == "validating_files":
            found = await anyio.to_thread.run_sync(check, job.base, data)
            problems = tuple(found) if isinstance(found, Sequence) else ()
            if problems:
                raise TrainingError("; ".join(map(str, problems[:3])))
        if job.status == "validating_files":
            for note in notes:
                job.events.say(note, "warn")
            job.events.say("Files validated, moving job to queued state")
            job.save({"status": "queued"})
        return data

    def _succeeded(self, job: Job, tuned: ModelRef, recorder: _Recorder) -> None:
        name = self._tuned_name(job)
        last = metrics(recorder.steps)
        result = self._files.write(
            as_csv(job.folder / "metrics.csv", recorder.steps), "step_metrics.csv", "fine-tune-results"
        )
        job.save(last_step=last)
        job.keep_tuned(
            tuned,
            {
                "status": "succeeded",
                "finished_at": int(time.time()),
                "fine_tuned_model": name,
                "result_files": [result.id],
            },
        )
        self._serve(job, tuned)
        job.events.say(f"New fine-tuned model created: {name}")
        job.events.say("The job has successfully completed")

    def _failed(self, job: Job, error: Exception) -> None:
        if job.finished:
            return
        validating = job.status == "validating_files"
        message = scrub(str(error) if isinstance(error, IntrospectError) else f"{type(error).__name__}: {error}")
        told = {
            "code": "invalid_training_file" if validating else "training_failed",
            "message": message[:2000],
            "param": "training_file" if validating else None,
        }
        job.save({"status": "failed", "finished_at": int(time.time()), "error": told})
        job.events.say(f"The job failed: {message[:2000]}", "error")

    def _tuned_name(self, job: Job) -> str:
        base = job.body["model"]
        root = base.split(":")[1] if base.startswith("ft:") else base
        return f"ft:{root}:introspect:{suffix_part(job._state.get('suffix'))}:{job.id[-8:]}"

    def _serve(self, job: Job, tuned: ModelRef) -> None:
        self._models.add(Served(job.body["fine_tuned_model"] or served_name(tuned), tuned, job.body["created_at"]))


def _stopped(error: BaseException | None) -> bool:
    """Whether a trainer wrapped our own signal into an error of its own."""
    while error is not None:
        if isinstance(error, _Stop):
            return True
        error = error.__cause__ or error.__context__
    return False
