"""Vectors in the place of tokens, and the maps that bring them there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from introspect.errors import ConfigError, MeasureError, SelfTestError
from introspect.internals import SoftMap, SoftToken, Target, fit_ridge, self_test
from introspect.internals.planted import PlantedSpec
from introspect.internals.self_tests import require
from introspect.internals.soft_token import MARK, with_placeholders
from introspect.internals.tiny import FAMILIES, tiny_target


@pytest.fixture(scope="module", params=FAMILIES)
def target(request) -> Target:
    return tiny_target(request.param, layers=3)


def injected(target: Target, soft: SoftToken, vectors: torch.Tensor, learned: SoftMap | None = None) -> torch.Tensor:
    rows = [with_placeholders(target, text) for text in (f"a {MARK} b", f"a longer {MARK} text")]
    batch = target.encode([ids for ids, _ in rows])
    with soft.injecting(target, batch, [places for _, places in rows], vectors[:, None], learned):
        return target.logits(batch)


def vectors_of(target: Target) -> torch.Tensor:
    return torch.randn(2, target.width, generator=torch.Generator().manual_seed(3))


def test_an_injected_embedding_is_exactly_the_token_it_belongs_to(target):
    """The embedding of a word put at the placeholder gives what the word itself gives."""
    word = target.tokenizer("z")["input_ids"][0]
    with torch.no_grad():
        embedded = target.embedding(torch.tensor([word, word]))
    rows = [with_placeholders(target, text) for text in (f"a {MARK} b", f"a longer {MARK} text")]
    filled = [[word if i in places else t for i, t in enumerate(ids)] for ids, places in rows]
    torch.testing.assert_close(injected(target, SoftToken(), embedded), target.logits(filled))


def test_injecting_equals_handing_in_embeddings(target):
    vectors = vectors_of(target)
    ids, places = with_placeholders(target, f"a {MARK} b")
    with torch.no_grad():
        embeds = target.embedding(torch.tensor([ids])).clone()
        embeds[0, places[0]] = vectors[0]
        wanted = target.model(inputs_embeds=embeds).logits[0, -1]
    torch.testing.assert_close(injected(target, SoftToken(), vectors)[0], wanted)


@pytest.mark.parametrize("layer", ["embedding", 0, 1])
def test_each_scaling_is_what_it_says(target, layer):
    vectors = vectors_of(target)
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    raw = SoftToken(layer)
    torch.testing.assert_close(
        injected(target, SoftToken(layer, "unit", 5.0), vectors), injected(target, raw, 5 * unit)
    )
    short = injected(target, SoftToken(layer, "norm"), vectors)
    torch.testing.assert_close(short, injected(target, SoftToken(layer, "norm"), 100 * vectors), rtol=1e-4, atol=1e-4)


def test_the_middle_is_the_layer_that_planted_directions_are_read_at(target):
    vectors, layer = vectors_of(target), PlantedSpec().layer_of(target)
    torch.testing.assert_close(
        injected(target, SoftToken("middle"), vectors), injected(target, SoftToken(layer), vectors)
    )
    with pytest.raises(ConfigError, match="got 'end'"):
        SoftToken("end")


def test_norm_matched_vectors_are_as_long_as_what_they_replace(target):
    ids, places = with_placeholders(target, f"a {MARK} b")
    batch = target.encode([ids])
    before = np.linalg.norm(target.read(batch, [1], places[0]))
    with SoftToken(1, "norm").injecting(target, batch, [places], vectors_of(target)[:1, None]):
        after = target.read(batch, [1], places[0])
    assert np.linalg.norm(after) == pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("kind", ["scale", "scale+bias", "low-rank", "full"])
def test_every_map_starts_as_the_identity_and_learns(target, kind):
    vectors, learned = vectors_of(target), SoftMap(target.width, kind=kind, rank=2)
    torch.testing.assert_close(injected(target, SoftToken(), vectors), injected(target, SoftToken(), vectors, learned))
    rows = [with_placeholders(target, f"a {MARK} b")]
    batch = target.encode([rows[0][0]])
    with SoftToken().injecting(target, batch, [rows[0][1]], vectors[:1, None], learned):
        torch.log_softmax(target.run(batch).logits[0, -1], -1)[0].backward()
    grown = {name: p.grad is not None and float(p.grad.abs().max()) > 0 for name, p in learned.named_parameters()}
    assert all(grown[name] for name in grown if name != "down")  # the other half starts at zero
    assert all(p.grad is None for p in target.model.parameters())


def test_the_closed_form_map_recovers_a_linear_relation():
    rng = np.random.default_rng(0)
    x, matrix = rng.normal(size=(800, 6)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)
    learned, explained = fit_ridge(x, x @ matrix.T + 3, penalty=1e-6)
    assert explained > 0.999
    np.testing.assert_allclose(learned(torch.from_numpy(x)).detach(), x @ matrix.T + 3, atol=1e-2)


def test_maps_between_widths_must_be_full():
    with pytest.raises(ConfigError, match="use a full map"):
        SoftMap(4, 6, kind="scale+bias")


def test_a_saved_map_is_the_same_map():
    one = SoftMap(5, kind="low-rank", rank=2, seed=4)
    other = SoftMap(5, kind="low-rank", rank=2).load(one.arrays())
    torch.testing.assert_close(one(torch.eye(5)), other(torch.eye(5)))


def test_placeholders_are_found_and_do_not_melt_into_their_neighbours(target):
    ids, places = with_placeholders(target, f"{MARK}one{MARK}{MARK} two")
    assert len(places) == 3
    assert ids.count(ids[places[0]]) == 3


def test_vectors_and_placeholders_must_agree(target):
    ids, places = with_placeholders(target, f"a {MARK} b")
    batch = target.encode([ids])
    with pytest.raises(MeasureError, match="expected \\[prompts, placeholders, width\\]"):  # noqa: SIM117
        with SoftToken().injecting(target, batch, [places], torch.zeros(2, 1, target.width)):
            pass


def test_self_tests_pass_on_every_family(target):
    for soft in (SoftToken(), SoftToken(0, "norm", add=True), SoftToken(mode="unit", scale=9.0)):
        checks = self_test(target, soft, SoftMap(target.width, kind="full"))
        assert len(checks) == 7
        require(checks)


def test_self_tests_pass_on_the_organism():
    require(self_test(Target.open("organism")))


def test_a_vector_that_reaches_nothing_is_found_out(target):
    """After the last block the placeholder's stream is read by nobody."""
    checks = self_test(target, SoftToken(target.n_layers - 1))
    assert [c.passed for c in checks] == [True] * 4 + [False] * 3
    with pytest.raises(SelfTestError, match="gradients reach the map"):
        require(checks)


def test_a_write_that_stays_on_is_found_out(target, monkeypatch):
    """The known failure of published code: what was injected is not what the run says it is."""
    from introspect.internals import write

    def leaky(change):
        def hook(module, args, kwargs, output):
            return write.with_hidden(output, change(write.hidden_of(output)) * 1.01)

        return hook

    monkeypatch.setattr(write, "_after", leaky)
    with pytest.raises(SelfTestError, match="changes nothing"):
        require(self_test(target))
