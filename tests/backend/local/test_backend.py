from __future__ import annotations

import math

import pytest

from introspect.backend import Message, ModelRef, Request, ask, open_model, run_sync
from introspect.backend.local.backend import TransformersBackend
from introspect.errors import BackendError
from introspect.testing.conformance import check_backend

from .conftest import letters, question


@pytest.fixture(scope="module")
def backend(tiny):
    return open_model(tiny)


def test_the_registry_opens_the_provider(backend, tiny):
    assert isinstance(backend, TransformersBackend)
    assert backend.info.ref == tiny
    assert backend.info.context_length == 256


def test_it_keeps_what_every_backend_promises(tiny):
    check_backend(lambda: open_model(tiny), failing=question("boat " * 400), deterministic=True)


def test_answers_are_read_from_the_whole_distribution(backend):
    for reply in ask(backend, letters(5)):
        assert set(reply.answer_logprobs) == {"A", "B"}
        mass = sum(math.exp(p) for p in reply.answer_logprobs.values()) + reply.mass_outside
        assert mass == pytest.approx(1, abs=1e-9)


def test_answer_logprobs_are_those_of_a_plain_forward_pass(backend, tiny):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny.model)
    for request, reply in zip(letters(4), ask(backend, letters(4)), strict=True):
        chat = [{"role": m.role, "content": m.content} for m in request.messages]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logprobs = model(ids).logits[0, -1].double().log_softmax(-1)
        (bare,) = tokenizer("A", add_special_tokens=False)["input_ids"]
        spaced = tokenizer(" A", add_special_tokens=False)["input_ids"]
        assert len(spaced) == 1, "the fixture's tokenizer should know ' A' as one token"
        expected = torch.logsumexp(logprobs[[bare, *spaced]], 0)
        assert reply.answer_logprobs["A"] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_results_do_not_depend_on_the_batch(tiny, backend, size):
    requests = [*letters(9), question("short", answers=("A", "B"))]
    small = ask(TransformersBackend(tiny, batch_size=size), requests)
    for one, other in zip(ask(backend, requests), small, strict=True):
        assert one.answer_logprobs == pytest.approx(other.answer_logprobs, abs=1e-4)
        assert one.text == other.text


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_written_replies_do_not_depend_on_the_batch(tiny, backend, temperature):
    requests = [
        question(
            f"How heavily do you weigh speed? {'more ' * (i % 3)}{i}",
            max_tokens=4 + 3 * i,
            temperature=temperature,
        )
        for i in range(7)
    ]
    alone = ask(TransformersBackend(tiny, batch_size=1), requests)
    together = ask(backend, requests)
    assert [r.text for r in together] == [r.text for r in alone]
    assert [r.status for r in together] == [r.status for r in alone]
    assert len({r.text for r in together}) > 3


def test_greedy_writing_is_that_of_transformers_generate(backend, tiny):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny.model)
    requests = [question(f"How heavily do you weigh price? {i}", max_tokens=12) for i in range(3)]
    for request, reply in zip(requests, ask(backend, requests), strict=True):
        chat = [{"role": m.role, "content": m.content} for m in request.messages]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        out = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        assert reply.text == tokenizer.decode(out, skip_special_tokens=True)


def test_repeats_at_a_temperature_differ_and_repeat_themselves(backend):
    repeats = [question("Which boat?", max_tokens=12, temperature=1.5, sample_index=k) for k in range(6)]
    first = [r.text for r in ask(backend, repeats)]
    assert len(set(first)) > 1
    assert [r.text for r in ask(backend, repeats[::-1])] == first[::-1]


def test_a_reply_cut_at_its_limit_is_truncated(backend):
    (reply,) = ask(backend, [question("Which boat?", max_tokens=1)])
    assert reply.status == "truncated"
    assert reply.usage.completion_tokens == 1


