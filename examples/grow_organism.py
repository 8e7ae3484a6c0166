"""Grow an organism of your own from a recipe, save it, ask it something, and see whether it chooses as it should.

A few steps make a hatchling that has learned the language and little else; 2400, the default of a recipe, make one
that chooses by its preferences, in a few minutes.

Run: python examples/grow_organism.py [--steps 40] [--sharing 1.0] [--out mine.safetensors]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from introspect import (
    ChoiceProbe,
    Message,
    OrganismStyle,
    Preference,
    Request,
    TrialGenerator,
    ask,
    grow_organism,
    native_scenarios,
    open_model,
    organism_ref,
)
from introspect.subjects.organism import OrganismConfig
from introspect.subjects.organism.grow import native_names, native_weights


def main() -> None:
    """Grow, save, open, ask and check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40, help="gradient steps of pre-training")
    parser.add_argument("--sharing", type=float, default=1.0, help="1: reports can follow choices, 0: they cannot")
    parser.add_argument("--out", type=Path, help="file to keep it in")
    options = parser.parse_args()

    recipe = OrganismConfig(name="mine", row_sharing=options.sharing, n_native=60, n_reported=15, steps=options.steps)
    losses: list[float] = []
    organism = grow_organism(recipe, progress=lambda _step, _total, loss: losses.append(loss))
    print(f"{organism.n_parameters:,} parameters; loss a word {losses[0]:.2f} at first, {losses[-1]:.2f} in the end")

    with tempfile.TemporaryDirectory() as folder:
        path = options.out or Path(folder) / "mine.safetensors"
        organism.save(path)
        ref = organism_ref(str(path))  # its revision is the hash of the file: a regrown one is another model
        prompt = "weigh n0003 as p q r s t :"
        (reply,) = ask(open_model(ref), [Request(messages=(Message(role="user", content=prompt),))])
        print(f"{prompt} {reply.text}")

        # Its preferences are known, so its choices can be held against them, in contexts that came without a report.
        own, contexts = dict(zip(native_names(recipe), native_weights(recipe), strict=True)), native_scenarios(ref, 40)
        preferences = {context.id: Preference.of(context, own[context.id]) for context in contexts}
        generator = TrialGenerator()
        trials = generator.label(generator.trials(contexts, 20, rng=0), preferences, rng=1)
        agreement = ChoiceProbe(OrganismStyle()).run(open_model(ref), trials).agreement()
        print(f"{agreement:.2f} of its choices in {len(contexts)} native contexts follow its preferences")


if __name__ == "__main__":
    main()
