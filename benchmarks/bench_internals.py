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
from introspect.internals.token_batch import TokenBatch


def seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def ratio(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of their ratio by round; who goes first changes from round to round."""
    slow(), fast()
    pairs = []
    for k in range(rounds):
        if k % 2:
            after, before = seconds(fast), seconds(slow)
            pairs.append((before, after))
        else:
            pairs.append((seconds(slow), seconds(fast)))
    a, b = (statistics.median(p[k] for p in pairs) for k in (0, 1))
    return a, b, statistics.median(x / y for x, y in pairs)


def decoder(quick: bool) -> Target:
    """A random Llama of SmolLM2-135M's depth; narrower and with a small vocabulary, so that it needs no weights."""
    return tiny_target("llama", width=64 if quick else 288, layers=6 if quick else 30, sharp=1.0)


def real_shape() -> Target:
    """A random Llama of SmolLM2-135M's very shape, vocabulary included."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Target(LlamaForCausalLM(LlamaConfig(
            hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
            vocab_size=49152,
        )))  # fmt: skip


def prompts(target: Target) -> TokenBatch:
    return target.encode([[(7 * i + k) % 200 + 2 for k in range(12)] for i in range(16)])


def restarts(target: Target, rounds: int) -> None:
    batch, layers = prompts(target), range(target.n_layers)
    value = torch.randn(16, target.width, generator=torch.Generator().manual_seed(0))

    def whole() -> None:
        for layer in layers:
            target.logits(batch, [Write((layer,), value, 5)])

    def resumed() -> None:
        kept = CleanRun(target, batch, layers)
        for layer in layers:
            kept.logits([Write((layer,), value, 5)])

    a, b, gain = ratio(whole, resumed, rounds)
    print(f"{'whole runs / restarts, all blocks':42} {a:9.3f} {b:9.3f} {gain:7.2f} x")


def against_nnsight(name: str, target: Target, rounds: int) -> None:
    """One patched run after each other, of blocks in turn; both give the same logits, bit for bit."""
    try:
        import nnsight
    except ImportError:
        print("nnsight is not installed: pip install nnsight==0.8.1")
        return
    theirs, batch = nnsight.NNsight(target.model), prompts(target)
    value = torch.randn(16, target.width, generator=torch.Generator().manual_seed(0))

    def traced(layer: int, **keep: int) -> torch.Tensor:
        with torch.no_grad(), theirs.trace(batch.ids, use_cache=False, **keep):
            theirs.model.layers[layer].output[:, 5, :] = value
            last = theirs.output.logits[:, -1].save()
        return last

    def ours(layer: int) -> torch.Tensor:
        return target.logits(batch, [Write((layer,), value, 5)])

    assert torch.equal(traced(1), ours(1)), "nnsight and introspect do not agree"
    turns = [k % target.n_layers for k in range(1, 7 * rounds, 7)]  # one block a round
    for what, keep in (("", {}), (", last logits", {"logits_to_keep": 1})):
        queue, again = iter([turns[0], *turns]), iter([turns[0], *turns])
        a, b, gain = ratio(lambda: traced(next(queue), **keep), lambda: ours(next(again)), rounds)  # noqa: B023
        print(f"{f'nnsight{what} / introspect, {name}':42} {a:9.3f} {b:9.3f} {gain:7.3f} x")


def dictionary(quick: bool, rounds: int) -> None:
    n, width, latents, k = (4000, 64, 256, 8) if quick else (40_000, 576, 2048, 16)
    vectors = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    spec = DictionarySpec(latents=latents, k=k, epochs=1, batch_size=512)
    try:
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.saes.sae import TrainStepInput
    except ImportError:
        own = n / seconds(lambda: train_dictionary(vectors, spec))
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

    a, b, gain = ratio(lens, lambda: train_dictionary(vectors, spec), rounds)
    print(f"{'dictionary, tokens/s: SAELens, introspect':42} {n / a:9.0f} {n / b:9.0f} {gain:7.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: does it run?")
    parser.add_argument("--only", choices=("patching", "dictionary"), help="measure one of the two")
    parser.add_argument("--rounds", type=int, default=5, help="times each is timed (default 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 1 if options.quick else options.rounds
    print(f"{'CPU seconds, one thread':42} {'theirs':>9} {'ours':>9}    gain")
    if options.only != "dictionary":
        small = decoder(options.quick)
        restarts(small, rounds)
        against_nnsight("6 narrow blocks", decoder(True), 40 * rounds)
        if not options.quick:
            against_nnsight("30 blocks of 288", small, 4 * rounds)
            against_nnsight("SmolLM2's shape", real_shape(), rounds)
    if options.only != "patching":
        dictionary(options.quick, rounds)


if __name__ == "__main__":
    main()
