"""What a large sweep costs: counts by running one lane against a model that only counts, hours and bytes by formula.

    python scripts/size_sweep.py [--contexts 100] [--native 40] [--seeds 5]

A lane is one model and one seed; its twelve studies are the recommended protocol alone and with each of its eleven
controls. The model here answers at once and at random, in the words of a chat model, and its trainer trains nothing: so
calls, tokens, trainings and the bytes of the study file are those of the real thing, and what it says means nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from introspect.backend import (
    Capabilities,
    JobRecorder,
    ModelInfo,
    ModelRef,
    Reply,
    Request,
    TrainingSet,
    TrainingSpec,
    register,
)
from introspect.decision import ChatStyle
from introspect.decision.prompt import ChatMessage, PromptContent
from introspect.errors import PromptError
from introspect.study import named_protocol
from introspect.study.controls.reworded import GENERIC_JSON, OTHER_SCALE, PARAPHRASE, Reworded
from introspect.study.sweeps import Sweep, SweepRun, executor

CHARACTERS_A_TOKEN = 4.0

# What an H100 does, and how much of it is got. Assumptions, not measurements: change them here.
PEAK, BANDWIDTH, DISK = 989e12, 3.35e12, 2e9  # bf16 flop/s and bytes/s of its memory (data sheet); bytes/s of a disk
SHARE_READING, SHARE_TRAINING, SPEAKING_AT_ONCE = 0.3, 0.3, 64
STUDIES_A_LANE = 12
GPU_GB, TENSOR_PARALLEL_OVERHEAD = 80.0, 1.25


@dataclass(frozen=True)
class Size:
    """A class of models: its shape gives parameters and the size of an adapter."""

    name: str
    models: int
    parameters: float
    layers: int
    hidden: int
    inner: int
    keys: int

    def adapter(self, rank: int) -> float:
        """Bytes of a LoRA adapter on all seven linear maps of a block, four bytes a number."""
        h, m, k = self.hidden, self.inner, self.keys
        sides = (h + h) + 2 * (h + k) + (h + h) + 2 * (h + m) + (m + h)
        return 4.0 * rank * self.layers * sides

    @property
    def gpus(self) -> int:
        """Cards that hold weights and what training keeps beside them: three bytes a parameter, ten GB of room."""
        return max(1, round(-(-(self.parameters * 3 / 1e9 + 10) // GPU_GB)))


SIZES = (
    Size("0.5 B", 6, 0.5e9, 24, 896, 4864, 128),
    Size("1.5 B", 6, 1.5e9, 28, 1536, 8960, 256),
    Size("3 B", 6, 3.1e9, 36, 2048, 11008, 256),
    Size("7 B", 6, 7.6e9, 28, 3584, 18944, 512),
    Size("14 B", 4, 14.8e9, 48, 5120, 13824, 1024),
    Size("32 B", 2, 32.8e9, 64, 5120, 27648, 1024),
)
"""Thirty models; shapes as of one well-known family (grouped-query attention, gated feed-forward)."""

count: Counter[str] = Counter()


class CountedBackend:
    """Answers at once, at random but the same every time, and counts."""

    def __init__(self, ref: ModelRef) -> None:
        self.info = ModelInfo(ref=ref)
        count["opened"] += 1

    async def probe(self) -> Capabilities:
        return Capabilities(answer_logprobs=True, complete_logprobs=True)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        for index, request in enumerate(requests):
            yield index, self.reply(request)

    async def aclose(self) -> None:
        pass

    def reply(self, request: Request) -> Reply:
        said = "".join(m.content for m in request.messages)
        rng = random.Random(hashlib.blake2b((self.info.ref.key + said).encode(), digest_size=8).digest())
        count["calls"] += 1
        count["prompt tokens"] += round(len(said) / CHARACTERS_A_TOKEN)
        if request.answers:
            count["choices"] += 1
            p = rng.random()
            text = max(zip((p, 1 - p), request.answers, strict=False))[1]
            shown = dict.fromkeys(request.answers, -20.0) | dict(zip(request.answers, (p, 1 - p), strict=False))
            logs = {a: value if value < 0 else _log(value) for a, value in shown.items()}
            return Reply(status="completed", text=text, answer_logprobs=logs, mass_outside=0.0)
        style = ChatStyle()
        content = _content(style, request)
        text = style.answer_report(content, {name: rng.uniform(-100, 100) for name in _predictors(content)})
        count["spoken tokens"] += round(len(text) / CHARACTERS_A_TOKEN)
        return Reply(status="completed", text=text)


def _content(style: ChatStyle, request: Request) -> PromptContent:
    """What a report prompt asks for, in whatever words a control puts it and after whatever examples."""
    first, last = request.messages[0], request.messages[-1]
    said = [ChatMessage(m.role, m.content) for m in ((first, last) if first.role == "system" else (last,))]
    for words in ((), PARAPHRASE, OTHER_SCALE, GENERIC_JSON):
        try:
            return Reworded(style, words, "asked").read(said)
        except PromptError:
            continue
    raise PromptError(f"a prompt in no known words: {last.content[:80]!r}")


def _log(p: float) -> float:
    import math

    return math.log(max(p, 1e-9))


def _predictors(content: PromptContent) -> list[str]:
    return list(dict.fromkeys([*(a.name for a in content.attributes), *content.asked]))


class CountedTrainer:
    """Trains nothing, and counts what training would have read."""

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        steps = spec.steps(len(data))
        seen = steps * spec.batch_size / len(data)
        characters = sum(len(m.content) for example in data for m in example.messages)
        count["trainings"] += 1
        count["gradient steps"] += steps
        count["training tokens"] += round(seen * characters / CHARACTERS_A_TOKEN)
        name = hashlib.sha256((base.key + data.hash + spec.model_dump_json()).encode()).hexdigest()
        return ModelRef(provider=base.provider, model=base.model, adapter="sha256:" + name, parent=base)


def lane(contexts: int, native: int, out: Path) -> list[tuple[str, Counter[str]]]:
    """Run one lane, and what each of its studies added."""
    register("counted", open=CountedBackend, trainer=CountedTrainer)
    words = [control.word for control in named_protocol("recommended").controls]
    conditions: dict[str, dict[str, object]] = {"alone": {"controls": []}, **{w: {"controls": [w]} for w in words}}
    conditions["privileged"] = {"controls": [{"privileged": {"others": ["counted:outsider"]}}]}
    conditions["common-sense"] = {"controls": [{"common-sense": {"models": ["counted:guesser"]}}]}
    sweep = Sweep.model_validate(
        {
            "name": "sized",
            "protocol": named_protocol("recommended")
            .changed(contexts__instilled=contexts, contexts__native=native)
            .model_dump(mode="json"),
            "models": ["counted:model"],
            "conditions": conditions,
        }
    )
    found: list[tuple[str, Counter[str]]] = []
    before: Counter[str] = Counter()
    clock = time.process_time()
    file = out / "lanes"

    def tell(title: str, state: str, ended: int) -> None:
        del ended
        nonlocal before, clock
        size = sum(f.stat().st_size for f in file.rglob("study.db*"))
        now = count + Counter({"bytes": size})
        now["cpu ms"] = before["cpu ms"] + round(1000 * (time.process_time() - clock))
        clock = time.process_time()
        new = Counter(now)
        new.subtract(before)
        before = now
        found.append((title.rpartition(", ")[2], new))
        print(f"  {title.rpartition(', ')[2]:<14}{state if state != 'done' else ''}" + "".join(
            f"{new[k]:>12,}" for k in COLUMNS), flush=True)  # fmt: skip

    print(f"{'one lane':<16}" + "".join(f"{k.replace('tokens', 'tok.'):>12}"[:12].rjust(12) for k in COLUMNS))
    SweepRun(sweep, out).run(executor("here"), tell)
    return found


COLUMNS = ("choices", "calls", "prompt tokens", "spoken tokens", "trainings", "gradient steps", "training tokens",
           "bytes", "cpu ms")  # fmt: skip


def hours(size: Size, total: Counter[str]) -> dict[str, float]:
    """GPU hours of one lane: reading, speaking, training, loading. Flop counts: two a parameter and token forwards, and
    for LoRA two more backwards, since the frozen weights need no gradients of their own.
    """
    n, cards = size.parameters, size.gpus
    waste = TENSOR_PARALLEL_OVERHEAD if cards > 1 else 1.0
    reading = 2 * n * total["prompt tokens"] / (PEAK * SHARE_READING)
    # A step reads all weights once and gives every reply under way one token.
    speaking = 2 * n / BANDWIDTH * total["spoken tokens"] / SPEAKING_AT_ONCE
    training = 4 * n * total["training tokens"] / (PEAK * SHARE_TRAINING)
    loading = STUDIES_A_LANE * 2 * n / DISK * cards
    return {
        "reading": reading * waste / 3600, "speaking": speaking * waste / 3600,
        "training": training * waste / 3600, "loading": loading / 3600,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=100)
    parser.add_argument("--native", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rank", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="introspect-") as folder:
        found = lane(options.contexts, options.native, Path(folder))
        whole = (Path(folder) / "sweep.db").stat().st_size
    total: Counter[str] = Counter()
    for _, new in found:
        total += new
    print(f"{'  all':<16}" + "".join(f"{total[k]:>12,}" for k in COLUMNS))
    print(f"  gathered (sweep.db): {whole:,} bytes\n")
    lanes = sum(size.models for size in SIZES) * options.seeds
    print(
        f"{'models':<10}{'each':>6}{'GPUs':>6}"
        + "".join(f"{k:>10}" for k in ("reading", "speaking", "training", "loading", "lane h"))
        + f"{'GPU h':>9}{'adapter GB':>12}"
    )
    every, stored, longest = 0.0, 0.0, 0.0
    for size in SIZES:
        parts = hours(size, total)
        gpu_hours = sum(parts.values())
        mine, n = gpu_hours / size.gpus, size.models * options.seeds
        adapters = total["trainings"] * size.adapter(options.rank) / 1e9
        every, stored, longest = every + gpu_hours * n, stored + adapters * n, max(longest, mine)
        print(f"{size.name:<10}{size.models:>6}{size.gpus:>6}" + "".join(f"{v:>10.2f}" for v in parts.values())
              + f"{mine:>10.2f}{gpu_hours * n:>9.0f}{adapters * n:>12.0f}")  # fmt: skip
    print(
        f"\n{lanes} lanes, {lanes * STUDIES_A_LANE:,} studies: {every:,.0f} GPU hours; "
        f"{total['calls'] * lanes / 1e6:.1f} million calls; {total['trainings'] * lanes:,} trainings"
    )
    print(
        f"storage: {stored / 1e3:.1f} TB of adapters, {total['bytes'] * lanes / 1e9:.0f} GB of study files, "
        f"{whole * lanes / 1e9:.0f} GB in sweep.db"
    )
    print(
        f"longest lane {longest:.1f} h; estimators and scoring {total['cpu ms'] / 3.6e6 * lanes:.0f} core hours; "
        f"no more than {lanes} studies at once"
    )


if __name__ == "__main__":
    main()
