"""Does a model explain its own directions better than another model does, and is that knowledge of itself?

    introspect models get smollm2
    introspect models get gemma3-270m
    python examples/self_or_other.py --target smollm2 --other gemma3-270m --config docs/results/internals/planted.yaml

Directions of known meaning are planted in the target's stream. The target and each other model are trained on the same
rows to say what they mean, and asked about unseen ones. Two controls tell what an advantage of the target is worth: its
own vectors in rotated coordinates, and other models behind a closed-form map into their own stream. A target that beats
others but neither of these has shared coordinates, not knowledge of itself.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from introspect.internals import InternalsConfig, Target
from introspect.internals.access import privileged_access
from introspect.internals.planted import build_planted
from introspect.show import plot_internals


def main() -> None:
    """Run and print, draw and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="smollm2", help="packaged name, folder or hub id")
    parser.add_argument("--other", action="append", help="another model; may be given more than once")
    parser.add_argument("--config", type=Path, help="settings of `introspect internals eval planted`")
    parser.add_argument("--most-test", type=int, default=200, help="most rows asked")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="also train on so many rows: a curve")
    parser.add_argument("--out", type=Path, default=Path("self-or-other"))
    options = parser.parse_args()

    config = InternalsConfig.load(options.config) if options.config else InternalsConfig(task="planted")
    target = Target.open(options.target, dtype="float32")
    others = {Path(name).name: Target.open(name, dtype="float32") for name in options.other or ["gemma3-270m"]}
    table = build_planted(target, config.planted)
    print(f"{options.target}: {table.counts()}")
    began = time.process_time()
    report = privileged_access(
        target, table, config.train, others, retrieval=config.retrieval, sizes=options.sizes,
        most_test=options.most_test, seed=config.seed, progress=print,
    )  # fmt: skip
    print("\n".join(report.sentences()))
    print(f"{(time.process_time() - began) / 60:.1f} minutes of CPU")

    options.out.mkdir(parents=True, exist_ok=True)
    settings = {**config.model_dump(mode="json"), "model": options.target, "others": list(others)}
    found = {"settings": settings, "rows": report.rows(), "aligned": report.aligned, "scaling": report.scaling}
    (options.out / "access.json").write_text(json.dumps(found, indent=1))
    rows = [
        {"arm": row["explainer"], "split": "test", "figure": report.main, "value": row[report.main], **row}
        for row in report.rows()
    ]
    plot_internals(rows, report.main).save(options.out / "access.png")


if __name__ == "__main__":
    main()
