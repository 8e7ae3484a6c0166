"""Our dictionary against SAELens' TopK autoencoder, with the same weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from introspect.errors import TrainingError
from introspect.internals.dictionary import Dictionary, DictionarySpec, train_dictionary

pytestmark = pytest.mark.slow
sae_lens = pytest.importorskip("sae_lens", reason="SAELens is not installed: pip install sae-lens==6.54.12")


def made_of(seed: int = 0, **changes: object) -> object:
    """SAELens' own, with weights that no rule gave equal lengths."""
    config = sae_lens.TopKSAEConfig(d_in=24, d_sae=64, k=5, device="cpu", dtype="float32", **changes)
    sae = sae_lens.TopKSAE(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in (sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec):
            value.copy_(torch.randn(value.shape, generator=generator))
    return sae


def vectors(n: int = 400) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 24)).astype(np.float32)


def assert_alike(ours: Dictionary, theirs: object, x: np.ndarray) -> None:
    """The same latents speak, what is decoded is the same, and so, up to each latent's length, is how loudly."""
    with torch.no_grad():
        acts = theirs.encode(torch.from_numpy(x))
        back = theirs.decode(acts).numpy()
    places, loud = ours.encode(x)
    dense = np.zeros(acts.shape, np.float32)
    np.put_along_axis(dense, places, loud, axis=1)
    assert np.array_equal(dense > 0, acts.numpy() > 0)
    assert (dense > 0).any(1).all()
    np.testing.assert_allclose(ours.decode(places, loud), back, rtol=1e-4, atol=1e-4)


def test_a_dictionary_trained_here_encodes_and_decodes_alike_in_sae_lens():
    x = vectors(2000)
    ours = train_dictionary(x, DictionarySpec(latents=64, k=5, epochs=2, batch_size=100))
    theirs = ours.to_sae_lens()
    assert_alike(ours, theirs, x[:300])
    places, loud = ours.encode(x[:300])
    with torch.no_grad():
        acts = theirs.encode(torch.from_numpy(x[:300])).numpy()
    np.testing.assert_allclose(np.take_along_axis(acts, places, axis=1), loud, rtol=1e-4, atol=1e-5)
    assert_alike(Dictionary.of_sae_lens(theirs), theirs, x[:300])


@pytest.mark.parametrize("by_length", [True, False])
@pytest.mark.parametrize("centred", [True, False])
def test_one_of_sae_lens_encodes_and_decodes_alike_here(by_length, centred):
    sae = made_of(rescale_acts_by_decoder_norm=by_length, apply_b_dec_to_input=centred)
    ours = Dictionary.of_sae_lens(sae)
    assert_alike(ours, sae, vectors())
    lengths = np.linalg.norm(ours.decoder, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) == by_length


def test_one_that_rescales_what_comes_in_is_refused():
    with pytest.raises(TrainingError, match="layer_norm"):
        Dictionary.of_sae_lens(made_of(normalize_activations="layer_norm"))
