"""Training tokens a second and peak memory: this library's trainer against TRL's own, with the same settings.

Run: python benchmarks/bench_tuning.py [--model smollm2] [--steps 6] [--batch 8] [--threads 2] [--rounds 1]

All train the same LoRA (rank 16, all linear layers, AdamW, float32, no checkpointed activations) on the same tokens
with the same labels: choices of one context in the chat style, loss on the answer alone. Each run is a process of its
own. Seconds are CPU time of all threads, which other programs on the machine change little; a token counts once for
each time an example is trained on, whether or not it was computed anew. Memory is the most that the process held beyond
what it held before the first step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = ("bare TRL", "answer logits only", "introspect")


def prepare(model: str, folder: Path) -> str:
    """Where the model lies: a packaged one, a folder, a hub id, or a random one made here."""
    from introspect.backend.models import PACKAGED, locate, resolve

    if model not in ("random", "tiny"):
        if model not in PACKAGED or locate(model) is not None:
            return resolve(model)
        print(f"{model} is not on this machine (introspect models get {model}); a random model stands in", flush=True)
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from introspect import catalogue

    text = [f"{s.question} {a.name} {a.unit} 0123456789" for s in catalogue() for a in s.attributes]
    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        text,
        trainers.BpeTrainer(vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    small = model == "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096 if small else 49152,
        hidden_size=32 if small else 576,
        intermediate_size=64 if small else 1536,
        num_hidden_layers=2 if small else 8,
        num_attention_heads=4 if small else 9,
        num_key_value_heads=2 if small else 3,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def lessons(n: int) -> Any:
    """`n` labelled choices of one context."""
    from introspect import ChatStyle, PreferenceSampler, TrialGenerator, catalogue
    from introspect.training import choice_examples, training_set

    context = catalogue()[:1]
    generator = TrialGenerator()
    trials = generator.label(generator.trials(context, n, rng=1), PreferenceSampler().sample(context, rng=2), rng=3)
    return training_set(choice_examples(trials, ChatStyle()))


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def trl(where: str, steps: int, batch: int) -> dict[str, float]:
    """TRL's SFTTrainer as it comes, on tokens and labels that the library made."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    from introspect.backend.local.chat import ChatCodec

    tokenizer = AutoTokenizer.from_pretrained(where)
    codec = ChatCodec(tokenizer)
    tokens = [codec.example(example) for example in lessons(steps * batch)]
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    rows = [{"input_ids": list(t.ids), "labels": list(t.labels)} for t in tokens]
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "output_dir": scratch, "per_device_train_batch_size": batch, "max_steps": steps, "learning_rate": 1e-4,
            "bf16": False, "use_cpu": True, "save_strategy": "no", "logging_strategy": "no", "report_to": "none",
            "disable_tqdm": True, "max_length": None, "gradient_checkpointing": False,
            "dataset_kwargs": {"skip_prepare_dataset": True}, "max_grad_norm": 1.0,
        }  # fmt: skip
        from dataclasses import fields

        if "activation_checkpointing" in {field.name for field in fields(SFTConfig)}:
            settings["activation_checkpointing"] = settings.pop("gradient_checkpointing")
        trainer = SFTTrainer(
            model=model, args=SFTConfig(**settings), train_dataset=Dataset.from_list(rows), processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        before, began = peak(), time.process_time()
        trainer.train()
        spent = time.process_time() - began
    return {"tokens": sum(len(t.ids) for t in tokens), "seconds": spent, "bytes": peak() - before}


def ours(where: str, steps: int, batch: int, share: bool) -> dict[str, float]:
    """The library's trainer; without `share`, no beginning is computed once for many."""
    from introspect.backend import FolderJobs, ModelRef, TrainingSpec, run_sync
    from introspect.backend.local import sft
    from introspect.backend.local.trainer import TransformersTrainer

    if not share:
        sft.can_share = lambda _model: False
    base = ModelRef(provider="transformers", model=where, settings={"dtype": "float32"})
    data = lessons(steps * batch)
    trainer = TransformersTrainer(device="cpu", checkpoint_every=1e9)
    check = trainer.check(base, data)
    seen: list[tuple[float, int]] = []
    plan = TrainingSpec(
        epochs=1, batch_size=batch, max_steps=steps, learning_rate=1e-4, lora_rank=16, schedule="linear"
    )
    train = sft.AnswerTrainer.train

    def timed(self: Any, *args: Any, **kwargs: Any) -> Any:
        before, began = peak(), time.process_time()
        done = train(self, *args, **kwargs)
        seen.append((time.process_time() - began, peak() - before))
        return done

    sft.AnswerTrainer.train = timed
    with tempfile.TemporaryDirectory() as scratch:
        run_sync(trainer.train, base, data, plan, FolderJobs(scratch))
    ((spent, grown),) = seen
    return {"tokens": check.trained_tokens + check.prompt_tokens, "seconds": spent, "bytes": grown}


def child(kind: str, where: str, steps: int, batch: int, threads: int) -> None:
    """One run; prints one line of JSON."""
    import warnings

    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    found = trl(where, steps, batch) if kind == KINDS[0] else ours(where, steps, batch, kind == KINDS[2])
    print(json.dumps(found))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="a packaged name, folder or hub id; random; tiny")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many counts; they take turns")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "WHERE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(*options.child, options.steps, options.batch, options.threads)
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        where = prepare(options.model, Path(folder))
        for _ in range(options.rounds):
            for kind in KINDS:
                command = [sys.executable, __file__, "--child", kind, where]
                for name in ("steps", "batch", "threads"):
                    command += [f"--{name}", str(getattr(options, name))]
                done = subprocess.run(command, text=True, capture_output=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{kind} did not run: {done.stderr[-2000:]}")
                found = json.loads(done.stdout.splitlines()[-1])
                if kind not in best or found["seconds"] < best[kind]["seconds"]:
                    best[kind] = found
    rates = {kind: found["tokens"] / found["seconds"] for kind, found in best.items()}
    print(f"{options.model}: {options.steps} steps of {options.batch} examples, {options.threads} thread(s)")
    print(f"{'trainer':<20}{'tokens / CPU s':>15}{'x bare TRL':>12}{'memory, MB':>12}{'x bare TRL':>12}")
    bare = best[KINDS[0]]
    for kind, found in best.items():
        print(
            f"{kind:<20}{rates[kind]:>15,.0f}{rates[kind] / rates[KINDS[0]]:>12.2f}"
            f"{found['bytes'] / 1e6:>12,.0f}{found['bytes'] / max(bare['bytes'], 1):>12.2f}"
        )
    return None


if __name__ == "__main__":
    main()
