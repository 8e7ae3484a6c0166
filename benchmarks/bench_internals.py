"""Patching against nnsight, a restart at the patched block against whole runs, and a dictionary against SAELens.

Times are CPU seconds of this process (`time.process_time`), so that a busy machine changes them little; each figure is
the median of ratios of rounds that were taken in turn. What is not installed is left out, with a word.

    python benchmarks/bench_internals.py [--quick] [--rounds N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from introspect.internals import CleanRun, Target, Write
from introspect.internals.dictionary import DictionarySpec, train_dictionary
from introspect.internals.tiny import tiny_target


def seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of their ratio by round."""
    slow(), fast()
    pairs = [(seconds(slow), seconds(fast)) for _ in range(rounds)]
    a, b = (statistics.median(p[k] for p in pairs) for k in (0, 1))
    return a, b, statistics.median(x / y for x, y in pairs)


def decoder(quick: bool) -> Target:
    """A random Llama of SmolLM2-135M's depth; narrower and with a small vocabulary, so that it needs no weights."""
    return tiny_target("llama", width=64 if quick else 288, layers=6 if quick else 30, sharp=1.0)


def patching(target: Target, rounds: int) -> None:
    batch = target.encode([[(7 * i + k) % 200 + 2 for k in range(12)] for i in range(16)])
    value = torch.randn(16, target.width, generator=torch.Generator().manual_seed(0))
    layers = range(target.n_layers)

    def whole() -> None:
        for layer in layers:
            target.logits(batch, [Write((layer,), value, 5)])

    def resumed() -> None:
        kept = CleanRun(target, batch, layers)
        for layer in layers:
            kept.logits([Write((layer,), value, 5)])

    a, b, gain = ratio(whole, resumed, rounds)
    print(f"{'whole runs / restarts, all blocks':42} {a:9.3f} {b:9.3f} {gain:7.2f} x")
    try:
        import nnsight
    except ImportError:
        print("nnsight is not installed: pip install nnsight==0.8.1")
        return
    theirs = nnsight.NNsight(target.model)

    def traced() -> None:
        for layer in layers:
            with torch.no_grad(), theirs.trace(batch.ids, use_cache=False):
                theirs.model.layers[layer].output[:, 5, :] = value
                theirs.output.logits[:, -1].save()

    a, b, gain = ratio(traced, whole, rounds)
    print(f"{'nnsight / introspect, whole runs':42} {a:9.3f} {b:9.3f} {gain:7.2f} x")


def dictionary(quick: bool, rounds: int) -> None:
    n, width, latents, k = (4000, 64, 256, 8) if quick else (40_000, 576, 2048, 16)
    vectors = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    spec = DictionarySpec(latents=latents, k=k, epochs=1, batch_size=512)
    own = statistics.median(n / seconds(lambda: train_dictionary(vectors, spec)) for _ in range(rounds))
    try:
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.saes.sae import TrainStepInput
    except ImportError:
        print(f"{'dictionary, tokens/s of CPU time':42} {'-':>9} {own:9.0f}   (sae-lens is not installed)")
        return

    def lens() -> None:
        sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=latents, k=k, device="cpu", dtype="float32"))
        optimiser = torch.optim.Adam(sae.parameters(), lr=1e-3)
        data = torch.from_numpy(vectors)
        for start in range(0, n - 511, 512):
            step = TrainStepInput(data[start : start + 512], {}, None, 0, False)
            loss = sae.training_forward_pass(step).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    theirs = statistics.median(n / seconds(lens) for _ in range(rounds))
    print(f"{'dictionary, tokens/s: SAELens, introspect':42} {theirs:9.0f} {own:9.0f} {own / theirs:7.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed (default 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 1 if options.quick else options.rounds
    print(f"{'CPU seconds, one thread':42} {'theirs':>9} {'ours':>9}    gain")
    patching(decoder(options.quick), rounds)
    dictionary(options.quick, rounds)


if __name__ == "__main__":
    main()
