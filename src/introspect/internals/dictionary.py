"""A sparse autoencoder of which the k largest latents speak, trained here in minutes on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from torch.nn import functional as F

from introspect._checked import Checked
from introspect._notebook import short_repr
from introspect.errors import ConfigError, TrainingError

__all__ = ["Dictionary", "DictionarySpec", "train_dictionary"]

Floats = npt.NDArray[np.float32]


class DictionarySpec(Checked):
    """How a dictionary is trained.

    Attributes:
        latents: Directions.
        k: How many speak for a token.
        epochs: Passes over the tokens.
        batch_size: Tokens a step.
        learning_rate: Of Adam.
        seed: Of the start and the order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    latents: int = Field(default=2048, ge=2)
    k: int = Field(default=16, ge=1)
    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=512, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Dictionary:
    """Directions, and how to find which of them a vector holds.

    Attributes:
        encoder: [latents, width].
        encoder_bias: [latents].
        decoder: [latents, width], rows of length one where trained here.
        centre: [width], subtracted first.
        scale: Vectors are divided by it first.
        k: Latents that speak.
        explained: Share of variance explained on tokens that were held out.
        seconds: CPU time of training.
        tokens_per_second: Of training, by CPU time.
    """

    encoder: Floats
    encoder_bias: Floats
    decoder: Floats
    centre: Floats
    scale: float
    k: int
    explained: float = float("nan")
    seconds: float = 0.0
    tokens_per_second: float = 0.0

    def __repr__(self) -> str:
        latents, width = self.decoder.shape
        return short_repr(self, f"{latents} latents of width {width}, {self.k} speak, {self.explained:.0%} explained")

    def encode(self, vectors: Floats, size: int = 4096) -> tuple[npt.NDArray[np.int64], Floats]:
        """Latents that speak, and how loudly: [rows, k] each, the loudest first; a silent one has 0."""
        places, loud = [], []
        encoder, bias = torch.from_numpy(self.encoder), torch.from_numpy(self.encoder_bias)
        for start in range(0, len(vectors), size):
            x = torch.from_numpy((vectors[start : start + size] - self.centre) / self.scale).float()
            values, index = torch.topk(x @ encoder.T + bias, self.k)
            places.append(index.numpy())
            loud.append(values.relu().numpy())
        return np.concatenate(places), np.concatenate(loud)

    def decode(self, places: npt.NDArray[np.int64], loud: Floats) -> Floats:
        """Vectors from latents."""
        made: Floats = np.einsum("nk,nkd->nd", loud, self.decoder[places]) * self.scale + self.centre
        return made

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Everything, by name, for a store's table."""
        return {
            "encoder": self.encoder, "encoder_bias": self.encoder_bias, "decoder": self.decoder, "centre": self.centre,
            "facts": np.array([self.scale, self.k, self.explained, self.seconds, self.tokens_per_second]),
        }  # fmt: skip

    @classmethod
    def of_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Dictionary:
        """Read back what `arrays` gave."""
        scale, k, explained, seconds, rate = arrays["facts"].tolist()
        names = ("encoder", "encoder_bias", "decoder", "centre")
        encoder, bias, decoder, centre = (arrays[n] for n in names)
        return cls(encoder, bias, decoder, centre, scale, int(k), explained, seconds, rate)

    @classmethod
    def of_sae_lens(cls, sae: Any) -> Dictionary:
        """A TopK autoencoder that SAELens trained or loaded (``sae_lens``), in this form: it encodes and decodes alike.

        Its decoder's rows become of length one where that changes nothing: where SAELens picks latents by what they
        add (``rescale_acts_by_decoder_norm``), or where all rows are equally long.

        Raises:
            TrainingError: It is not a TopK one, or it rescales what comes in.
        """
        k = getattr(sae.cfg, "k", None)
        if k is None:
            raise TrainingError(f"{type(sae).__name__} is no TopK autoencoder: its settings have no k")
        rescaled = getattr(sae.cfg, "normalize_activations", "none")
        if rescaled not in (None, "none"):
            raise TrainingError(f"the autoencoder rescales vectors first ({rescaled!r}); fold that into its weights")
        encoder = sae.W_enc.detach().T.float().numpy().copy()
        decoder = sae.W_dec.detach().float().numpy().copy()
        length = np.linalg.norm(decoder, axis=1, keepdims=True)
        if not getattr(sae.cfg, "rescale_acts_by_decoder_norm", False) and np.ptp(length) > 1e-4 * length.mean():
            length = np.ones_like(length)  # shorter rows are picked as often there: lengths must stay
            unit = decoder
        else:
            unit = decoder / length
        centre = sae.b_dec.detach().float().numpy().copy()
        inner = centre if getattr(sae.cfg, "apply_b_dec_to_input", True) else np.zeros_like(centre)
        bias = sae.b_enc.detach().float().numpy() + encoder @ (centre - inner)
        return cls(encoder * length, bias * length[:, 0], unit, centre, 1.0, int(k))

    def to_sae_lens(self) -> Any:
        """The same as a ``sae_lens.TopKSAE``, for its tools and file format.

        Raises:
            ConfigError: SAELens is not installed.
        """
        try:
            from sae_lens import TopKSAE, TopKSAEConfig
        except ImportError as error:
            raise ConfigError("SAELens is not installed: pip install sae-lens") from error
        latents, width = self.decoder.shape
        config = TopKSAEConfig(d_in=width, d_sae=latents, k=self.k, device="cpu", dtype="float32",
                               apply_b_dec_to_input=True, normalize_activations="none")  # fmt: skip
        made = TopKSAE(config)
        values = {"W_enc": self.encoder.T / self.scale, "b_enc": self.encoder_bias, "W_dec": self.decoder * self.scale,
                  "b_dec": self.centre}  # fmt: skip
        with torch.no_grad():
            for name, value in values.items():
                getattr(made, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
        return made


def train_dictionary(
    vectors: Floats, spec: DictionarySpec | None = None, progress: Callable[[str], None] | None = None
) -> Dictionary:
    """Train on vectors; every twentieth is held out.

    Which latents speak is found by one dense product; all gradients then run through those k alone, a fortieth of the
    work of the dense form. Latents that never spoke during an epoch start anew at badly explained vectors.

    Args:
        vectors: [tokens, width].
        spec: How.
        progress: Told how it goes.

    Raises:
        TrainingError: Fewer vectors than a batch, or a loss that is no number.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> directions = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
        >>> vectors = 5 * directions[rng.integers(0, 16, 4000)]
        >>> made = train_dictionary(vectors, DictionarySpec(latents=32, k=1, epochs=20, batch_size=100))
        >>> made.explained > 0.9
        True
    """
    spec = spec or DictionarySpec()
    if len(vectors) < 2 * spec.batch_size:
        raise TrainingError(f"{len(vectors)} vectors are too few for batches of {spec.batch_size}")
    began = time.process_time()
    generator = torch.Generator().manual_seed(spec.seed)
    held = np.arange(len(vectors)) % 20 == 0
    centre = vectors[~held].mean(0)
    scale = float(np.sqrt(((vectors[~held] - centre) ** 2).sum(1).mean()))
    x = torch.from_numpy((vectors - centre) / scale).float()
    taught, judged = x[torch.from_numpy(~held)], x[torch.from_numpy(held)]
    width = x.shape[1]
    decoder = F.normalize(torch.randn(spec.latents, width, generator=generator), dim=1)
    encoder, bias = decoder.clone().requires_grad_(), torch.zeros(spec.latents, requires_grad=True)
    decoder.requires_grad_()
    optimiser = torch.optim.Adam([encoder, bias, decoder], lr=spec.learning_rate, fused=True)
    steps = spec.epochs * (len(taught) // spec.batch_size)
    step = 0
    for epoch in range(spec.epochs):
        spoken = torch.zeros(spec.latents)
        order = torch.randperm(len(taught), generator=generator)
        total = 0.0
        for start in range(0, len(order) - spec.batch_size + 1, spec.batch_size):
            batch = taught[order[start : start + spec.batch_size]]
            for group in optimiser.param_groups:
                group["lr"] = spec.learning_rate * min(1.0, 5 * (1 - step / steps) + 1e-3)
            loss, index = _loss(batch, encoder, bias, decoder, spec.k)
            optimiser.zero_grad()
            torch.autograd.backward([loss])
            optimiser.step()
            with torch.no_grad():
                decoder /= decoder.norm(dim=1, keepdim=True).clamp(min=1e-6)
                spoken.index_add_(0, index.flatten(), torch.ones(index.numel()))
            total += float(loss.detach())
            step += 1
        if not np.isfinite(total):
            raise TrainingError("the dictionary's loss is no number; lower its learning_rate")
        dead = torch.nonzero(spoken == 0)[:, 0]
        if len(dead) and epoch < spec.epochs - 1:
            _revive(dead, taught, encoder, bias, decoder, spec.k, generator)
        if progress is not None:
            mean = total * spec.batch_size / len(taught)
            progress(f"dictionary, epoch {epoch + 1}: loss {mean:.3f}, {len(dead)} of {spec.latents} latents silent")
    with torch.no_grad():
        rest, _ = _loss(judged, encoder, bias, decoder, spec.k)
        explained = 1.0 - float(rest) / float(((judged - judged.mean(0)) ** 2).sum(1).mean())
    seconds = time.process_time() - began
    arrays = [a.detach().numpy() for a in (encoder, bias, decoder)]
    rate = spec.epochs * len(taught) / max(seconds, 1e-9)
    return Dictionary(
        arrays[0], arrays[1], arrays[2], centre.astype(np.float32), scale, spec.k, explained, seconds, rate
    )


def _loss(
    batch: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        index = torch.topk(torch.addmm(bias, batch, encoder.T), k, sorted=False)[1]
    speaking = torch.einsum("nd,nkd->nk", batch, F.embedding(index, encoder)) + bias[index]
    made = torch.einsum("nk,nkd->nd", speaking.relu(), F.embedding(index, decoder))
    return ((batch - made) ** 2).sum(1).mean(), index


@torch.no_grad()
def _revive(
    dead: torch.Tensor, taught: torch.Tensor, encoder: torch.Tensor, bias: torch.Tensor, decoder: torch.Tensor, k: int,
    generator: torch.Generator,
) -> None:  # fmt: skip
    some = taught[torch.randint(len(taught), (min(len(taught), 4 * len(dead)),), generator=generator)]
    index = torch.topk(torch.addmm(bias, some, encoder.T), k)[1]
    speaking = (torch.einsum("nd,nkd->nk", some, encoder[index]) + bias[index]).relu()
    rest = some - torch.einsum("nk,nkd->nd", speaking, decoder[index])
    worst = rest[rest.norm(dim=1).argsort(descending=True)[: len(dead)]]
    fresh = F.normalize(worst, dim=1)
    decoder[dead[: len(fresh)]], encoder[dead[: len(fresh)]], bias[dead[: len(fresh)]] = fresh, fresh, 0.0
