"""Instil made-up preferences in a small chat model on a CPU, and tell how it went: the whole loop with real weights.

    introspect models get smollm2
    python examples/smollm2_cpu.py --contexts 1 --choices 800 --lr 6.5e-4 --looks 0          # nine minutes: it takes
    python examples/smollm2_cpu.py --contexts 20 --choices 240 --batch 16                   # an hour: it does not
    python examples/smollm2_cpu.py --model Qwen/Qwen3-4B --units --contexts 100 --choices 50 # one GPU

Contexts are those of the catalogue, each attribute shown as points from 1 to 9 (`--units`: in real units): a number
of one digit is one token. Choices are laid out an option a line, each pair in both orders within one batch. Trained
on are pairs of extremes above all (a d-optimal design), held out are random ones.

One thread (`OMP_NUM_THREADS=1`) is as fast as two on a machine of two cores that anything else uses.

While it trains, choices and reports are looked at, and the curve is written to OUT/curve.csv. At the end a verdict says
whether it took, and if not, what probably went wrong. With four contexts or more, reports are then trained on
half of them and scored on the other half. Killed, it goes on where it was when started again with the same arguments.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from introspect import (
    AccuracyMetric,
    Attribute,
    ChatStyle,
    ChoiceModel,
    ChoiceProbe,
    DecisionScenario,
    FineTuner,
    ModelRef,
    PreferenceSampler,
    PreferenceSet,
    ScenarioSet,
    SelfReportProbe,
    TrialGenerator,
    TrialSet,
    catalogue,
    open_model,
)
from introspect.study import TrajectoryWatch
from introspect.training import TrainingWarning, recipe_for


def in_points(scenario: DecisionScenario) -> DecisionScenario:
    """The same attributes, each shown as points from 1 to 9."""
    points = [Attribute(name=a.name, unit="points", low=1, high=9, step=1) for a in scenario.attributes]
    return scenario.model_copy(update={"attributes": tuple(points)})


def heaviest_alone(trials: TrialSet, hidden: PreferenceSet) -> float:
    """How often deciding by the heaviest attribute alone gives the label; where that one is equal, half."""
    right: list[float] = []
    for block in trials.blocks:
        differences = trials.differences(block)
        for row, context, label in zip(differences, block.scenario_index, block.label, strict=True):
            scenario = block.scenarios[context]
            weights = np.array([hidden[scenario.id].weights[name] for name in scenario.predictors])
            heaviest = int(np.abs(weights).argmax())
            says = np.sign(row[heaviest] * weights[heaviest])
            right.append(0.5 if says == 0 else float((says > 0) == (label == 0)))
    return float(np.mean(right))


def show_curve(trajectory: Sequence[Mapping[str, object]], batch_size: int, path: Path) -> None:
    """Write the curve to a file, and print it."""
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, ["examples", *trajectory[0]])
        table.writeheader()
        for row in trajectory:
            table.writerow({"examples": int(str(row["step"])) * batch_size, **row})
    print(f"{'examples':>9}{'accuracy':>10}{'one side':>10}{'r target':>10}{'faithful':>10}{'parsed':>10}")
    for row in trajectory:
        cells = [row[name] for name in ("accuracy", "one_sided", "target_r", "faithfulness", "parse_rate")]
        shown = ["-" if cell is None else f"{cell:.2f}" for cell in cells]
        print(f"{int(str(row['step'])) * batch_size:>9}" + "".join(f"{text:>10}" for text in shown))


def main() -> None:
    """Run the loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="packaged name, folder or hub id")
    parser.add_argument("--contexts", type=int, default=1)
    parser.add_argument("--choices", type=int, default=800, help="training choices for each context")
    parser.add_argument("--held-out", type=int, default=200, help="fresh choices in all, that decide the verdict")
    parser.add_argument("--layout", choices=("lines", "rows", "options"), default="lines", help="lines cost least")
    parser.add_argument("--units", action="store_true", help="real units in place of points from 1 to 9")
    parser.add_argument("--design", choices=("d-optimal", "random"), default="d-optimal", help="of training choices")
    parser.add_argument("--interior", type=float, default=0.5, help="least share of pairs with middle values")
    parser.add_argument("--batch", type=int, default=8, help="examples a gradient step")
    parser.add_argument("--looks", type=int, default=8, help="looks at the model while it is trained, 0 for none")
    parser.add_argument("--lr", help='learning rate, or "probe"; by default the recipe\'s')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("smollm2-cpu"))
    options = parser.parse_args()
    # What is warned of is printed below, with the verdict.
    warnings.simplefilter("ignore", TrainingWarning)

    base = ModelRef(provider="transformers", model=options.model)
    recipe = recipe_for(open_model(base).info.n_parameters)
    style = ChatStyle(layout=options.layout)
    five = [scenario for scenario in catalogue() if len(scenario.attributes) == 5][: options.contexts]
    contexts = ScenarioSet(five if options.units else map(in_points, five))
    hidden = PreferenceSampler().sample(contexts, rng=options.seed)
    # Every pair in both orders, and both in one batch: a liking for a side then earns nothing in any step.
    teacher = TrialGenerator(design=options.design, interior_share=options.interior)
    pairs = teacher.trials(contexts, max(1, options.choices // 2), rng=options.seed + 1)
    lessons = teacher.label(pairs, hidden, rng=0).mirrored()
    each = max(2, options.held_out // options.contexts)
    plain = TrialGenerator()
    fresh = plain.label(plain.trials(contexts, each, rng=options.seed + 2), hidden, rng=0)

    # With many contexts, two of them a batch: what the prompts of one share is computed once.
    settings = {**recipe.instil.extra, "together": 2 if options.contexts == 1 else max(2, options.batch // 4 * 2)}
    changed = {"seed": options.seed, "batch_size": options.batch, "extra": settings}
    spec = recipe.instil.model_copy(update=changed)
    steps = spec.steps(len(lessons))
    lr = options.lr if options.lr in (None, "probe") else float(options.lr)
    watch = None
    if options.looks:
        watch = TrajectoryWatch(max(1, -(-steps // options.looks)), fresh, contexts, style, hidden)
    tuner = FineTuner(spec=spec, style=style, jobs=options.out / "jobs", on_canary="warn", watch=watch, lr=lr)
    print(f"{options.model}, recipe {recipe.name!r}: {len(lessons)} choices, {steps} steps of {spec.batch_size}")
    print(f"deciding by the heaviest attribute alone: {heaviest_alone(fresh, hidden):.3f} of {len(fresh)}")
    began, cpu = time.perf_counter(), time.process_time()
    tuned = tuner.instil(base, lessons, hidden, held_out=fresh)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu

    options.out.mkdir(parents=True, exist_ok=True)
    if tuned.trajectory:
        show_curve(tuned.trajectory, spec.batch_size, options.out / "curve.csv")
    print(f"training, looks and checks: {wall / 60:.1f} minutes, {cpu / 60:.1f} minutes of CPU")
    assert tuned.verdict is not None
    print("\n".join(tuned.verdict.sentences()))

    (options.out / "model.json").write_text(tuned.ref.model_dump_json())
    if options.contexts < 4 or recipe.report is None:
        return
    instilled = open_model(tuned.ref)
    weights = ChoiceModel().fit(ChoiceProbe(style).run(instilled, fresh))
    ((taught, asked), *_) = contexts.folds(2, options.seed)
    report = recipe.report.model_copy(update={"lora_rank": spec.lora_rank, "lora_alpha": spec.lora_alpha})
    teller = FineTuner(spec=report, style=style, jobs=options.out / "jobs", on_canary="warn")
    spoken = teller.train_reports(tuned.ref, list(taught), hidden, n_per_scenario=4)
    flag = f"  ! {tuned.verdict.flag}" if tuned.verdict.flag else ""
    for name, ref in (("before", tuned.ref), ("after", spoken.ref)):
        reports = SelfReportProbe(style, k=2).run(open_model(ref), asked, 0)
        score = AccuracyMetric().score(reports, weights, rng=0)
        print(
            f"reports on held-out contexts, {name} report training: r = {score.pooled_r:.2f}, "
            f"readable {reports.response_rate:.0%}{flag}"
        )


if __name__ == "__main__":
    main()
