"""Prompts run together come out as each would alone, on every kind of decoder, however they are batched."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_chat import make_tokenizer, question

from introspect.backend import ModelRef, ask
from introspect.backend.local import tree
from introspect.backend.local.backend import TransformersBackend
from introspect.backend.local.bases import acquire, weights_of
from introspect.backend.local.forward import run_prompts
from introspect.backend.local.packs import plan_padded, plan_tree
from introspect.backend.local.sharing import find_sharing

WINDOW = 24  # shorter than the prompts, so that what it hides matters
TOLERANCE = 1e-4
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TREES = {
    "llama": {**SMALL, "num_key_value_heads": 2},
    "qwen3": {**SMALL, "num_key_value_heads": 2, "head_dim": 8},
    "gemma3_text": {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": WINDOW},
    "mistral": {**SMALL, "num_key_value_heads": 2, "sliding_window": WINDOW},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
}
TREES["gemma3_text"]["layer_types"] = ["sliding_attention", "full_attention"]
OTHERS = {
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny random model of each architecture, made when it is first asked for."""
    made = {}

    def folder(kind: str):
        if kind not in made:
            made[kind] = _make(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return folder


def _make(folder, kind):
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = make_tokenizer()
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 256}
    ends = {f"{mark}_token_id": getattr(tokenizer, f"{mark}_token_id") for mark in ("eos", "bos", "pad")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(kind, **size, **ends, **{**TREES, **OTHERS}[kind])
        )
        for parameter in model.parameters():  # as initialised, every prompt would get the same answer
            if parameter.dim() > 1:
                parameter.data *= 8.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ref(folder) -> ModelRef:
    return ModelRef(provider="transformers", model=str(folder), settings={"dtype": "float32"})


def plain(folder, requests):
    """Each prompt alone, in one plain forward pass: the letters' log-probabilities."""
    base = acquire(weights_of(ref(folder)), torch.device("cpu"), torch.float32)
    found = []
    for request in requests:
        ids = torch.tensor([base.codec.prompt(request)])
        with torch.inference_mode():
            logprobs = base.model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
        tokens = {a: [base.codec.encode(v)[0] for v in (a, f" {a}")] for a in request.answers}
        found.append({a: float(torch.logsumexp(logprobs[t], 0)) for a, t in tokens.items()})
    return found


texts = st.lists(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "Imagine you are a lighthouse keeper. ", "Imagine you weigh "]),
        st.sampled_from(["", "Which boat would you take? A: speed 12 knots, ", "speed " * 6]),
        st.text("AB12 speed?", max_size=12),
    ),
    min_size=1,
    max_size=7,
)


@pytest.mark.parametrize("kind", [*TREES, *OTHERS])
def test_log_probabilities_are_those_of_a_plain_pass_however_prompts_are_batched(folders, kind):
    folder = folders(kind)

    @given(texts, st.integers(1, 8), st.sampled_from([1, 30, 90, 1000]))
    @settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def holds(texts, size, tokens):
        requests = [question(text, answers=("A", "B")) for text in texts]
        replies = ask(TransformersBackend(ref(folder), device="cpu", batch_size=size, tokens=tokens), requests)
        for reply, expected in zip(replies, plain(folder, requests), strict=True):
            assert reply.answer_logprobs == pytest.approx(expected, abs=TOLERANCE)
            mass = sum(math.exp(p) for p in reply.answer_logprobs.values()) + reply.mass_outside
            assert mass == pytest.approx(1, abs=1e-9)

    holds()


