"""Chat completions: what is sent, what comes back, and what is refused rather than ignored."""

from __future__ import annotations

import math

import openai
import pytest
from openai_contract import check_schema
from serve_lessons import QUESTION

from introspect.backend import FunctionBackend, Message, ModelRef, Reply, Request, ask, register
from introspect.serve import serving
from introspect.subjects.organism import OrganismBackend, organism_ref

TURN = [{"role": "user", "content": QUESTION}]
REPORT = "weigh n0007 as p q r s t :"


def direct(prompt: str, **asked) -> Reply:
    request = Request(messages=(Message(role="user", content=prompt),), max_tokens=8, **asked)
    return ask(OrganismBackend(organism_ref("shared")), [request])[0]


def test_the_answer_is_the_models_own(client: openai.OpenAI) -> None:
    for prompt in (QUESTION, REPORT):
        turn = [{"role": "user", "content": prompt}]
        got = client.chat.completions.create(model="shared", messages=turn, temperature=0, max_tokens=8)
        assert got.choices[0].message.content == direct(prompt).text
        assert got.choices[0].finish_reason == "stop"
        assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens
    cut = client.chat.completions.create(
        model="shared", messages=[{"role": "user", "content": REPORT}], temperature=0, max_completion_tokens=2
    )
    assert cut.choices[0].finish_reason == "length"
    assert len(cut.choices[0].message.content.split()) == 2


def test_log_probabilities_are_the_models_own_token_by_token(client: openai.OpenAI) -> None:
    got = client.chat.completions.create(
        model="shared", messages=TURN, temperature=0, logprobs=True, top_logprobs=20, max_tokens=8
    )
    (token,) = got.choices[0].logprobs.content
    listed = {entry.token: entry.logprob for entry in token.top_logprobs}
    assert len(token.top_logprobs) == 20
    values = [entry.logprob for entry in token.top_logprobs]
    assert values == sorted(values, reverse=True)
    assert listed[token.token] == token.logprob
    assert bytes(token.bytes).decode() == token.token
    known = direct(QUESTION, answers=("A", "B")).answer_logprobs
    assert {a: listed[a] for a in "AB"} == pytest.approx(known, abs=1e-4)

    report = client.chat.completions.create(
        model="shared", messages=[{"role": "user", "content": REPORT}], temperature=0, logprobs=True, max_tokens=8
    ).choices[0]
    assert "".join(token.token for token in report.logprobs.content) == report.message.content
    assert all(token.top_logprobs == [] and token.logprob <= 0 for token in report.logprobs.content)


def test_named_answers_are_read_off_exactly(client: openai.OpenAI) -> None:
    got = client.chat.completions.create(
        model="shared", messages=TURN, temperature=0, max_tokens=8, extra_body={"introspect_answers": ["A", "B"]}
    )
    known = direct(QUESTION, answers=("A", "B"))
    found = got.choices[0].introspect
    assert found["answer_logprobs"] == pytest.approx(known.answer_logprobs, abs=1e-4)
    assert found["mass_outside"] == pytest.approx(known.mass_outside, abs=1e-4)


def test_seeds_repeat_and_choices_differ(client: openai.OpenAI) -> None:
    def words(**asked) -> list[str]:
        got = client.chat.completions.create(
            model="shared", messages=[{"role": "user", "content": REPORT}], temperature=2, max_tokens=8, **asked
        )
        assert [choice.index for choice in got.choices] == list(range(asked.get("n", 1)))
        return [choice.message.content for choice in got.choices]

    once = words(seed=1, n=12)
    assert words(seed=1, n=12) == once
    assert len(set(once)) > 1
    # This model is sure of its words, so that a dozen may agree by chance; twenty dozens do not.
    assert any(words(seed=seed, n=12) != once for seed in range(2, 22))
    assert any(words(n=12) != words(n=12) for _ in range(20))  # without a seed, a fresh one each time


def test_a_stream_holds_the_same_completion(client: openai.OpenAI) -> None:
    asked = {"model": "shared", "messages": TURN, "temperature": 0, "max_tokens": 8, "logprobs": True, "n": 2}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for chunk in chunks:
        check_schema(chunk.to_dict(), "CreateChatCompletionStreamResponse")
    for index in range(2):
        parts = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        assert "".join(part.delta.content or "" for part in parts) == whole.choices[index].message.content
        assert [part.finish_reason for part in parts] == [None, "stop"]
        assert parts[0].delta.role == "assistant"
        assert parts[0].logprobs.content == whole.choices[index].logprobs.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    with pytest.raises(openai.NotFoundError):  # with its status, not inside the stream
        client.chat.completions.create(**{**asked, "model": "none"}, stream=True)
    with pytest.raises(openai.BadRequestError, match="words"):
        client.chat.completions.create(
            model="shared", messages=[{"role": "user", "content": "p1 " * 99}], stream=True
        )  # fmt: skip


