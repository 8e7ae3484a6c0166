"""Pre-train the shipped organisms again: minutes on two cores, the same weights on the same machine and torch build.

    python scripts/grow_organisms.py [--out FOLDER] [NAME ...]

Each organism is grown on one thread, since the order of floating-point sums would otherwise depend on the number of
cores; several are grown side by side.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from introspect.subjects.organism.recipes import RECIPES

DATA = Path(__file__).resolve().parent.parent / "src" / "introspect" / "subjects" / "organism" / "data"


def grow(name: str, out: Path) -> str:

    from introspect.subjects.organism import grow_organism

    began = time.perf_counter()

    def say(step: int, total: int, loss: float) -> None:
        if step % 400 == 0 or step == total:
            print(f"{name}: step {step} of {total}, loss {loss:.3f}, {time.perf_counter() - began:.0f} s", flush=True)

    organism = grow_organism(RECIPES[name], say)
    digest = organism.save(out / f"{name}.safetensors", half=True)
    return f"{name}: {organism.n_parameters:,} parameters, {digest}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Pre-train the shipped organisms again.")
    parser.add_argument("names", nargs="*", default=list(RECIPES), metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--out", type=Path, default=DATA, help="folder for the files (default: where they ship)")
    parser.add_argument("--jobs", type=int, default=2, help="organisms grown at the same time (default 2)")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(RECIPES))
    if unknown:
        parser.error(f"no recipe for {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    options.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for line in pool.map(grow, options.names, [options.out] * len(options.names)):
            print(line)


if __name__ == "__main__":
    main()
