"""Reading and writing the residual stream, on every family and on the organism."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

from introspect.errors import CapabilityError, MeasureError
from introspect.internals import CleanRun, Target, Write
from introspect.internals.blocks import find_blocks
from introspect.internals.tiny import FAMILIES, tiny_target

TEXTS = ["one two three four five", "six six", "seven eight"]
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
LINES = ["choose n0007 A p100 q50 B p0 q50 :", "choose n0007 A p1 q2 :", "weigh n0007 p :"]


@pytest.fixture(scope="module", params=[*FAMILIES, "organism"])
def target(request) -> Target:
    if request.param == "organism":
        return Target.open("organism")
    return tiny_target(request.param, words=WORDS, layers=3)


def texts_of(target: Target) -> list[str]:
    return TEXTS if target.tokenizer is not None else LINES


def noise(target: Target, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, target.width, generator=torch.Generator().manual_seed(1))


def test_blocks_are_found_by_structure(target):
    assert len({type(block) for block in target.blocks}) == 1
    assert target.n_layers == (2 if target.tokenizer is None else 3)


def test_the_largest_outermost_list_is_the_stack_even_where_blocks_hold_lists():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList([nn.Linear(9, 9) for _ in range(4)])

    model = nn.Module()
    model.heads = nn.ModuleList([nn.Linear(9, 2)])
    model.trunk = nn.ModuleList([Block(), Block()])
    assert find_blocks(model) == tuple(model.trunk)


def test_a_model_without_a_list_of_blocks_is_refused_in_words():
    with pytest.raises(CapabilityError, match="holds no list of blocks"):
        find_blocks(nn.Linear(2, 2))


def test_what_is_read_does_not_depend_on_padding_or_company(target):
    texts = texts_of(target)
    alone = np.concatenate([target.read([text], [-1, 0, 1]) for text in texts])
    np.testing.assert_allclose(target.read(target.encode(texts), [-1, 0, 1]), alone, atol=1e-4)
    np.testing.assert_allclose(target.read(target.encode(texts, left=True), [-1, 0, 1]), alone, atol=1e-4)
    np.testing.assert_allclose(target.read(texts, [-1, 0, 1]), alone, atol=1e-4)


def test_every_position_of_every_text_can_be_read(target):
    batch = target.encode(texts_of(target))
    for row, length in enumerate(batch.lengths.tolist()):
        one = target.encode([texts_of(target)[row]])
        with target.reading(one, [1]) as streams:
            whole = streams[1][0].numpy()
        for place in range(-length, length):
            places = [place if r == row else 0 for r in range(len(batch))]
            np.testing.assert_allclose(target.read(batch, [1], places)[row, 0], whole[place], atol=1e-4)


def test_a_role_is_read_at_its_tokens(target):
    text = texts_of(target)[0]
    start = text.index(text.split()[2])
    batch = target.encode([text], [{"part": (start, len(text))}])
    with target.reading(batch, [0]) as streams:
        stream = streams[0][0].numpy()
    places = list(batch.columns("part")[0])
    for pick, wanted in (("first", stream[places[0]]), ("last", stream[-1]), ("mean", stream[places].mean(0))):
        np.testing.assert_allclose(target.read(batch, [0], "part", pick=pick)[0, 0], wanted, atol=1e-5)


@pytest.mark.parametrize(("mode", "wanted"), [
    ("replace", lambda h, v: v), ("add", lambda h, v: h + v), ("scale", lambda h, v: h * v),
])  # fmt: skip
def test_a_write_is_what_is_read_behind_it(target, mode, wanted):
    batch, value = target.encode(texts_of(target)), noise(target, 3)
    before = target.read(batch, [0], 1)[:, 0]
    after = target.read(batch, [0], 1, writes=[Write((0,), value, 1, mode)])[:, 0]
    np.testing.assert_allclose(after, wanted(before, value.numpy()), atol=1e-4)


def test_a_write_leaves_earlier_positions_as_they_were_and_changes_the_answer(target):
    batch, write = target.encode(texts_of(target)), Write((0,), noise(target), 1)
    np.testing.assert_array_equal(target.read(batch, [1], 0), target.read(batch, [1], 0, writes=[write]))
    assert (target.logits(batch) - target.logits(batch, [write])).abs().max() > 1e-3


def test_a_write_holds_in_generation_as_in_forward_passes(target):
    """Greedy words under a write are those of forward passes over the growing text under the same write."""
    if target.tokenizer is None:
        pytest.skip("organisms have no token ids to grow a text by")
    for write in (Write((1,), noise(target), 0), Write((0,), noise(target), "all", "add")):
        batch = target.encode(TEXTS, left=True)
        with target.writing(batch, [write]):
            said = target.continue_(batch, 4)
        for text, tokens in zip(TEXTS, said, strict=True):
            ids = target.encode([text]).ids[0].tolist()
            for token in tokens:
                assert int(target.logits([ids], [write]).argmax()) == token
                ids.append(token)


def test_an_organism_speaks_under_a_write_as_its_next_word_logits_say():
    organism = Target.open("organism")
    write = Write((0,), noise(organism), 1)
    said = organism.generate(LINES[:1], 1, [write])
    from introspect.subjects.organism.tokens import OUTPUTS

    assert said == [OUTPUTS[int(organism.logits(LINES[:1], [write]).argmax())]]


def test_an_organism_as_a_target_answers_as_the_organism_itself():
    from introspect.subjects.organism.speak import next_logprobs

    organism = Target.open("organism")
    for line in LINES:
        mine = torch.log_softmax(organism.logits([line]).double(), -1).numpy()
        np.testing.assert_allclose(mine, next_logprobs(organism.organism, [line]), atol=1e-4)


def test_writes_always_come_off(target):
    batch, write = target.encode(texts_of(target)), Write((0, 1), noise(target))
    before = target.logits(batch)
    with suppress(ZeroDivisionError), target.writing(batch, [write]):
        target.run(batch)
        raise ZeroDivisionError
    with pytest.raises(MeasureError, match="no layer 99"), target.writing(batch, [write, Write((99,), noise(target))]):
        pass
    target.read(batch, [1], writes=[write])
    assert torch.equal(before, target.logits(batch))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in target.model.modules())


@pytest.mark.parametrize("at", ["last", 0])
def test_a_run_begun_at_the_patched_block_is_the_whole_run(target, at):
    batch = target.encode(texts_of(target))
    kept = CleanRun(target, batch, range(target.n_layers))
    for layer in range(target.n_layers):
        write = Write((layer, target.n_layers - 1), noise(target, 3), at)
        torch.testing.assert_close(kept.logits([write]), target.logits(batch, [write]), atol=1e-4, rtol=1e-4)
    assert "forward" not in target.blocks[0].__dict__


def test_blocks_above_what_is_read_are_not_run(target):
    ran = []
    hook = target.blocks[-1].register_forward_hook(lambda *_: ran.append(1))
    try:
        target.read(texts_of(target), [0])
        assert not ran
    finally:
        hook.remove()


@pytest.mark.parametrize(("at", "said"), [(9999, "no position 9999"), ("subject", "no role 'subject'"), ([0], "1 pos")])
def test_a_position_that_is_not_there_is_named(target, at, said):
    with pytest.raises(MeasureError, match=said):
        target.read(target.encode(texts_of(target)), [0], at)


def test_wrong_writes_are_refused(target):
    with pytest.raises(MeasureError, match="mode must be"):
        Write((0,), noise(target), mode="erase")
    with pytest.raises(MeasureError, match="needs a tensor"):
        Write((0,), 2.0)
    assert target.logits(texts_of(target)[:1], [Write((0,), 0.5, "all", "scale")]).isfinite().all()


def test_generation_wants_texts_padded_on_the_left():
    target = tiny_target(words=WORDS)
    with pytest.raises(MeasureError, match="padded on the left"):
        target.continue_(target.encode(TEXTS), 2)


def test_a_target_keeps_its_weights_whatever_adapter_another_wears_on_the_same_base(tmp_path):
    """And needs no chat template: nothing is asked with messages here."""
    from peft import LoraConfig, get_peft_model

    made = tiny_target("llama", layers=3)
    made.tokenizer.chat_template = None
    made.model.save_pretrained(tmp_path / "base")
    made.tokenizer.save_pretrained(tmp_path / "base")
    made.model.name_or_path = str(tmp_path / "base")
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(made.model, lora).save_pretrained(tmp_path / "adapter")
    base = Target.open(str(tmp_path / "base"))
    before = base.read(["one two"], [2])
    tuned = Target.open(str(tmp_path / "adapter"))
    assert np.array_equal(base.read(["one two"], [2]), before)
    assert not np.allclose(tuned.read(["one two"], [2]), before, atol=1e-3)
    assert base.identity.revision != tuned.identity.revision
    assert base.identity == Target.open(str(tmp_path / "base")).identity


def test_logits_can_be_worked_on_with_gradients():
    target = tiny_target()
    logits = target.logits(["one two"])
    weight = torch.ones(logits.shape[1], requires_grad=True)
    (logits * weight).sum().backward()
    torch.testing.assert_close(weight.grad, logits[0])