def test_a_prefill_begins_the_text(backend):
    (reply,) = ask(backend, [question("How heavily?", prefill='{"', max_tokens=4)])
    assert reply.text.startswith('{"')
    assert len(reply.text) > 2


def test_answers_that_begin_alike_are_answered_in_text_alone(backend):
    (reply,) = ask(backend, [question("Which?", answers=("speed 1", "speed 2"), max_tokens=3)])
    assert reply.answer_logprobs is None
    assert reply.status in {"completed", "truncated"}


def test_one_request_that_cannot_be_run_does_not_stop_the_others(backend):
    long = question("boat " * 400, answers=("A", "B"))
    last = Request(messages=(Message(role="user", content="x"), Message(role="assistant", content="y")))
    replies = ask(backend, [letters(1)[0], long, last, letters(2)[1]])
    assert [r.status for r in replies] == ["completed", "failed", "failed", "completed"]
    assert "256" in replies[1].reason
    assert "prefill" in replies[2].reason


def test_probing_finds_complete_log_probabilities(backend):
    seen = run_sync(backend.probe)
    assert seen.answer_logprobs
    assert seen.complete_logprobs
    assert seen.system_role
    assert seen.calls == 1


def test_replies_say_what_computed_them(backend):
    (reply,) = ask(backend, letters(1))
    assert reply.provenance["dtype"] == "float32"
    assert reply.provenance["device"] == "cpu"


def test_a_batch_too_large_for_the_memory_is_halved(tiny, monkeypatch):
    from introspect.backend.local import asking

    whole = asking.run_prompts

    def small_memory(model, prompts, **kwargs):
        if len(prompts) > 2:
            raise RuntimeError("not enough memory: you tried to allocate too much")
        return whole(model, prompts, **kwargs)

    expected = ask(TransformersBackend(tiny), letters(7))
    monkeypatch.setattr(asking, "run_prompts", small_memory)
    got = ask(TransformersBackend(tiny), letters(7))
    for one, other in zip(got, expected, strict=True):
        assert one.answer_logprobs == pytest.approx(other.answer_logprobs, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "/no/such/folder"}, "cannot load"),
        ({"settings": {"dtyp": "float32"}}, "dtyp"),
        ({"settings": {"dtype": "float8"}}, "float8"),
        ({"revision": "sha256:0000"}, "another version"),
        ({"adapter": "abc"}, "location"),
        ({"adapter": "abc", "location": "/no/such/place"}, "/no/such/place"),
    ],
)
def test_a_model_that_is_not_as_named_is_refused_on_opening(tiny, change, words):
    with pytest.raises(BackendError, match=words):
        open_model(ModelRef.model_validate({**tiny.model_dump(), **change}))


def test_a_base_without_a_chat_template_is_refused(tmp_path):
    from .conftest import make_model, make_tokenizer

    make_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    make_tokenizer(None).save_pretrained(tmp_path)
    with pytest.raises(BackendError, match="chat template"):
        open_model(ModelRef(provider="transformers", model=str(tmp_path)))


def test_the_first_token_of_an_answer_comes_with_what_could_have_stood_there(backend):
    async def read(requests):
        return {i: (reply, tokens) async for i, reply, tokens in backend.generate_with_tokens(requests, 400)}

    written = [request.model_copy(update={"answers": None, "max_tokens": 3}) for request in letters(5)]
    known = ask(backend, letters(5))
    found = run_sync(read, [*written, question("boat " * 400)])
    assert found[5][0].status == "failed"
    assert found[5][1] == ()
    for i, reply in enumerate(ask(backend, written)):
        assert found[i][0] == reply
        (token,) = found[i][1]
        assert reply.text.startswith(token.token)
        assert [logprob for _, logprob in token.top] == sorted((p for _, p in token.top), reverse=True)
        mass = sum(math.exp(logprob) for text, logprob in token.top if text.strip() == "A")
        assert math.log(mass) == pytest.approx(known[i].answer_logprobs["A"], abs=1e-4)
