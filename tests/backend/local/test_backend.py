from __future__ import annotations

import math

import pytest
from tiny_chat import letters, question

from introspect.backend import Message, ModelRef, Request, ask, open_model, run_sync
from introspect.backend.local.backend import TransformersBackend
from introspect.errors import BackendError
from introspect.testing.conformance import check_backend


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

    whole = asking.run_tree

    def small_memory(model, prompts, **kwargs):
        if len(prompts) > 2:
            raise RuntimeError("not enough memory: you tried to allocate too much")
        return whole(model, prompts, **kwargs)

    expected = ask(TransformersBackend(tiny), letters(7))
    monkeypatch.setattr(asking, "run_tree", small_memory)
    got = ask(TransformersBackend(tiny), letters(7))
    for one, other in zip(got, expected, strict=True):
        assert one.answer_logprobs == pytest.approx(other.answer_logprobs, abs=1e-4)


def test_what_was_asked_again_for_lack_of_memory_says_so_and_nothing_is_lost(tiny, monkeypatch, caplog):
    from introspect.backend.local import asking

    whole, lengths = asking.run_tree, []

    def watched(model, prompts, **kwargs):
        lengths.extend(map(len, prompts))
        return whole(model, prompts, **kwargs)

    def small_memory(model, prompts, **kwargs):
        if len(prompts) > 2 or max(lengths) in map(len, prompts):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(model, prompts, **kwargs)

    longest = question("Which boat would you take? A: speed 3 knots, B: speed 1111, or none?", answers=("A", "B"))
    requests = [*letters(7), longest]
    monkeypatch.setattr(asking, "run_tree", watched)
    expected = ask(TransformersBackend(tiny), requests)
    monkeypatch.setattr(asking, "run_tree", small_memory)
    got = ask(TransformersBackend(tiny), requests)
    for one, other in zip(got[:-1], expected, strict=False):
        assert one.answer_logprobs == pytest.approx(other.answer_logprobs, abs=1e-4)
    assert any("too little for" in reply.provenance.get("memory", "") for reply in got[:-1])
    assert got[-1].status == "failed"
    assert "out of memory on this prompt alone" in got[-1].reason
    assert "smaller model or dtype" in got[-1].reason
    assert "out of memory on" in caplog.text


@pytest.mark.parametrize("words", ["a wire came loose", "CUDA error: an illegal memory access was encountered"])
def test_an_error_that_is_not_about_too_little_memory_comes_after_the_replies_before_it(tiny, monkeypatch, words):
    from introspect.backend.local import asking

    whole, calls = asking.run_tree, []

    def breaks(model, prompts, **kwargs):
        calls.append(len(prompts))
        if len(calls) > 2:
            raise RuntimeError(words)
        return whole(model, prompts, **kwargs)

    seen = []

    async def read():
        async for index, _ in TransformersBackend(tiny, batch_size=2).generate(letters(7)):
            seen.append(index)

    monkeypatch.setattr(asking, "run_tree", breaks)
    with pytest.raises(RuntimeError, match=words):
        run_sync(read)
    assert len(seen) == 4


def test_letters_that_are_no_tokens_of_their_own_are_written_out_and_the_reply_says_why(tmp_path):
    from tiny_chat import make_model, make_tokenizer
    from tokenizers import normalizers

    # A vocabulary that writes a capital as a mark and a small letter: A and B both begin with the mark.
    make_model(tmp_path)
    tokenizer = make_tokenizer()
    capitals = [normalizers.Replace(letter, f"^{letter.lower()}") for letter in "AB"]
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(capitals)
    tokenizer.save_pretrained(tmp_path)
    backend = open_model(ModelRef(provider="transformers", model=str(tmp_path)))
    (reply,) = ask(backend, letters(1, max_tokens=2))
    assert reply.status in {"completed", "truncated"}
    assert reply.answer_logprobs is None
    assert "'A' and 'B' begin with the same token" in reply.provenance["readout"]
    assert "'A' and 'B' begin with the same token" in run_sync(backend.probe).notes[0]


SCHEMA = {
    "type": "object",
    "properties": {"speed": {"type": "integer", "minimum": -100, "maximum": 100}, "sure": {"type": "boolean"}},
    "required": ["speed", "sure"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_schema_holds_each_reply_of_a_batch_that_asks_for_it(backend, temperature):
    import json

    pytest.importorskip("llguidance")
    forced = [question(f"{i}?", json_schema=SCHEMA, max_tokens=60, temperature=temperature) for i in range(3)]
    free = question("How heavily?", max_tokens=8)
    begun = question("And now?", json_schema=SCHEMA, prefill='{"speed": ', max_tokens=60)
    *held, loose, prefilled = ask(backend, [*forced, free, begun])
    for reply in (*held, prefilled):
        assert reply.status == "completed"
        found = json.loads(reply.text)
        assert set(found) == {"speed", "sure"}
        assert -100 <= found["speed"] <= 100
    assert loose.text == ask(backend, [free])[0].text
    assert run_sync(backend.probe).json_schema


def test_a_schema_that_cannot_be_enforced_fails_that_request_alone(backend, monkeypatch):
    pytest.importorskip("llguidance")
    bad = question("?", json_schema={"type": "nonsense"}, max_tokens=4)
    wrong = question("?", json_schema=SCHEMA, prefill="Well, ", max_tokens=4)
    good = question("How heavily?", max_tokens=4)
    one, two, three = ask(backend, [bad, wrong, good])
    assert "cannot be enforced" in one.reason
    assert "prefill" in two.reason
    assert three.status != "failed"
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    (reply,) = ask(backend, [question("?", json_schema=SCHEMA)])
    assert "introspect-lm[structured]" in reply.reason


def test_layers_can_be_spread_by_a_device_map(tiny):
    spread = tiny.model_copy(update={"settings": {**tiny.settings, "device_map": {"": "cpu"}}})
    for one, other in zip(ask(open_model(spread), letters(3)), ask(open_model(tiny), letters(3)), strict=True):
        assert one.answer_logprobs == pytest.approx(other.answer_logprobs, abs=1e-6)


def test_four_bits_without_bitsandbytes_say_what_to_install(tiny, monkeypatch):
    from introspect.backend.local import loading
    from introspect.errors import MissingExtraError

    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"bitsandbytes.*introspect-lm\[quantize\]"):
        open_model(tiny.model_copy(update={"settings": {"quantize": "4bit"}}))


def test_a_hub_that_cannot_be_reached_is_one_clear_line(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    with pytest.raises(BackendError, match="introspect models get smollm2") as caught:
        open_model(ModelRef(provider="transformers", model="owner/some-model"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "/no/such/folder"}, "cannot load"),
        ({"settings": {"dtyp": "float32"}}, "dtyp"),
        ({"settings": {"dtype": "float8"}}, "float8"),
        ({"settings": {"quantize": "3bit"}}, "4bit"),
        ({"settings": {"device_map": 7}}, "device_map"),
        ({"model": "/no/such/file.gguf"}, "no such folder or file"),
        ({"revision": "sha256:0000"}, "another version"),
        ({"adapter": "abc"}, "location"),
        ({"adapter": "abc", "location": "/no/such/place"}, "/no/such/place"),
    ],
)
def test_a_model_that_is_not_as_named_is_refused_on_opening(tiny, change, words):
    with pytest.raises(BackendError, match=words):
        open_model(ModelRef.model_validate({**tiny.model_dump(), **change}))


def test_a_base_without_a_chat_template_is_refused(tmp_path):
    from tiny_chat import make_model, make_tokenizer

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
