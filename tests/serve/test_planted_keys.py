"""A key shows nowhere on the whole hosted path: chat, training, batches, the server itself, and what is exported."""

from __future__ import annotations

import gc
import io
import logging
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve_lessons import LESSONS

from introspect.backend import FolderJobs, Message, ModelRef, Request, TrainingSet, TrainingSpec, ask, run_sync
from introspect.backend.openai import Batched, OpenAIBackend, OpenAITrainer
from introspect.backend.secrets import Secret
from introspect.decision import OrganismStyle, organism_scenarios
from introspect.errors import IntrospectError
from introspect.measure import AccuracyMetric
from introspect.serve import ServeConfig, serving
from introspect.study import Study, StudyProtocol, export_study, replay_study

SERVERS, WRONG = "sk-pl4nted-0f-the-server-0123", "sk-pl4nted-wr0ng-9876543210"
LOUD = (
    "openai",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "stamina",
    "introspect",
    "asyncio",
    "uvicorn",
    "starlette",
)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that anything logs, down to the details."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    for name in LOUD:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


def question(number: int) -> Request:
    text = f"choose k0001 A p{number} q19 r70 s33 t90 B p45 q30 r54 s72 t89 :"
    return Request(messages=(Message(role="user", content=text),), answers=("A", "B"))


def shown_by(error: BaseException) -> str:
    """The error in every form that somebody could paste into a report, with the variables of every frame."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    # But for this file's own variables, which hold the keys in the open.
    for part in (whole, whole.__cause__, whole.__context__):
        if part is not None:
            part.stack[:] = [frame for frame in part.stack if frame.filename != __file__]
    assert len(whole.stack) > 2
    return "".join([str(error), repr(error), repr(error.__cause__), repr(error.__context__), *whole.format()])


def test_no_key_is_in_anything_that_a_hosted_study_leaves_or_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    data = TrainingSet.from_jsonl(LESSONS.decode())
    shown: list[str] = []
    with serving(ModelRef(provider="simulated", model="demo"), tmp_path / "server", key=SERVERS) as url:
        port = url.split(":")[2].removesuffix("/v1")
        monkeypatch.setenv(f"INTROSPECT_API_KEY_127_0_0_1_{port}", SERVERS)
        ref = ModelRef(provider="openai", model="demo", location=url)
        study = Study(
            ref,
            organism_scenarios(5),
            native=organism_scenarios(4, prefix="n"),
            style=OrganismStyle(),
            protocol=StudyProtocol(n_instil=12, n_measure=8, n_native=8, n_reports=1),
            out=tmp_path / "study",
            metric=AccuracyMetric(n_boot=20, n_null=19),
        )
        shown.append(repr(study.run()))
        export_study(tmp_path / "study", tmp_path / "study.zip")
        backend = OpenAIBackend(ref)
        batched = Batched(backend, FolderJobs(tmp_path / "batches"), poll=(0.02, 0.1))
        shown += [repr(reply) for reply in ask(batched, [question(k) for k in range(3)])]
        trainer = OpenAITrainer(key=SERVERS, poll=0.02)
        jobs = FolderJobs(tmp_path / "job")
        shown.append(repr(run_sync(trainer.train, ref, data, TrainingSpec(epochs=1), jobs)))
        config = ServeConfig(model=ref, folder=tmp_path, key=Secret(SERVERS))
        for one in (study, backend, batched, trainer, config):
            shown += [repr(one), str(one), repr(getattr(one, "__dict__", {}))]

        # With a key that the server does not know, each of them stops.
        bad = OpenAIBackend(ref, key=WRONG)
        for failing in (
            lambda: ask(bad, [question(9)]),
            lambda: ask(Batched(bad, FolderJobs(tmp_path / "bad batches"), patience=1.0), [question(9)]),
            lambda: run_sync(OpenAITrainer(key=WRONG).train, ref, data, TrainingSpec(), FolderJobs(tmp_path / "bad")),
        ):
            with pytest.raises(IntrospectError, match="does not accept the key") as caught:
                failing()
            shown.append(shown_by(caught.value))
    gc.collect()
    assert replay_study(tmp_path / "study.zip").identical
    with zipfile.ZipFile(tmp_path / "study.zip") as packed:
        packed.extractall(tmp_path / "unpacked")  # what is packed is not to be read as it stands

    texts = {"shown": "".join(shown), "log": log.getvalue(), "streams": "".join(capfd.readouterr())}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    texts |= {str(path.relative_to(tmp_path)): path.read_bytes().decode("latin-1") for path in files}
    for expected in (
        "study/study.db",
        "unpacked/study.db",
        "study/result.json",
        "server/server.lock",
        "batches/job.json",
    ):
        assert expected in texts
    assert "POST" in texts["log"]
    assert not [name for name, text in texts.items() if "pl4nted" in text.lower()]