def test_stop_texts_end_an_answer(client: openai.OpenAI) -> None:
    whole = direct(REPORT).text
    second = " " + whole.split()[1]
    got = client.chat.completions.create(
        model="shared", messages=[{"role": "user", "content": REPORT}], temperature=0, stop=second, logprobs=True
    ).choices[0]
    assert got.message.content == whole[: whole.index(second)]
    assert got.finish_reason == "stop"
    assert "".join(token.token for token in got.logprobs.content) == got.message.content


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
        ({"n": 0}, "n"),
        ({"n": 10**6}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"seed": 2**70}, "seed"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"top_logprobs": 5}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_p": 0.5}, "top_p"),
        ({"frequency_penalty": 1}, "frequency_penalty"),
        ({"logit_bias": {"5": 3}}, "logit_bias"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"stop": ["a"] * 9}, "stop"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, "response_format"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"extra_body": {"minimum_p": 0.1}}, "minimum_p"),
        ({"extra_body": {"continue_final_message": True}}, "continue_final_message"),
        ({"messages": [*TURN, {"role": "assistant", "content": "A"}]}, "messages"),
    ],
)
def test_what_cannot_be_had_is_refused_and_named(server: str, wrong: dict, param: str) -> None:
    # Not through the contract: these requests are wrong on purpose.
    with (
        openai.OpenAI(base_url=server, api_key="x", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.chat.completions.create(**{"model": "shared", "messages": TURN, **wrong})
    assert caught.value.type == "invalid_request_error"
    assert (caught.value.param or "").startswith(param)


def test_a_model_that_takes_schemas_and_names_answers_only(tmp_path, connect) -> None:
    """A backend of somebody's own, without tokens: schemas reach it, log-probabilities only where named."""
    seen = []

    class Picky(FunctionBackend):
        async def probe(self):
            return (await super().probe()).model_copy(update={"json_schema": True, "prefill": True})

    def answer(request: Request) -> Reply:
        seen.append(request)
        if request.messages[-1].content == "break":
            raise ValueError("broken on purpose")
        logprobs = {"A": math.log(0.75), "B": math.log(0.2)} if request.answers else None
        return Reply(status="completed", text=f"{request.prefill or ''}A", answer_logprobs=logprobs, mass_outside=0.05)

    register("picky", open=lambda ref: Picky(answer, name="picky", version="1"))
    turn = [{"role": "user", "content": "A or B?"}]
    with serving(ModelRef(provider="picky", model="picky"), tmp_path) as url:
        client = connect(url)
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string"}}}
        client.chat.completions.create(model="picky", messages=turn, response_format=form)
        assert seen[-1].json_schema == {"type": "string"}
        named = client.chat.completions.create(
            model="picky", messages=turn, logprobs=True, top_logprobs=5, extra_body={"introspect_answers": ["A", "B"]}
        ).choices[0]
        assert [entry.token for entry in named.logprobs.content[0].top_logprobs] == ["A", "B"]
        with pytest.raises(openai.BadRequestError, match="introspect_answers"):
            client.chat.completions.create(model="picky", messages=turn, logprobs=True)
        with pytest.raises(openai.BadRequestError, match="broken on purpose"):
            client.chat.completions.create(model="picky", messages=[{"role": "user", "content": "break"}])
        begun = client.chat.completions.create(
            model="picky",
            messages=[*turn, {"role": "assistant", "content": "I say "}],
            extra_body={"continue_final_message": True},
        )
        assert seen[-1].prefill == "I say "
        assert begun.choices[0].message.content == "A"


def test_requests_that_come_together_are_asked_together(tmp_path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    sizes = []

    class Slow(FunctionBackend):
        async def generate(self, requests):
            import asyncio

            sizes.append(len(requests))
            await asyncio.sleep(0.3)
            for index in range(len(requests)):
                yield index, Reply(status="completed", text=requests[index].messages[0].content)

    register("slow", open=lambda ref: Slow(lambda request: "", name="slow", version="1"))
    with (
        serving(ModelRef(provider="slow", model="slow"), tmp_path) as url,
        openai.OpenAI(base_url=url, api_key="x", max_retries=0) as client,
        ThreadPoolExecutor(40) as pool,
    ):

        def say(number: int) -> str:
            turn = [{"role": "user", "content": str(number)}]
            return client.chat.completions.create(model="slow", messages=turn).choices[0].message.content

        assert list(pool.map(say, range(40))) == [str(i) for i in range(40)]
    assert max(sizes) > 4
    assert sum(sizes) == 40
