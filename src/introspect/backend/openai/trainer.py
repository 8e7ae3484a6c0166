"""Fine-tuning through OpenAI's interface: the service, Azure, and `introspect serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import JsonValue

from introspect.backend.openai.address import Address
from introspect.backend.openai.client import make_client, needed_key
from introspect.backend.openai.failing import retry_after
from introspect.backend.openai.training_errors import failed_job, passing, training_error
from introspect.backend.openai.training_request import JOB_KEY, file_name, job_key, request_of, same_job
from introspect.backend.protocol import JobRecorder
from introspect.backend.secrets import Secret
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, TrainingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from openai import AsyncOpenAI

__all__ = ["OpenAITrainer"]

T = TypeVar("T")
_MINIMUM = 10  # examples, of OpenAI and Azure
_LONGEST_WAIT = 60.0
_ENDED_BADLY = ("failed", "cancelled")
_BEING_READ = ("pending", "running", "uploading")  # of a file, on Azure


class OpenAITrainer:
    """Fine-tunes a hosted model and returns a reference to the tuned one.

    Every step can be interrupted and is not repeated: the job's id is recorded before anything waits on it; a file of
    equal content that is on the server already is used and not sent again; a job whose id was lost, as its process
    died between asking and recording, is found by what is written in its metadata. A job that failed or was cancelled
    is begun anew by running again.

    Of the spec, a hosted service is told epochs, batch size and seed, and from ``extra`` "learning_rate_multiplier" and
    "suffix"; a spec that asks for what it cannot be told is refused before anything is sent. `introspect serve` is told
    the whole spec.

    Args:
        key: By default taken from the environment; see `introspect.backend.secrets.key_names`.
        deadline: Seconds to wait for one job. It goes on when they are over, and running again goes on waiting.
        poll: Seconds between two looks at a job, after a while; at first they follow closer.
        attempts: How often a call is made that fails in passing (rate limits, the server's errors, a lost connection).

    Example:
        >>> base = ModelRef(provider="openai", model="gpt-4.1-mini", location="https://api.openai.com/v1")
        >>> data = TrainingSet.from_jsonl(
        ...     '{"messages": [{"role": "user", "content": "A or B?"}, {"role": "assistant", "content": "A"}]}')
        >>> OpenAITrainer(deadline=3600).check(base, data)
        ['1 example: https://api.openai.com/v1 needs at least 10']
    """

    def __init__(
        self,
        *,
        key: Secret | str | None = None,
        deadline: float = 24 * 3600.0,
        poll: float = 30.0,
        attempts: int = 6,
    ) -> None:
        if not deadline > 0 or not poll > 0 or attempts < 1:
            raise BackendError("deadline, poll and attempts must be positive")
        self._key = key if isinstance(key, Secret) or key is None else Secret(key)
        self._deadline, self._poll, self._attempts = deadline, poll, attempts

    def check(self, base: ModelRef, data: TrainingSet) -> Sequence[str]:
        """Problems that the service would only name after the upload."""
        address = Address.of(base.location)
        if address.dialect in ("openai", "azure") and len(data) < _MINIMUM:
            return [f"{len(data)} example{'s' * (len(data) > 1)}: {address} needs at least {_MINIMUM}"]
        return []

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        """Upload, create, wait.

        Returns:
            The tuned model: `adapter` is the name that the service gave it.

        Raises:
            TrainingError: The service refused, the job failed, or the deadline is over; the message says what to do.
            FatalBackendError: The service needs a key and there is none.
        """
        async with self._service(base) as (client, address):
            run = _Run(client, address, base, data, spec, jobs, self._poll, self._attempts)
            return await run.train(self._deadline)

    async def events(self, base: ModelRef, job_id: str) -> list[str]:
        """What a job has said, oldest first."""
        async with self._service(base) as (client, address):
            try:
                found = [event.message async for event in client.fine_tuning.jobs.list_events(job_id, limit=100)]
            except Exception as error:
                raise training_error(error, address, base.model, f"reading the events of {job_id}") from None
        return found[::-1]

    async def checkpoints(self, base: ModelRef, job_id: str) -> list[ModelRef]:
        """The models that a job left on its way, in the order of their steps; some services keep only the last."""
        async with self._service(base) as (client, address):
            try:
                found = [c async for c in client.fine_tuning.jobs.checkpoints.list(job_id)]
            except Exception as error:
                raise training_error(error, address, base.model, f"reading the checkpoints of {job_id}") from None
        ordered = sorted(found, key=lambda c: c.step_number)
        return [_tuned(base, c.fine_tuned_model_checkpoint) for c in ordered]

    async def cancel(self, base: ModelRef, job_id: str) -> str:
        """Stop a job; returns its status.

        Raises:
            TrainingError: There is no such job, or it is over.
        """
        async with self._service(base) as (client, address):
            try:
                return str((await client.fine_tuning.jobs.cancel(job_id)).status)
            except Exception as error:
                raise training_error(error, address, base.model, f"cancelling {job_id}") from None

    @asynccontextmanager
    async def _service(self, base: ModelRef) -> AsyncIterator[tuple[AsyncOpenAI, Address]]:
        address = Address.of(base.location)
        client = make_client(address, needed_key(address, self._key))
        try:
            yield client, address
        finally:
            await client.close()


class _Run:
    """One training, from the first call to the tuned model's name."""

    def __init__(
        self,
        client: AsyncOpenAI,
        address: Address,
        base: ModelRef,
        data: TrainingSet,
        spec: TrainingSpec,
        jobs: JobRecorder,
        poll: float,
        attempts: int,
    ) -> None:
        self._client, self._address, self._jobs = client, address, jobs
        self._base, self._data, self._spec = base, data, spec
        self._poll, self._attempts = poll, attempts
        self._model = base.adapter or base.model
        self._key = job_key(base, data, spec)
        recalled = jobs.recall()
        # What is recorded about another training is not about this one.
        self._state: dict[str, JsonValue] = recalled if recalled.get("job") == self._key else {"job": self._key}
        self._told = 0

    async def train(self, deadline: float) -> ModelRef:
        end = time.monotonic() + deadline
        job = await self._recalled()
        if job is None:
            job = await self._begun(end)
        # Before anything waits on it.
        self._record(job_id=job.id)
        job = await self._finished(job, end, deadline)
        if job.status in _ENDED_BADLY or not job.fine_tuned_model:
            raise failed_job(job, self._address)
        self._record(model=job.fine_tuned_model, trained_tokens=job.trained_tokens)
        return _tuned(self._base, job.fine_tuned_model)

    def _record(self, **changes: JsonValue) -> None:
        self._state = {**self._state, **changes}
        self._jobs.record(self._state)

    async def _recalled(self) -> Any:
        """The job that an earlier attempt recorded, unless it came to nothing."""
        job_id = self._state.get("job_id")
        if not isinstance(job_id, str):
            return None
        from openai import APIStatusError

        retrieve = partial(self._client.fine_tuning.jobs.retrieve, job_id)
        try:
            job = await self._call(retrieve, f"looking at {job_id}", lets=(404,))
        except APIStatusError:  # the service knows it no longer
            return None
        return None if job.status in _ENDED_BADLY else job

    async def _begun(self, end: float) -> Any:
        whole = await self._is_ours()
        request_of(self._model, "", self._data, self._spec, self._key, whole=whole)  # refused before anything is sent
        file = await self._file(end)
        request = request_of(self._model, file, self._data, self._spec, self._key, whole=whole)
        wait = 1.0
        for attempt in range(1, self._attempts + 1):
            found = await self._found(request)
            if found is not None:
                return found
            self._record(file=file, asked=True)
            try:
                return await self._client.fine_tuning.jobs.create(**request)
            except Exception as error:
                # It may have got there all the same: look before asking again.
                if not whole and "metadata" in request and _unknown(error, "metadata"):
                    request.pop("metadata")
                elif not passing(error) or attempt == self._attempts:
                    raise self._error(error, "creating the job") from None
                else:
                    wait = await self._pause(error, wait)
        raise TrainingError(f"{self._address} did not create the job in {self._attempts} attempts. Run again")

    async def _is_ours(self) -> bool:
        """Whether a server of this library serves the model, which can be sent a whole spec."""
        from openai import APIStatusError

        retrieve = partial(self._client.models.retrieve, self._model)
        try:
            found = await self._call(retrieve, "looking for the model", lets=(400, 403, 404, 405, 501))
        except APIStatusError:
            return False  # some servers list no models; creating the job will tell
        return bool(found.owned_by == "introspect")

    async def _file(self, end: float) -> str:
        """The id of a file with this content, which is sent only if there is none yet."""
        name, content = file_name(self._data), self._data.to_jsonl().encode()
        wait = 1.0
        for attempt in range(1, self._attempts + 1):
            file = await self._kept(name, len(content))
            if file is None:
                try:
                    file = await self._client.files.create(file=(name, content), purpose="fine-tune")
                except Exception as error:
                    if not passing(error) or attempt == self._attempts:
                        raise self._error(error, "uploading the training data") from None
                    wait = await self._pause(error, wait)
                    continue
            self._record(file=file.id)
            return await self._read(file, end)
        raise TrainingError(f"{self._address} did not take the training data in {self._attempts} attempts. Run again")

    async def _kept(self, name: str, size: int) -> Any:
        async def look() -> Any:
            async for file in self._client.files.list(purpose="fine-tune"):
                if file.filename == name and file.bytes == size and file.status != "error":
                    return file
            return None

        return await self._call(look, "looking for the training data")

    async def _read(self, file: Any, end: float) -> str:
        """Azure takes no job on a file that it has not read yet."""
        while file.status in _BEING_READ and time.monotonic() < end:
            await asyncio.sleep(min(self._poll, 2.0))
            file = await self._call(partial(self._client.files.retrieve, file.id), "waiting for the file to be read")
        if file.status == "error":
            raise TrainingError(
                f"{self._address} does not accept the training data: {file.status_details or 'no reason given'}"
            )
        return str(file.id)

    async def _found(self, request: dict[str, Any]) -> Any:
        """A job that an attempt created whose answer never arrived."""

        async def look() -> Any:
            # Servers that know no such filter give all jobs; each is looked at.
            listed = self._client.fine_tuning.jobs.list(limit=100, metadata={JOB_KEY: self._key})
            seen = 0
            async for job in listed:
                seen += 1
                if same_job(job, self._key, request) and job.status not in _ENDED_BADLY:
                    return job
                if seen >= 1000:
                    break
            return None

        return await self._call(look, "looking for the job")

    async def _finished(self, job: Any, end: float, deadline: float) -> Any:
        wait, job_id = min(0.2, self._poll), job.id
        while job.status not in ("succeeded", *_ENDED_BADLY):
            if time.monotonic() > end:
                raise TrainingError(
                    f"fine-tuning job {job_id} at {self._address} is not done after {deadline:g} s ({job.status}). It "
                    f"goes on there; run again to go on waiting"
                )
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, self._poll)
            try:
                job = await self._client.fine_tuning.jobs.retrieve(job_id)
                await self._watch(job_id)
            except Exception as error:
                if not passing(error):
                    raise self._error(error, f"waiting for {job_id}") from None
                wait = await self._pause(error, wait)
        await self._watch(job_id, quietly=True)
        return job

    async def _watch(self, job_id: str, *, quietly: bool = False) -> None:
        """Pass the last gradient step on to who watches."""
        try:
            events = await self._client.fine_tuning.jobs.list_events(job_id, limit=20)
        except Exception:
            if quietly:
                return
            raise
        for event in events.data:
            data = event.data if isinstance(event.data, dict) else {}
            done, total, loss = (data.get(name) for name in ("step", "total_steps", "train_loss"))
            if event.type == "metrics" and isinstance(done, int | float):
                if int(done) > self._told:
                    self._told = int(done)
                    total = int(total) if isinstance(total, int | float) else self._spec.steps(len(self._data))
                    self._jobs.progress(self._told, total, loss if isinstance(loss, float) else None)
                return

    async def _call(self, call: Callable[[], Awaitable[T]], doing: str, lets: Sequence[int] = ()) -> T:
        """A call that may be made again and again; errors of the statuses in `lets` are raised as they are."""
        wait = 1.0
        for attempt in range(1, self._attempts + 1):
            try:
                return await call()
            except Exception as error:
                if getattr(error, "status_code", None) in lets:
                    raise
                if not passing(error) or attempt == self._attempts:
                    raise self._error(error, doing) from None
                wait = await self._pause(error, wait)
        raise AssertionError("attempts are at least one")

    async def _pause(self, error: Exception, wait: float) -> float:
        response = getattr(error, "response", None)
        asked = None if response is None else retry_after(response.headers)
        # The poll's length bounds waits of our own, so that whoever polls fast (a test) also retries fast.
        await asyncio.sleep(min(wait, self._poll) if asked is None else min(asked, 10 * _LONGEST_WAIT))
        return min(2 * wait, _LONGEST_WAIT)

    def _error(self, error: Exception, doing: str) -> TrainingError:
        return training_error(error, self._address, self._model, doing)


def _tuned(base: ModelRef, name: str) -> ModelRef:
    return base.model_copy(update={"adapter": name, "parent": base})


def _unknown(error: Exception, field: str) -> bool:
    """Whether a service says that it knows no such field."""
    words = f"{getattr(error, 'code', '')} {getattr(error, 'message', '')}".lower()
    signs = ("unknown", "unrecognized", "unexpected", "not permitted", "extra", "additional", "unsupported")
    return getattr(error, "status_code", None) in (400, 422) and field in words and any(sign in words for sign in signs)
