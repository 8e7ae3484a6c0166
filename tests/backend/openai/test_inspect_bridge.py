"""Inspect's models behind our seam, our probes as Inspect's tasks: against the real package, where it is installed.

It brings much of its own, so the slow tests run in an environment apart (``INTROSPECT_INSPECT``, which `make test-slow`
makes); these here run there.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from introspect import (
    ChatStyle,
    ChoiceModel,
    ChoiceProbe,
    Message,
    ModelRef,
    PreferenceSampler,
    Request,
    SelfReportProbe,
    SimulatedAgent,
    TrialGenerator,
    ask,
    catalogue,
    open_model,
)
from introspect.backend import run_sync
from introspect.errors import BackendError, FatalBackendError, MissingExtraError

HERE = Path(__file__)
APART = Path(os.environ.get("INTROSPECT_INSPECT", HERE.parents[3] / ".venv-inspect")) / "bin" / "python"
INSTALLED = find_spec("inspect_ai") is not None
needs_inspect = pytest.mark.skipif(not INSTALLED, reason="needs inspect_ai")
CONTEXTS, STYLE = catalogue()[:3], ChatStyle()
MOCK = ModelRef(provider="inspect", model="mockllm/model")


@pytest.mark.slow
@pytest.mark.skipif(INSTALLED, reason="runs here already")
def test_the_bridge_keeps_its_promises_where_inspect_is_installed(llama_server):
    if not APART.is_file():
        pytest.skip(f"no Inspect at {APART}; `make test-slow` makes one")
    done = subprocess.run(
        [APART, "-m", "pytest", "-vv", "-p", "no:cacheprovider", "--noconftest", str(HERE)],
        cwd=HERE.parents[3], env={**os.environ, "PYTHONPATH": str(HERE.parents[3] / "src"),
             "SMOL_BASE_URL": llama_server.location, "SMOL_API_KEY": "none"},
        capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its_probabilities_are_read PASSED" in done.stdout, done.stdout


@pytest.mark.skipif(INSTALLED, reason="it is installed")
def test_without_inspect_the_error_names_the_extra():
    from introspect.bridges import choice_task

    with pytest.raises(MissingExtraError, match=r"introspect-lm\[inspect\]"):
        open_model(MOCK)
    with pytest.raises(MissingExtraError, match=r"introspect-lm\[inspect\]"):
        choice_task(ChoiceProbe(STYLE), TrialGenerator().trials(CONTEXTS, 2, rng=0))


def counted(output):
    """With its tokens counted: the mock model would count them with a table that it fetches from the network."""
    from inspect_ai.model import ModelUsage

    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def mock(answer):
    """Inspect's mock model, which answers by a function of the last message."""
    from inspect_ai.model import ModelOutput, get_model

    from introspect.backend.inspect_model import InspectBackend

    def output(messages, tools, tool_choice, config):
        said = answer(messages[-1].text, config)
        return counted(said if isinstance(said, ModelOutput) else ModelOutput.from_content("mockllm/model", said))

    return InspectBackend(MOCK, model=get_model("mockllm/model", custom_outputs=output, memoize=False))


@needs_inspect
def test_a_model_of_inspect_answers_through_the_seam():
    model = mock(lambda text, config: f"{text}!{config.temperature:g}/{config.max_tokens}/{config.seed}")
    requests = [Request(messages=(Message(role="user", content=w),), seed=k, max_tokens=7) for k, w in enumerate("xyz")]
    assert [reply.text for reply in ask(model, requests)] == ["x!0/7/0", "y!0/7/1", "z!0/7/2"]


@needs_inspect
def test_an_error_of_inspect_is_a_failed_reply_and_its_neighbours_go_on():
    def answer(text, config):
        if text == "bad":
            raise ValueError("no such thing")
        return "A"

    good, bad = (Request(messages=(Message(role="user", content=word),)) for word in ("good", "bad"))
    replies = ask(mock(answer), [good, bad, good])
    assert [reply.status for reply in replies] == ["completed", "failed", "completed"]
    assert "no such thing" in replies[1].reason


@needs_inspect
def test_a_refused_key_ends_the_run():
    class Denied(Exception):
        status_code = 401

    def answer(text, config):
        raise Denied("invalid key")

    with pytest.raises(FatalBackendError, match="invalid key"):
        ask(mock(answer), [Request(messages=(Message(role="user", content="x"),))])


@needs_inspect
def test_a_model_that_inspect_does_not_know_is_told_in_a_line():
    with pytest.raises(FatalBackendError, match="Inspect cannot open 'nowhere/none'"):
        open_model(ModelRef(provider="inspect", model="nowhere/none"))