@pytest.mark.parametrize("kind", [*TREES, *OTHERS])
def test_what_is_written_is_what_generate_writes(folders, kind):
    folder = folders(kind)
    requests = [question(f"How heavily? {'more ' * (2 * i)}{i}", max_tokens=8 + 8 * (i % 3)) for i in range(5)]
    base = acquire(weights_of(ref(folder)), torch.device("cpu"), torch.float32)
    for size in (1, 8):
        replies = ask(TransformersBackend(ref(folder), device="cpu", batch_size=size, tokens=70), requests)
        for request, reply in zip(requests, replies, strict=True):
            ids = torch.tensor([base.codec.prompt(request)])
            out = base.model.generate(ids, max_new_tokens=request.max_tokens, do_sample=False)[0, ids.shape[1] :]
            assert reply.text == base.codec.decode(out.tolist())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_vocabulary_is_read_once_for_all_answers_of_a_batch(folders, kind):
    base = acquire(weights_of(ref(folders(kind))), torch.device("cpu"), torch.float32)
    met = []
    watch = base.model.get_output_embeddings().register_forward_pre_hook(lambda head, inputs: met.append(inputs[0]))
    try:
        run_prompts(base.model, [[5, 6, 7, 8], [5, 9]], prefix=1, keep=2, cache=False, device=torch.device("cpu"))
    finally:
        watch.remove()
    assert met[-1].shape[:2] == (2, 2)
    assert met[-1].is_contiguous()  # else torch takes one product for each row


@pytest.mark.parametrize("kind", TREES)
def test_beginnings_are_shared_on_common_architectures(folders, kind):
    backend = TransformersBackend(ref(folders(kind)), device="cpu")
    (reply,) = ask(backend, [question("?", answers=("A", "B"))])
    assert "no_sharing" not in reply.provenance


@pytest.mark.parametrize("kind", OTHERS)
def test_where_beginnings_cannot_be_shared_each_reply_says_why(folders, kind):
    backend = TransformersBackend(ref(folders(kind)), device="cpu")
    for reply in ask(backend, [question("?", answers=("A", "B")), question("Which?", max_tokens=2)]):
        assert len(reply.provenance["no_sharing"]) > 20


def test_a_mask_that_a_model_ignores_is_found_out(folders, monkeypatch):
    base = acquire(weights_of(ref(folders("llama"))), torch.device("cpu"), torch.float32)
    whole = tree.call

    def deaf(model, **inputs):
        inputs["attention_mask"] = None
        return whole(model, **inputs)

    monkeypatch.setattr(tree, "call", deaf)
    found = find_sharing(base.model, torch.device("cpu"))
    assert found.mode == "padded"
    assert "otherwise than alone" in found.reason


prompts = st.lists(
    st.builds(
        lambda head, tail: [*head, *tail],
        st.sampled_from([[], [1] * 10, [1] * 30, [1] * 10 + [2] * 20]),
        st.lists(st.integers(0, 3), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=25,
)


@given(prompts, st.integers(1, 6), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_packs_hold_every_prompt_once_within_the_budget(prompts, size, tokens):
    packs = plan_tree(prompts, tokens=tokens, size=size)
    batches = plan_padded(prompts, tokens=tokens, size=size)
    for found in (packs, batches):
        assert sorted(i for pack in found for i in pack) == list(range(len(prompts)))
        assert all(1 <= len(pack) <= size for pack in found)
    assert all(len(b) == 1 or len(b) * max(len(prompts[i]) for i in b) <= tokens for b in batches)


@given(prompts, st.integers(0, 29))
@settings(max_examples=60, deadline=None)
def test_each_token_of_a_tree_sees_its_own_beginning_and_nothing_else(prompts, carried):
    rows = sorted(map(tuple, prompts))
    carried = min(carried, len(rows[0]) - 1)
    layout = tree.lay_out(rows, carried)
    tokens = [*rows[0][:carried], *layout.ids.tolist()]
    for row, path in zip(rows, layout.paths, strict=True):
        assert [tokens[c] for c in path] == list(row)
        assert layout.positions[path].tolist() == list(range(len(row)))
        for depth in range(len(row)):
            if path[depth] >= carried:
                assert layout.seen[path[depth] - carried].nonzero()[0].tolist() == sorted(path[: depth + 1])
    assert len(tokens) == len(
        {row[: k + 1] for row in rows for k in range(len(row))} | {rows[0][: k + 1] for k in range(carried)}
    )