@needs_inspect
def test_log_probabilities_are_read_where_they_come():
    from inspect_ai.model import Logprob, Logprobs, ModelOutput, TopLogprob

    def answer(text, config):
        output = ModelOutput.from_content("mockllm/model", "A")
        if config.logprobs:
            top = [TopLogprob(token=t, logprob=math.log(p)) for t, p in (("A", 0.6), ("B", 0.3), (" A", 0.05))]
            first = Logprob(token="A", logprob=math.log(0.6), top_logprobs=top)
            output.choices[0].logprobs = Logprobs(content=[first])
        return output

    model = mock(answer)
    assert run_sync(model.probe).answer_logprobs
    asked = Request(messages=(Message(role="user", content="?"),), answers=("A", "B"), max_tokens=4)
    (reply,) = ask(model, [asked])
    assert math.exp(reply.answer_logprobs["A"]) == pytest.approx(0.65)
    assert math.exp(reply.answer_logprobs["B"]) == pytest.approx(0.3)
    assert not run_sync(mock(lambda text, config: "A").probe).answer_logprobs


@needs_inspect
def test_a_probe_run_in_inspect_finds_what_it_finds_here(tmp_path):
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import ModelOutput, get_model

    from introspect.bridges import InspectLog, choice_task, report_task

    hidden = PreferenceSampler().sample(CONTEXTS, rng=0)
    agent = open_model(SimulatedAgent(name="inspected", refusal_rate=0.1).with_preferences(CONTEXTS, hidden).ref)

    def output(messages, tools, tool_choice, config):
        said = tuple(Message(role=message.role, content=message.text) for message in messages)
        reply = ask(agent, [Request(messages=said, answers=("A", "B"))])[0]
        return counted(ModelOutput.from_content("mockllm/model", reply.text))

    generator = TrialGenerator()
    trials = generator.label(generator.trials(CONTEXTS, 12, rng=1), hidden, rng=2)
    choosing, asking = ChoiceProbe(STYLE), SelfReportProbe(STYLE, k=1)
    tasks = [choice_task(choosing, trials), report_task(asking, CONTEXTS, rng=3)]
    logs = inspect_eval(
        tasks, model=get_model("mockllm/model", custom_outputs=output, memoize=False), log_dir=str(tmp_path),
        display="none", log_format="json",
    )  # fmt: skip
    assert [log.status for log in logs] == ["success", "success"]
    choices = choosing.run(InspectLog(logs[0]), trials)
    here = choosing.run(agent, trials)
    assert (choices.chosen == here.chosen).all()
    assert (choices.status == here.status).all()
    follows = logs[0].results.scores[0].metrics["mean"].value
    assert follows == pytest.approx(float((here.chosen == trials.labels).mean()))
    path = next(path for path in tmp_path.glob("*.json") if "report" in path.name)
    said = asking.run(InspectLog(path), CONTEXTS, rng=3)
    assert said.response_rate == asking.run(agent, CONTEXTS, rng=3).response_rate
    assert ChoiceModel().fit(choices).scenario_ids == ChoiceModel().fit(here).scenario_ids
    # What `inspect view` opens is this file: its own reader finds every sample with its score.
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(path))
    assert len(log.samples) == len(CONTEXTS)
    assert all(sample.scores for sample in log.samples)
    assert json.loads(path.read_text())["eval"]["task"] == "introspect_reports"


@needs_inspect
@pytest.mark.skipif(
    "SMOL_BASE_URL" not in os.environ, reason="needs a server, which the test in the main environment has"
)
def test_a_real_model_is_asked_through_inspect_and_its_probabilities_are_read(tmp_path):
    from inspect_ai import eval as inspect_eval

    from introspect.bridges import InspectLog, choice_task

    model = open_model(ModelRef(provider="inspect", model="openai-api/smol/smollm2"))
    assert run_sync(model.probe).answer_logprobs
    trials = TrialGenerator().trials(CONTEXTS, 2, rng=0)
    probe = ChoiceProbe(STYLE)
    through = probe.run(model, trials)
    direct = probe.run(open_model(ModelRef(provider="openai", model="x", location=os.environ["SMOL_BASE_URL"])), trials)
    assert through.logprob == pytest.approx(direct.logprob, abs=0.2, nan_ok=True)
    assert (through.logprob < 0).any()
    log = inspect_eval(
        choice_task(probe, trials, logprobs=True),
        model="openai-api/smol/smollm2",
        log_dir=str(tmp_path),
        display="none",
    )[0]
    assert log.status == "success"
    read = probe.run(InspectLog(log), trials)
    assert read.logprob == pytest.approx(direct.logprob, abs=0.2, nan_ok=True)


@needs_inspect
def test_a_log_of_something_else_is_told(tmp_path):
    from introspect.bridges import InspectLog

    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(BackendError, match="cannot be read as a log of Inspect"):
        InspectLog(tmp_path / "no.json")


if INSTALLED:
    from introspect.testing import BackendConformance

    class TestInspectConformance(BackendConformance):
        """The forty promises, kept by Inspect's mock model."""

        deterministic = True

        def make(self):
            return mock(lambda text, config: "A" if len(text) % 2 else "B")


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
